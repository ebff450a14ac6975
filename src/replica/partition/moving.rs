//! A partition whose log is on its way to another log directory of this broker: a future log there is a follower of the
//! current one, and takes its place once it has all. Reads and appends go on meanwhile.
//! (Partition.maybeCreateFutureReplica, .maybeReplaceCurrentWithFutureReplica; KIP-113)

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::{Error, Partition, Role};
use crate::ids::{Offset, Timestamp};
use crate::log::{self, Log, ReadError};
use crate::messages::Records;
use crate::replica::flusher::Flusher;

/// A log that is to replace the partition's.
#[derive(Debug)]
pub struct Future {
    pub log: Arc<Log>,
    /// Its place among the directories.
    pub(in crate::replica) directory: usize,
    /// Whether the controller is told that the replica lies there, which comes before it does.
    announced: AtomicBool,
    /// Told when the metadata says so.
    pub(in crate::replica) assigned: Notify,
    is_assigned: AtomicBool,
}

impl Future {
    pub(in crate::replica) fn new(log: Log, directory: usize) -> Arc<Future> {
        Arc::new(Future {
            log: Arc::new(log),
            directory,
            announced: AtomicBool::new(false),
            assigned: Notify::new(),
            is_assigned: AtomicBool::new(false),
        })
    }

    pub(in crate::replica) fn is_assigned(&self) -> bool {
        self.is_assigned.load(Ordering::Acquire)
    }

    pub(in crate::replica) fn set_assigned(&self) {
        self.is_assigned.store(true, Ordering::Release);
    }

    pub(in crate::replica) fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Acquire)
    }

    /// Returns whether it was announced before.
    pub(in crate::replica) fn announce(&self) -> bool {
        self.announced.swap(true, Ordering::AcqRel)
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Copied {
    Bytes(u64),
    /// The future log ends where the current one does.
    All,
}

impl Partition {
    /// The log that is to replace this one's, while there is one.
    pub fn future(&self) -> Option<Arc<Future>> {
        self.future.load_full()
    }

    /// Begins to move, or stops; returns the future log that was there.
    pub(in crate::replica) fn set_future(
        &self,
        future: Option<Arc<Future>>,
    ) -> Option<Arc<Future>> {
        let before = self.future.swap(future);
        self.waiting.wake_all();
        before
    }

    pub(in crate::replica) fn is_future(&self, future: &Arc<Future>) -> bool {
        self.future()
            .is_some_and(|present| Arc::ptr_eq(&present, future))
    }

    /// Copies up to `bytes_max` to the future log, one batch at least. Reads and writes files.
    pub(in crate::replica) fn copy(
        &self,
        future: &Future,
        bytes_max: usize,
        now: Timestamp,
    ) -> Result<Copied, Error> {
        match self.role() {
            Role::Gone => return Err(Error::Gone),
            Role::Offline => return Err(Error::Offline),
            Role::Leader(_) | Role::NotLeader { .. } => {}
        }
        let start = future.log.log_start_offset();
        let copied = copy(&self.log(), &future.log, bytes_max, now)?;
        if future.log.log_start_offset() > start {
            // Who deletes records waits for the future log, too.
            self.waiting.wake_all();
        }
        Ok(copied)
    }

    /// Puts the future log into the place of the current one, which is returned. Appends wait meanwhile: there is little
    /// left to copy, and it is on the device before `rename` is called, which gives the future log the partition's name.
    pub(in crate::replica) fn replace_log(
        &self,
        future: &Arc<Future>,
        flusher: Arc<Flusher>,
        now: Timestamp,
        rename: impl FnOnce() -> Result<(), log::Error>,
    ) -> Result<Arc<Log>, Error> {
        const CHUNK: usize = 1 << 20;
        let role = self.role.write().unwrap_or_else(PoisonError::into_inner);
        match *role {
            Role::Gone => return Err(Error::Gone),
            Role::Offline => return Err(Error::Offline),
            Role::Leader(_) | Role::NotLeader { .. } => {}
        }
        let current = self.log();
        while copy(&current, &future.log, CHUNK, now)? != Copied::All {}
        // Epochs that have no batch yet.
        let latest = future.log.latest_epoch().map(|entry| entry.epoch);
        for entry in current.epoch_entries() {
            if latest.is_none_or(|latest| entry.epoch > latest) {
                future
                    .log
                    .assign_epoch_start(entry.epoch, entry.start_offset)?;
            }
        }
        future.log.flush()?;
        future.log.set_cleaned_to(current.cleaned_to());
        rename()?;
        self.log.store(future.log.clone());
        self.future.store(None);
        self.change_flusher(flusher);
        drop(role);
        // All of it is on the device; a flush of the former log that is under way will come to nothing.
        self.follow_flush(0);
        self.waiting.wake_all();
        Ok(current)
    }
}

fn copy(current: &Log, future: &Log, bytes_max: usize, now: Timestamp) -> Result<Copied, Error> {
    align(current, future)?;
    let (from, end) = (future.log_end_offset(), current.log_end_offset());
    if from >= end {
        return Ok(Copied::All);
    }
    let found = match current.read(from, bytes_max, end, true) {
        // Retention was quicker.
        Err(ReadError::OutOfRange { .. }) => return Ok(Copied::Bytes(0)),
        found => found?,
    };
    let bytes = bytes_of(found.records).map_err(log::Error::io(&current.dir()))?;
    let Some(base) = bytes
        .first_chunk::<8>()
        .map(|base| i64::from_be_bytes(*base))
    else {
        return Ok(Copied::Bytes(0));
    };
    if Offset(base) < from && future.log_start_offset() == from {
        // The log begins within a batch.
        future.truncate_fully_and_start_at(Offset(base))?;
    }
    let bytes = Bytes::from(bytes);
    future.append_as_follower(&bytes, now)?;
    future.advance_log_start_offset(current.log_start_offset())?;
    Ok(Copied::Bytes(bytes.len() as u64))
}

/// Takes back from the future log what the current one has lost, at its end and at its start.
fn align(current: &Log, future: &Log) -> Result<(), log::Error> {
    let mut end = current.log_end_offset();
    if let Some(latest) = future.latest_epoch()
        && let Some((_, end_of_epoch)) = current.end_offset_for_epoch(latest.epoch)
    {
        end = end.min(end_of_epoch);
    }
    if future.log_end_offset() > end {
        future.truncate_to(end)?;
    }
    let start = current.log_start_offset();
    if future.log_end_offset() < start {
        future.truncate_fully_and_start_at(start)
    } else {
        future.advance_log_start_offset(start).map(|_| ())
    }
}

fn bytes_of(records: Records) -> std::io::Result<Vec<u8>> {
    match records {
        Records::File(range) => {
            let mut bytes = vec![0; range.len];
            range.file.read_exact_at(&mut bytes, range.position)?;
            Ok(bytes)
        }
        Records::Bytes(bytes) => Ok(bytes.to_vec()),
    }
}
