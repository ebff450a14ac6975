//! openraft's log and vote on Kafka's metadata log and `quorum-state`.
//!
//! An append goes to the page cache at once and is acknowledged once it is on the device: one flusher brings all that
//! was appended meanwhile there with one call. Entries that were appended last stay in memory, since they are read
//! right back to be applied and sent to followers.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::entries::Entries;
use super::journal::Journal;
use super::quorum_state::{self, Layout, QuorumState};
use super::{Entry, Kind, LogId, TypeConfig, Vote, epoch_of, payload, voters};
use crate::clock::Clock;
use crate::ids::{DirectoryId, LeaderEpoch, NodeId, Offset};
use crate::metadata::control::{self, At, ControlBatch, Quorum};
use crate::record::{Batch, batches};

/// Appends that may wait for one flush.
const FLUSHES_MAX: usize = 1024;
/// Entries and bytes that stay in memory behind the log's end.
const TAIL_ENTRIES_MAX: usize = 256;
const TAIL_BYTES_MAX: usize = 1 << 20;

/// The log of one controller. Clones are the same log; openraft alone writes to it.
#[derive(Clone)]
pub(crate) struct Storage {
    shared: Arc<Shared>,
    flushes: mpsc::Sender<IOFlushed<TypeConfig>>,
}

struct Shared {
    node_id: NodeId,
    directory: PathBuf,
    clock: Clock,
    journal: Arc<Journal>,
    state: Mutex<State>,
}

struct State {
    entries: Entries,
    tail: Tail,
    vote: Option<Vote>,
    quorum: History,
}

/// The quorum by the entries that changed it, the one before the log first: a truncated entry takes its change back.
struct History(Vec<(Option<u64>, Quorum)>);

impl History {
    fn current(&self) -> &Quorum {
        &self.0.last().expect("the first is never taken").1
    }

    fn apply(&mut self, index: u64, control: &ControlBatch) {
        let mut quorum = self.current().clone();
        quorum.apply(control);
        if quorum != *self.current() {
            self.0.push((Some(index), quorum));
        }
    }

    fn truncate_after(&mut self, index: Option<u64>) {
        self.0.retain(|(at, _)| at.is_none() || *at <= index);
    }
}

/// The entries at the end of the log, in memory.
#[derive(Default)]
struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > TAIL_ENTRIES_MAX
            || (self.bytes > TAIL_BYTES_MAX && self.entries.len() > 1)
        {
            let first = self.entries.pop_front().expect("it is not empty");
            self.bytes -= size(&first);
        }
    }

    fn truncate_after(&mut self, index: Option<u64>) {
        while self
            .entries
            .back()
            .is_some_and(|last| Some(last.log_id.index) > index)
        {
            let last = self.entries.pop_back().expect("it is not empty");
            self.bytes -= size(&last);
        }
    }

    /// The entries `from..to` when all of them are here.
    fn range(&self, from: u64, to: u64) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.log_id.index;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let count = usize::try_from(to - from).ok()?;
        (skip + count <= self.entries.len()).then(|| {
            self.entries
                .iter()
                .skip(skip)
                .take(count)
                .cloned()
                .collect()
        })
    }
}

fn size(entry: &Entry) -> usize {
    entry
        .payload
        .batch
        .as_ref()
        .map_or(0, |batch| batch.bytes.len())
}

impl Storage {
    /// Opens the log in `directory`. `quorum` is what stands before the log: the voters of the settings or of the
    /// latest snapshot. Entries are known from `start` on, an end of a batch; `purged_epoch` is the epoch of the
    /// record before it, `None` when there is none. Spawns the flusher.
    pub(crate) fn open(
        node_id: NodeId,
        directory: &Path,
        clock: Clock,
        journal: Journal,
        quorum: Quorum,
        (start, purged_epoch): (Offset, Option<LeaderEpoch>),
    ) -> io::Result<Storage> {
        let mut entries = Entries::new(start, purged_epoch);
        let mut history = History(vec![(None, quorum)]);
        let mut hole = None;
        journal.scan(start, |batch| {
            let base = batch.header.base_offset;
            if hole.is_some() || base != entries.end_offset() {
                hole.get_or_insert(base);
                return Ok(());
            }
            let id = entries.push(batch.header.last_offset(), batch.header.leader_epoch);
            if batch.header.is_control() {
                history.apply(id.index, &control::parse(&batch).map_err(invalid)?);
            }
            Ok(())
        })?;
        if let Some(found) = hole {
            // A power loss keeps of what no fsync has covered any part. None of it was acknowledged.
            let end = entries.end_offset();
            warn!(%end, %found, "the metadata log has a hole: what follows it is cut off");
            journal.truncate(end)?;
        }
        let vote = quorum_state::read(directory)?.map(|state| vote_of(node_id, &state));
        let journal = Arc::new(journal);
        let state = State {
            entries,
            tail: Tail::default(),
            vote,
            quorum: history,
        };
        let shared = Arc::new(Shared {
            node_id,
            directory: directory.to_owned(),
            clock,
            journal: journal.clone(),
            state: Mutex::new(state),
        });
        let (flushes, appended) = mpsc::channel(FLUSHES_MAX);
        tokio::spawn(flush(journal, appended));
        Ok(Storage { shared, flushes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What the log says of the quorum, entries that are not committed included.
    pub(crate) fn quorum(&self) -> Quorum {
        self.state().quorum.current().clone()
    }

    /// Offset behind the entry. What is no longer in the table is its own offset.
    pub(crate) fn end_of(&self, id: &LogId) -> Offset {
        let beyond = || Offset(i64::try_from(id.index + 1).expect("an index is an offset at most"));
        self.state().entries.end_of(id.index).unwrap_or_else(beyond)
    }

    /// The entry that ends before `end`, the end of a batch whose epoch is `epoch`. See [`Storage::end_of`].
    pub(crate) fn ending_at(&self, end: Offset, epoch: LeaderEpoch) -> Option<LogId> {
        let beyond = || {
            Some(super::log_id(
                epoch,
                u64::try_from(end.0).ok()?.checked_sub(1)?,
            ))
        };
        self.state().entries.ending_at(end).or_else(beyond)
    }

    pub(crate) fn end_offset(&self) -> Offset {
        self.state().entries.end_offset()
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.shared.journal.start_offset()
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.shared.journal.size()
    }

    /// Brings everything to the device and marks a clean end.
    pub(crate) async fn close(&self) -> io::Result<()> {
        let journal = self.shared.journal.clone();
        blocking(move || journal.close()).await
    }

    /// Gives entries their batches, appends them and returns how many bytes that were.
    fn write(&self, entries: Vec<Entry>) -> io::Result<()> {
        let now = self.shared.clock.now();
        let mut state = self.state();
        let mut bytes = BytesMut::new();
        let mut written = Vec::with_capacity(entries.len());
        let mut base_offset = state.entries.end_offset();
        let mut quorum = state.quorum.current().clone();
        for mut entry in entries {
            let at = At {
                base_offset,
                epoch: epoch_of(&entry.log_id),
                now,
            };
            let batch = match (&entry.payload.kind, entry.payload.batch.take()) {
                (_, Some(batch)) => batch,
                (Kind::Voters(membership), None) => control::voters(at, &voters(membership)),
                // Only the leader itself appends entries without a batch.
                (Kind::LeaderChange | Kind::Records, None) => control::leader_change(
                    at,
                    self.shared.node_id.0,
                    &[self.shared.node_id.0],
                    &quorum,
                ),
            };
            assert_eq!(
                batch.header.base_offset, at.base_offset,
                "a batch stands where it was made to stand"
            );
            assert_eq!(
                batch.header.leader_epoch, at.epoch,
                "a batch is of the epoch in which it was made"
            );
            let control = batch
                .header
                .is_control()
                .then(|| control::parse(&batch))
                .transpose()
                .map_err(invalid)?;
            if let Some(control) = &control {
                quorum.apply(control);
            }
            base_offset = batch.header.next_offset();
            bytes.extend_from_slice(&batch.bytes);
            entry.payload.batch = Some(batch);
            written.push((entry, control));
        }
        self.shared.journal.append(&bytes.freeze())?;
        for (entry, control) in written {
            let batch = entry
                .payload
                .batch
                .as_ref()
                .expect("every entry got its batch");
            let id = state
                .entries
                .push(batch.header.last_offset(), batch.header.leader_epoch);
            assert_eq!(id, entry.log_id, "openraft counts as the table does");
            if let Some(control) = control {
                state.quorum.apply(id.index, &control);
            }
            state.tail.push(entry);
        }
        Ok(())
    }

    /// The entries of `range` that are there.
    async fn read(&self, range: impl RangeBounds<u64>) -> io::Result<Vec<Entry>> {
        let (from, to, start, end) = {
            let state = self.state();
            let entries = &state.entries;
            let from = match range.start_bound() {
                Bound::Included(&from) => from,
                Bound::Excluded(&from) => from + 1,
                Bound::Unbounded => 0,
            };
            let to = match range.end_bound() {
                Bound::Included(&to) => to + 1,
                Bound::Excluded(&to) => to,
                Bound::Unbounded => u64::MAX,
            };
            let (from, to) = (
                from.max(entries.first_index()),
                to.min(entries.next_index()),
            );
            if from >= to {
                return Ok(Vec::new());
            }
            if let Some(found) = state.tail.range(from, to) {
                return Ok(found);
            }
            let places = (entries.start_of(from), entries.end_of(to - 1));
            (
                from,
                to,
                places.0.expect("it is in the table"),
                places.1.expect("it is in the table"),
            )
        };
        let journal = self.shared.journal.clone();
        let found = blocking(move || decode(journal.read(start, end)?, from)).await?;
        match found.len() as u64 == to - from {
            true => Ok(found),
            false => Err(invalid(format!(
                "{} of {} entries from offset {start} are there",
                found.len(),
                to - from
            ))),
        }
    }
}

/// The batches in `bytes` as entries from `index` on.
fn decode(bytes: Bytes, index: u64) -> io::Result<Vec<Entry>> {
    let entry = |(index, batch): (u64, Result<Batch, _>)| {
        let batch = batch.map_err(invalid)?;
        let log_id = super::log_id(batch.header.leader_epoch, index);
        let (payload, _) = payload(batch).map_err(invalid)?;
        Ok(Entry { log_id, payload })
    };
    (index..).zip(batches(bytes)).map(entry).collect()
}

/// Brings appends to the device: all that wait, with one flush.
async fn flush(journal: Arc<Journal>, mut appended: mpsc::Receiver<IOFlushed<TypeConfig>>) {
    let mut waiting = Vec::new();
    while appended.recv_many(&mut waiting, FLUSHES_MAX).await > 0 {
        let journal = journal.clone();
        let outcome = blocking(move || journal.flush()).await;
        for callback in waiting.drain(..) {
            callback.io_completed(match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            });
        }
    }
}

/// Runs what waits for the disk off the reactor.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

pub(crate) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// openraft has no epoch without a vote: one in which the node only heard of an election counts as a vote for itself,
/// which gives it to nobody else.
fn vote_of(node_id: NodeId, state: &QuorumState) -> Vote {
    match (state.leader_id, state.voted) {
        (Some(leader_id), _) => Vote::new_committed(state.epoch, leader_id),
        (None, Some((voted_id, _))) => Vote::new(state.epoch, voted_id),
        (None, None) => Vote::new(state.epoch, node_id),
    }
}

fn quorum_state_of(vote: &Vote, quorum: &Quorum) -> (QuorumState, Layout) {
    let id = *vote.leader_id();
    let directory_id = quorum
        .voters
        .get(&id.voted_for)
        .map_or(DirectoryId::ZERO, |voter| voter.directory_id);
    let state = QuorumState {
        epoch: id.term,
        leader_id: vote.is_committed().then_some(id.voted_for),
        voted: (!vote.is_committed()).then_some((id.voted_for, directory_id)),
    };
    let layout = match quorum.kraft_version {
        0 => Layout::V0 {
            voters: quorum.voter_ids(),
        },
        _ => Layout::V1,
    };
    (state, layout)
}

impl RaftLogReader<TypeConfig> for Storage {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        self.read(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.state().vote)
    }

    async fn get_key_log_ids(&mut self, range: RangeInclusive<LogId>) -> io::Result<Vec<LogId>> {
        Ok(self
            .state()
            .entries
            .key_log_ids(range.start().index, range.end().index))
    }
}

impl RaftLogStorage<TypeConfig> for Storage {
    type LogReader = Storage;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.state();
        Ok(LogState {
            last_purged_log_id: state.entries.purged(),
            last_log_id: state.entries.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Storage {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (state, layout) = quorum_state_of(vote, &self.quorum());
        let directory = self.shared.directory.clone();
        blocking(move || quorum_state::write(&directory, &state, &layout)).await?;
        self.state().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.write(entries.into_iter().collect())?;
        self.flushes
            .send(callback)
            .await
            .map_err(|_| io::Error::other("the flusher has stopped"))
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let index = last.map(|id| id.index);
        let end = {
            let mut state = self.state();
            state.entries.truncate_after(index);
            state.tail.truncate_after(index);
            state.quorum.truncate_after(index);
            state.entries.end_offset()
        };
        let journal = self.shared.journal.clone();
        blocking(move || journal.truncate(end)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let end = self.end_of(&upto);
        {
            let mut state = self.state();
            state.entries.purge(upto, end);
            if state.entries.end_offset() == end {
                state.tail = Tail::default();
            }
        }
        let journal = self.shared.journal.clone();
        blocking(move || journal.purge(end)).await
    }
}

#[cfg(test)]
mod tests;
