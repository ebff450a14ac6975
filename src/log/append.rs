//! Appending to a log: as the leader, which gives offsets, or as a follower, which keeps them; and rolling.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::config::LogConfig;
use super::error::{AppendError, Error};
use super::health::is_full;
use super::index::TimeEntry;
use super::log::{AppendInfo, Appender, Log, Tail};
use super::producers::{BatchMetadata, Origin, Prepared, Verdict};
use super::segment::{Segment, lock};
use super::space::Admission;
use super::{scan, snapshots};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::record::batch::{Batch, BatchHeader};
use crate::record::{TimestampType, ValidBatch};

impl Log {
    /// Appends a batch as the partition's leader: at the log end offset, under `leader_epoch`.
    pub fn append_as_leader(
        &self,
        batch: &ValidBatch,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        self.append_batch(batch, leader_epoch, origin, now)
            .inspect_err(|error| self.judge_append(error))
    }

    /// Refuses records for which there is too little space; whether they are a trial, after there was none.
    fn admit(&self, bytes: usize) -> Result<bool, Error> {
        match self.home.health.space().admit(bytes) {
            Admission::Yes => Ok(false),
            Admission::Trial => Ok(true),
            Admission::No => Err(Error::NoSpace { path: self.dir() }),
        }
    }

    fn judge_append(&self, error: &AppendError) {
        if let AppendError::Storage(error) = error {
            self.home.health.judge_write(error);
        }
    }

    fn append_batch(
        &self,
        batch: &ValidBatch,
        leader_epoch: LeaderEpoch,
        origin: Origin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        let mut appender = self.lock_for_append()?;
        let end = self.log_end_offset();
        let header = BatchHeader {
            base_offset: end,
            leader_epoch,
            ..batch.header().clone()
        };
        let marker = if header.is_control() {
            scan::end_marker(batch.reader())
        } else {
            None
        };
        let prepared = match lock(&self.producers).prepare(&header, end, marker, origin)? {
            Verdict::New(prepared) => prepared,
            Verdict::Duplicate(known) => return Ok(self.known_info(&known, &header)),
        };
        // The reserve is the coordinators', so that groups go on and topics can be deleted on a full disk.
        let is_trial = origin != Origin::Coordinator && self.admit(header.size())?;
        let (segment, rolled) = self.segment_for(&mut appender, &header, header.size(), now)?;
        self.assign_epoch(&mut appender, leader_epoch, end)?;
        let index = appender.is_entry_due(&self.config.load());
        let (undo, position) = (segment.largest(), segment.size());
        segment
            .append(&[
                IoSlice::new(&header.encode()),
                IoSlice::new(batch.payload()),
            ])
            .and_then(|()| segment.note(position, &header, index))
            .and_then(|()| match prepared {
                Some(prepared) => self.commit_producer(&segment, prepared),
                None => Ok(()),
            })
            .inspect_err(|_| self.undo(&segment, end, undo))?;
        appender.note_bytes(header.size() as u64, index);
        self.publish(&mut appender, &segment, std::slice::from_ref(&header));
        if is_trial {
            self.home.health.space().worked();
        }
        let flush_due = self.is_flush_due();
        let info = self.info(
            end,
            header.last_offset(),
            header.timestamp_type(),
            header.max_timestamp,
        );
        Ok(AppendInfo {
            rolled,
            flush_due,
            ..info
        })
    }

    /// Appends batches that have their offsets and epochs: a leader's, or those of the metadata log.
    pub fn append_as_follower(
        &self,
        batches: &Bytes,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        self.append_batches(batches, now)
            .inspect_err(|error| self.judge_append(error))
    }

    fn append_batches(&self, batches: &Bytes, now: Timestamp) -> Result<AppendInfo, AppendError> {
        let batches = whole_batches(batches)?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(AppendError::Malformed);
        };
        let is_trial = self.admit(batches.iter().map(|batch| batch.bytes.len()).sum())?;
        let mut appender = self.lock_for_append()?;
        let mut expected = self.log_end_offset();
        for batch in &batches {
            if batch.header.base_offset < expected || batch.header.last_offset_delta < 0 {
                return Err(AppendError::UnexpectedOffset {
                    expected,
                    got: batch.header.base_offset,
                });
            }
            expected = batch.header.next_offset();
        }
        let mut rolled = false;
        let mut from = 0;
        while from < batches.len() {
            let run = self.run_length(&batches[from..]);
            let run = &batches[from..from + run];
            let size = run.iter().map(|batch| batch.bytes.len()).sum();
            let (segment, new) =
                self.segment_for(&mut appender, &run[run.len() - 1].header, size, now)?;
            self.append_run(&mut appender, &segment, run)?;
            rolled |= new;
            from += run.len();
        }
        if is_trial {
            self.home.health.space().worked();
        }
        let flush_due = self.is_flush_due();
        let header = &last.header;
        let info = self.info(
            first.header.base_offset,
            header.last_offset(),
            header.timestamp_type(),
            header.max_timestamp,
        );
        Ok(AppendInfo {
            rolled,
            flush_due,
            ..info
        })
    }

    /// How many of the batches go into one write: no more bytes than a segment takes, at least one batch.
    fn run_length(&self, batches: &[Batch]) -> usize {
        let segment_bytes = self.config.load().segment_bytes as usize;
        let first = batches[0].header.base_offset;
        let mut size = 0;
        let fits = |batch: &&Batch| {
            size += batch.bytes.len();
            size <= segment_bytes && batch.header.last_offset() - first <= i64::from(i32::MAX)
        };
        batches.iter().take_while(fits).count().max(1)
    }

    fn append_run(
        &self,
        appender: &mut Appender,
        segment: &Arc<Segment>,
        run: &[Batch],
    ) -> Result<(), AppendError> {
        let parts: Vec<IoSlice<'_>> = run.iter().map(|batch| IoSlice::new(&batch.bytes)).collect();
        let (undo, base) = (segment.largest(), run[0].header.base_offset);
        segment
            .append(&parts)
            .map_err(AppendError::from)
            .and_then(|()| self.note_run(appender, segment, run))
            .inspect_err(|_| self.undo(segment, base, undo))?;
        let headers: Vec<BatchHeader> = run.iter().map(|batch| batch.header.clone()).collect();
        self.publish(appender, segment, &headers);
        Ok(())
    }

    fn note_run(
        &self,
        appender: &mut Appender,
        segment: &Arc<Segment>,
        run: &[Batch],
    ) -> Result<(), AppendError> {
        let mut position = segment.size();
        for Batch { header, .. } in run {
            self.assign_epoch(appender, header.leader_epoch, header.base_offset)?;
            let index = appender.is_entry_due(&self.config.load());
            segment.note(position, header, index)?;
            position += header.size() as u64;
            appender.note_bytes(header.size() as u64, index);
        }
        for batch in run.iter().filter(|batch| batch.header.has_producer_id()) {
            let marker = if batch.header.is_control() {
                scan::end_marker(batch.reader())
            } else {
                None
            };
            let base = batch.header.base_offset;
            let verdict =
                lock(&self.producers).prepare(&batch.header, base, marker, Origin::Replication)?;
            if let Verdict::New(Some(prepared)) = verdict {
                self.commit_producer(segment, prepared)?;
            }
        }
        Ok(())
    }

    /// Cuts off what an append that failed has left behind the end of the log. Where that cannot be done the log takes
    /// no more: its end is found when it is opened again.
    fn undo(&self, segment: &Arc<Segment>, end: Offset, largest: Option<TimeEntry>) {
        match segment.truncate(segment.size(), end) {
            Ok(()) => segment.set_largest(largest),
            // The batches are cut off first. An index entry that is left points to what comes in their place, or is
            // found not to agree with it.
            Err(Error::Io { source, .. }) if is_full(&source) => segment.set_largest(largest),
            Err(error) => {
                self.go_offline();
                self.home.health.judge_write(&error);
            }
        }
    }

    fn info(
        &self,
        base: Offset,
        last: Offset,
        timestamp_type: TimestampType,
        timestamp: Timestamp,
    ) -> AppendInfo {
        AppendInfo {
            base_offset: base,
            last_offset: last,
            log_append_time: (timestamp_type == TimestampType::LogAppendTime).then_some(timestamp),
            log_start_offset: self.log_start_offset(),
            duplicate: false,
            rolled: false,
            flush_due: false,
        }
    }

    /// Of a batch that the log has already.
    fn known_info(&self, known: &BatchMetadata, repeated: &BatchHeader) -> AppendInfo {
        AppendInfo {
            duplicate: true,
            // Also under CreateTime, as Kafka tells it. (UnifiedLog.append)
            log_append_time: Some(known.timestamp),
            ..self.info(
                known.base_offset(),
                known.last_offset,
                repeated.timestamp_type(),
                known.timestamp,
            )
        }
    }

    fn commit_producer(&self, segment: &Arc<Segment>, prepared: Prepared) -> Result<(), Error> {
        let mut producers = lock(&self.producers);
        if let Some(aborted) = producers.commit(prepared) {
            // Should it fail, the producers know of a marker that is not there.
            segment
                .add_aborted(aborted)
                .inspect_err(|_| self.go_offline())?;
        }
        self.has_transactions
            .store(producers.has_transactions(), Ordering::Release);
        Ok(())
    }

    /// Lets readers see what was written and noted.
    fn publish(&self, appender: &mut Appender, segment: &Segment, headers: &[BatchHeader]) {
        let mut position = segment.size();
        let mut records = 0;
        let mut tail = lock(&self.tail);
        for header in headers {
            if position == 0 {
                appender.rolling_timestamp = Some(header.max_timestamp);
            }
            tail.note(header.base_offset, position);
            position += header.size() as u64;
            records += i64::from(header.last_offset_delta) + 1;
            tail.end_offset = header.next_offset();
        }
        let bytes = position - segment.size();
        tail.position = position;
        segment.publish(position);
        self.records_since_flush
            .fetch_add(records, Ordering::Relaxed);
        self.bytes_since_flush
            .fetch_add(bytes as i64, Ordering::Relaxed);
        self.end_offset.store(tail.end_offset.0, Ordering::Release);
    }

    fn is_flush_due(&self) -> bool {
        let config = self.config.load();
        self.records_since_flush.load(Ordering::Relaxed) >= config.flush_messages
            || self.bytes_since_flush.load(Ordering::Relaxed) >= config.flush_bytes
    }

    fn assign_epoch(
        &self,
        appender: &mut Appender,
        epoch: LeaderEpoch,
        start: Offset,
    ) -> Result<(), Error> {
        if epoch > appender.latest_epoch {
            lock(&self.epochs).assign(&*self.home.fs, epoch, start)?;
            appender.latest_epoch = epoch;
        }
        Ok(())
    }

    /// The segment that takes `size` bytes up to the batch `last`, and whether it was rolled for them.
    fn segment_for(
        &self,
        appender: &mut Appender,
        last: &BatchHeader,
        size: usize,
        now: Timestamp,
    ) -> Result<(Arc<Segment>, bool), AppendError> {
        let config = self.config.load();
        if size > config.segment_bytes as usize {
            return Err(AppendError::LargerThanSegment {
                size,
                segment_bytes: config.segment_bytes,
            });
        }
        let active = self.active();
        if !self.must_roll(appender, &active, &config, last, size, now)? {
            return Ok((active, false));
        }
        Ok((self.roll_to(appender, self.log_end_offset(), now)?, true))
    }

    fn must_roll(
        &self,
        appender: &Appender,
        active: &Arc<Segment>,
        config: &LogConfig,
        last: &BatchHeader,
        size: usize,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let held = active.size();
        if last.last_offset() - active.base_offset() > i64::from(i32::MAX) {
            return Ok(true);
        }
        if held == 0 {
            return Ok(false);
        }
        let waited = match appender.rolling_timestamp {
            Some(first) if first.0 >= 0 && last.max_timestamp.0 >= 0 => {
                last.max_timestamp.0 - first.0
            }
            _ => now.0 - appender.created.0,
        };
        let jitter = self.jitter_ms(active.base_offset(), config);
        if held + size as u64 > u64::from(config.segment_bytes)
            || waited > config.segment_ms.saturating_sub(jitter)
        {
            return Ok(true);
        }
        // Entries are counted only where there can be so many.
        let entries_max = (config.segment_index_bytes / 12).saturating_sub(1) as usize;
        if held / u64::from(config.index_interval_bytes.max(1)) < entries_max as u64 {
            return Ok(false);
        }
        let (offsets, times) = active.index_entries()?;
        Ok(offsets >= (config.segment_index_bytes / 8) as usize || times >= entries_max)
    }

    /// By how much this segment is rolled earlier: the same for each open of the log.
    fn jitter_ms(&self, base: Offset, config: &LogConfig) -> i64 {
        if config.segment_jitter_ms <= 0 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        (&**self.home.path.load(), base).hash(&mut hasher);
        (hasher.finish() >> 1) as i64 % config.segment_jitter_ms.min(config.segment_ms.max(1))
    }

    /// Seals the active segment and goes on in a new one. Returns false when there is nothing to seal.
    pub fn roll(&self, now: Timestamp) -> Result<bool, Error> {
        let mut appender = self.lock_for_append()?;
        if self.active().size() == 0 {
            return Ok(false);
        }
        self.roll_to(&mut appender, self.log_end_offset(), now)
            .and_then(|active| active.create_file())
            .inspect_err(|error| self.home.health.judge_write(error))?;
        Ok(true)
    }

    pub(super) fn roll_to(
        &self,
        appender: &mut Appender,
        base: Offset,
        now: Timestamp,
    ) -> Result<Arc<Segment>, Error> {
        let sealed = self.active();
        let active = Segment::new(self.home.clone(), base, 0);
        let mut segments = Vec::clone(&self.segments.load());
        if sealed.size() == 0 {
            // Offsets run away from an empty segment; it never was.
            sealed.remove()?;
            segments.pop();
        } else {
            sealed.seal()?;
            self.take_snapshot(appender, base)?;
        }
        segments.push(active.clone());
        self.segments.store(Arc::new(segments));
        *lock(&self.tail) = Tail::new(base, self.log_end_offset(), 0);
        appender.bytes_since_entry = 0;
        appender.rolling_timestamp = None;
        appender.created = now;
        self.home.names_dirty.store(true, Ordering::Release);
        Ok(active)
    }

    pub(super) fn take_snapshot(
        &self,
        appender: &mut Appender,
        offset: Offset,
    ) -> Result<(), Error> {
        if appender
            .snapshots
            .last()
            .is_some_and(|last| *last >= offset)
        {
            return Ok(());
        }
        snapshots::write(
            &*self.home.fs,
            &self.home.path.load(),
            offset,
            &lock(&self.producers),
        )?;
        appender.snapshots.insert(offset);
        Ok(())
    }
}

impl Appender {
    fn is_entry_due(&self, config: &LogConfig) -> bool {
        self.bytes_since_entry > u64::from(config.index_interval_bytes)
    }

    /// Counts a batch that was written, with an index entry for it or without.
    fn note_bytes(&mut self, bytes: u64, indexed: bool) {
        self.bytes_since_entry = if indexed { 0 } else { self.bytes_since_entry } + bytes;
    }
}

/// The batches of `bytes`, which must be whole and sound.
fn whole_batches(bytes: &Bytes) -> Result<Vec<Batch>, AppendError> {
    let mut found = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let batch = Batch::parse(&rest).map_err(|_| AppendError::Malformed)?;
        batch.check_crc().map_err(|_| AppendError::Malformed)?;
        rest = rest.slice(batch.bytes.len()..);
        found.push(batch);
    }
    Ok(found)
}
