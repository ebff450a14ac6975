//! One partition's log: append, read, roll, truncate, flush.
//!
//! Appends and everything else that changes the log run under the append lock. Readers take an immutable snapshot of
//! the segment list and the log's tail (end offset and file size, which belong together) and go on without a lock.
//! Lock order: append > epochs > producers > tail > a segment's own.
//! (org.apache.kafka.storage.internals.log.{UnifiedLog, LocalLog})

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::config::LogConfig;
use super::epochs::{EpochEntry, Epochs};
use super::error::{AppendError, Error, ReadError};
use super::fs::{Disk, Fs};
use super::producers::{Origin, ProducerState, Producers, Verdict};
use super::retention::Deleted;
use super::segment::{Home, OpenSegments, Segment, lock};
use super::{recovery, scan, snapshots};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::messages::{FileRange, Records};
use crate::record::batch::{Batch, BatchHeader};
use crate::record::{TimestampType, ValidBatch};

/// Segments with open files when nothing else is said.
const OPEN_SEGMENTS: usize = 4096;
/// Recent batches whose positions are remembered, so that reads at the end of the log look nothing up.
const RECENT: usize = 16;

/// How logs reach the disk: shared by all logs of a process.
#[derive(Clone, Debug)]
pub struct Storage {
    pub fs: Arc<dyn Fs>,
    pub open: Arc<OpenSegments>,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            fs: Arc::new(Disk),
            open: Arc::new(OpenSegments::new(OPEN_SEGMENTS)),
        }
    }
}

/// What is known of a log before it is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The process that wrote it stopped cleanly: nothing needs to be checked.
    pub clean: bool,
    /// Below it everything was brought to the device (`recovery-point-offset-checkpoint`).
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`.
    pub log_start_offset: Offset,
    pub now: Timestamp,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            clean: true,
            recovery_point: Offset::ZERO,
            log_start_offset: Offset::ZERO,
            now: Timestamp(0),
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// The batch's timestamp where the topic has `LogAppendTime`.
    pub log_append_time: Option<Timestamp>,
    pub log_start_offset: Offset,
    /// The batch was in the log already; nothing was written.
    pub duplicate: bool,
    /// A segment was sealed; a flush of it in the background is due, as Kafka does.
    pub rolled: bool,
    /// `flush.messages` records have been written since the last flush.
    pub flush_due: bool,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOutcome {
    /// Whole batches, the first of which holds the offset asked for or the next one that exists.
    pub records: Records,
    /// Where they begin: the segment and the position in it.
    pub segment_base_offset: Offset,
    pub position: u64,
    /// No record in `records` reaches this offset.
    pub upper_bound: Offset,
}

/// See the module.
#[derive(Debug)]
pub struct Log {
    pub(super) home: Arc<Home>,
    pub(super) config: ArcSwap<LogConfig>,
    /// Ascending; the last is active, all others are sealed. Never empty.
    pub(super) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(super) tail: Mutex<Tail>,
    end_offset: AtomicI64,
    pub(super) start_offset: AtomicI64,
    pub(super) recovery_point: AtomicI64,
    append: Mutex<Appender>,
    pub(super) epochs: Mutex<Epochs>,
    producers: Mutex<Producers>,
    /// Whether `producers` has transactions that may hold back the last stable offset.
    has_transactions: AtomicBool,
    /// Names in the directory are not on the device yet.
    names_dirty: AtomicBool,
    /// An fsync has failed: nothing is written any more.
    offline: AtomicBool,
    pub(super) deleted: Mutex<Vec<Deleted>>,
}

/// The end of the active segment, as readers see it.
#[derive(Debug)]
pub(super) struct Tail {
    segment: Offset,
    end_offset: Offset,
    position: u64,
    /// Base offsets and positions of the last batches, in a ring.
    recent: [(Offset, u64); RECENT],
    turn: usize,
}

impl Tail {
    fn new(segment: Offset, end_offset: Offset, position: u64) -> Tail {
        Tail {
            segment,
            end_offset,
            position,
            recent: [(Offset(-1), 0); RECENT],
            turn: 0,
        }
    }

    fn note(&mut self, base_offset: Offset, position: u64) {
        self.recent[self.turn] = (base_offset, position);
        self.turn = (self.turn + 1) % RECENT;
    }

    /// The position of a batch that begins with `offset`, if it is one of the last.
    fn position_of(&self, offset: Offset) -> Option<u64> {
        if offset == self.end_offset {
            return Some(self.position);
        }
        self.recent
            .iter()
            .find(|(base, _)| *base == offset)
            .map(|(_, position)| *position)
    }
}

/// What appends need besides the segment.
#[derive(Debug)]
pub(super) struct Appender {
    bytes_since_entry: u64,
    /// Timestamp of the active segment's first batch, by which it is rolled.
    rolling_timestamp: Option<Timestamp>,
    /// When the active segment was created or opened.
    created: Timestamp,
    latest_epoch: LeaderEpoch,
    /// The offsets of the producer snapshots on disk.
    pub(super) snapshots: BTreeSet<Offset>,
    records_since_flush: i64,
}

impl Log {
    /// Creates the log of a new partition. Its directory may exist but holds no log. `partition.metadata` is
    /// written by [`LogDirectory::create_log`](super::directory::LogDirectory::create_log).
    pub fn create(
        dir: PathBuf,
        config: LogConfig,
        start_offset: Offset,
        storage: Storage,
        now: Timestamp,
    ) -> Result<Log, Error> {
        storage.fs.create_directory(&dir).map_err(Error::io(&dir))?;
        let options = LogOptions {
            log_start_offset: start_offset,
            now,
            ..LogOptions::default()
        };
        let log = Log::open(dir, config, options, storage)?;
        log.names_dirty.store(true, Ordering::Release);
        Ok(log)
    }

    /// Opens the log in a directory, repairing its end when it was not stopped cleanly.
    pub fn open(
        dir: PathBuf,
        config: LogConfig,
        options: LogOptions,
        storage: Storage,
    ) -> Result<Log, Error> {
        let home = Home {
            path: ArcSwap::from_pointee(dir),
            fs: storage.fs,
            open: storage.open,
        };
        let recovered = recovery::recover(Arc::new(home), &config, &options)?;
        let active = recovered.active();
        let tail = Tail::new(active.base_offset(), recovered.end_offset, active.size());
        let appender = Appender {
            bytes_since_entry: recovered.bytes_since_entry,
            rolling_timestamp: recovered.rolling_timestamp,
            created: options.now,
            latest_epoch: recovered
                .epochs
                .latest()
                .map_or(LeaderEpoch::UNKNOWN, |entry| entry.epoch),
            snapshots: recovered.snapshots,
            records_since_flush: 0,
        };
        Ok(Log {
            home: recovered.home,
            config: ArcSwap::from_pointee(config),
            segments: ArcSwap::from_pointee(recovered.segments),
            tail: Mutex::new(tail),
            end_offset: AtomicI64::new(recovered.end_offset.0),
            start_offset: AtomicI64::new(recovered.start_offset.0),
            recovery_point: AtomicI64::new(recovered.recovery_point.0),
            append: Mutex::new(appender),
            epochs: Mutex::new(recovered.epochs),
            has_transactions: AtomicBool::new(recovered.producers.has_transactions()),
            producers: Mutex::new(recovered.producers),
            names_dirty: AtomicBool::new(false),
            offline: AtomicBool::new(false),
            deleted: Mutex::default(),
        })
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.start_offset.load(Ordering::Acquire))
    }

    /// The base offset of the first segment, at or below the log start offset.
    pub fn first_segment_offset(&self) -> Offset {
        self.segments.load()[0].base_offset()
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.end_offset.load(Ordering::Acquire))
    }

    /// Everything below it is on the device.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point.load(Ordering::Acquire))
    }

    /// Bytes of all segments.
    pub fn size(&self) -> u64 {
        self.segments
            .load()
            .iter()
            .map(|segment| segment.size())
            .sum()
    }

    pub fn dir(&self) -> PathBuf {
        PathBuf::clone(&self.home.path.load())
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Takes other settings, from the next append, read or retention run on.
    pub fn update_config(&self, config: LogConfig) {
        self.config.store(Arc::new(config));
    }

    /// Appends a batch as the partition's leader: at the log end offset, under `leader_epoch`.
    pub fn append_as_leader(
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
            Verdict::Duplicate(known) => {
                return Ok(AppendInfo {
                    duplicate: true,
                    rolled: false,
                    flush_due: false,
                    ..self.info(
                        known.base_offset(),
                        known.last_offset,
                        header.timestamp_type(),
                        known.timestamp,
                    )
                });
            }
        };
        let (segment, rolled) = self.segment_for(&mut appender, &header, header.size(), now)?;
        self.assign_epoch(&mut appender, leader_epoch, end)?;
        segment.append(&[
            IoSlice::new(&header.encode()),
            IoSlice::new(batch.payload()),
        ])?;
        let index = appender.is_entry_due(&self.config.load());
        segment.note(segment.size(), &header, index)?;
        appender.bytes_since_entry += header.size() as u64;
        if let Some(prepared) = prepared {
            self.commit_producer(&segment, prepared)?;
        }
        self.publish(&mut appender, &segment, std::slice::from_ref(&header));
        let flush_due = appender.records_since_flush >= self.config.load().flush_messages;
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
        let batches = whole_batches(batches)?;
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Err(AppendError::Malformed);
        };
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
        let flush_due = appender.records_since_flush >= self.config.load().flush_messages;
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
        let mut position = segment.size();
        segment.append(&parts)?;
        for Batch { header, .. } in run {
            self.assign_epoch(appender, header.leader_epoch, header.base_offset)?;
            let index = appender.is_entry_due(&self.config.load());
            segment.note(position, header, index)?;
            position += header.size() as u64;
            appender.bytes_since_entry += header.size() as u64;
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
        let headers: Vec<BatchHeader> = run.iter().map(|batch| batch.header.clone()).collect();
        self.publish(appender, segment, &headers);
        Ok(())
    }

    fn lock_for_append(&self) -> Result<MutexGuard<'_, Appender>, Error> {
        let appender = lock(&self.append);
        if self.offline.load(Ordering::Acquire) {
            return Err(Error::Offline { path: self.dir() });
        }
        Ok(appender)
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

    fn commit_producer(
        &self,
        segment: &Arc<Segment>,
        prepared: super::producers::Prepared,
    ) -> Result<(), Error> {
        let mut producers = lock(&self.producers);
        if let Some(aborted) = producers.commit(prepared) {
            segment.add_aborted(aborted)?;
        }
        self.has_transactions
            .store(producers.has_transactions(), Ordering::Release);
        Ok(())
    }

    /// Lets readers see what was written and noted.
    fn publish(&self, appender: &mut Appender, segment: &Segment, headers: &[BatchHeader]) {
        let mut position = segment.size();
        let mut tail = lock(&self.tail);
        for header in headers {
            if position == 0 {
                appender.rolling_timestamp = Some(header.max_timestamp);
            }
            tail.note(header.base_offset, position);
            position += header.size() as u64;
            appender.records_since_flush += i64::from(header.last_offset_delta) + 1;
            tail.end_offset = header.next_offset();
        }
        tail.position = position;
        segment.publish(position);
        self.end_offset.store(tail.end_offset.0, Ordering::Release);
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

    pub(super) fn active(&self) -> Arc<Segment> {
        self.segments
            .load()
            .last()
            .expect("a log has a segment")
            .clone()
    }

    /// Seals the active segment and goes on in a new one. Returns false when there is nothing to seal.
    pub fn roll(&self, now: Timestamp) -> Result<bool, Error> {
        let mut appender = self.lock_for_append()?;
        if self.active().size() == 0 {
            return Ok(false);
        }
        let active = self.roll_to(&mut appender, self.log_end_offset(), now)?;
        active.create_file()?;
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
        self.names_dirty.store(true, Ordering::Release);
        Ok(active)
    }

    fn take_snapshot(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
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

    /// Finds up to `max_bytes` of whole batches from the one that holds `from` on, all of whose records lie below
    /// `below`; with `min_one_batch` the first may be larger. Reads no record.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        below: Offset,
        min_one_batch: bool,
    ) -> Result<ReadOutcome, ReadError> {
        let (segment, end_offset, position, known_from, known_below) = {
            let tail = lock(&self.tail);
            (
                tail.segment,
                tail.end_offset,
                tail.position,
                tail.position_of(from),
                tail.position_of(below),
            )
        };
        let start = self.log_start_offset();
        if from < start || from > end_offset {
            return Err(ReadError::OutOfRange {
                got: from,
                start,
                end: end_offset,
            });
        }
        let below = below.min(end_offset);
        let segments = self.segments.load();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        for (at, candidate) in segments.iter().enumerate().skip(first) {
            let is_tail = candidate.base_offset() == segment;
            if from >= below || candidate.base_offset() >= below {
                break;
            }
            let limit = if is_tail { position } else { candidate.size() };
            let begin = match known_from.filter(|_| is_tail) {
                Some(begin) => begin,
                None => candidate.position_of(from, limit)?,
            };
            let whole = below >= end_offset
                || segments
                    .get(at + 1)
                    .is_some_and(|next| next.base_offset() <= below);
            let limit = match known_below.filter(|_| is_tail) {
                Some(limit) => limit,
                None if whole => limit,
                None => candidate.position_of(below, limit)?,
            };
            if begin < limit {
                return self.range(candidate, begin, limit, max_bytes, below, min_one_batch);
            }
        }
        let (base, at) = if from == end_offset {
            (segment, position)
        } else {
            (segments[first].base_offset(), 0)
        };
        Ok(ReadOutcome {
            records: Records::default(),
            segment_base_offset: base,
            position: at,
            upper_bound: below,
        })
    }

    fn range(
        &self,
        segment: &Arc<Segment>,
        begin: u64,
        limit: u64,
        max_bytes: usize,
        below: Offset,
        min_one_batch: bool,
    ) -> Result<ReadOutcome, ReadError> {
        let most = begin.saturating_add(max_bytes as u64);
        let (end, bound) = if limit <= most {
            (limit, None)
        } else {
            segment.cut(begin, most, limit, min_one_batch)?
        };
        let len = usize::try_from(end - begin).expect("a segment is smaller than 4 GB");
        let records = match len {
            0 => Records::default(),
            len => Records::File(FileRange {
                file: segment.file()?,
                position: begin,
                len,
            }),
        };
        let upper_bound = bound.map_or(below, |bound| bound.min(below));
        Ok(ReadOutcome {
            records,
            segment_base_offset: segment.base_offset(),
            position: begin,
            upper_bound,
        })
    }

    /// The latest leader epoch and where it began.
    pub fn latest_epoch(&self) -> Option<EpochEntry> {
        lock(&self.epochs).latest()
    }

    /// All leader epochs of the log.
    pub fn epoch_entries(&self) -> Vec<EpochEntry> {
        lock(&self.epochs).entries().to_vec()
    }

    /// Where `epoch` ended, and the epoch that this end belongs to: `epoch` or the last one before it. `None` when
    /// `epoch` is above all that are known.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        lock(&self.epochs).end_offset(epoch, self.log_end_offset())
    }

    /// Notes that a leader begins `epoch` at `start`.
    pub fn assign_epoch_start(&self, epoch: LeaderEpoch, start: Offset) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        lock(&self.epochs).assign(&*self.home.fs, epoch, start)?;
        appender.latest_epoch = appender.latest_epoch.max(epoch);
        Ok(())
    }

    /// Offset below which no transaction is undecided, given the high watermark.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        if !self.has_transactions.load(Ordering::Acquire) {
            return high_watermark;
        }
        let mut producers = lock(&self.producers);
        let first_unstable = producers.first_unstable(high_watermark);
        self.has_transactions
            .store(producers.has_transactions(), Ordering::Release);
        first_unstable.map_or(high_watermark, |first| {
            first.max(self.log_start_offset()).min(high_watermark)
        })
    }

    /// The producers that the log knows.
    pub fn producers(&self) -> Vec<ProducerState> {
        lock(&self.producers).states().cloned().collect()
    }

    /// Forgets producers that have been silent for so long.
    pub fn expire_producers(&self, now: Timestamp, expiration_ms: i64) {
        lock(&self.producers).expire(now, expiration_ms);
    }

    /// Drops all records from `offset` on. The log ends there afterwards, or where it ended before if that is less.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        if offset >= self.log_end_offset() {
            return Ok(());
        }
        let mut segments = Vec::clone(&self.segments.load());
        if segments[0].base_offset() > offset {
            return self.restart(&mut appender, offset);
        }
        let dropped =
            segments.split_off(segments.partition_point(|segment| segment.base_offset() <= offset));
        let active = segments
            .last()
            .expect("the first segment begins at or below the offset")
            .clone();
        let size = active.position_of(offset, active.size())?;
        // Readers lose sight of what goes away before it does.
        self.segments.store(Arc::new(segments));
        *lock(&self.tail) = Tail::new(active.base_offset(), offset, size);
        self.end_offset.store(offset.0, Ordering::Release);
        for segment in dropped {
            segment.remove()?;
        }
        active.truncate(size, offset)?;
        self.after_truncation(&mut appender, offset)
    }

    fn after_truncation(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
        self.recovery_point.fetch_min(offset.0, Ordering::AcqRel);
        self.start_offset.fetch_min(offset.0, Ordering::AcqRel);
        let mut epochs = lock(&self.epochs);
        epochs.truncate_from_end(&*self.home.fs, offset)?;
        appender.latest_epoch = epochs
            .latest()
            .map_or(LeaderEpoch::UNKNOWN, |entry| entry.epoch);
        drop(epochs);
        let gone = appender.snapshots.split_off(&(offset + 1));
        for snapshot in gone {
            let path = snapshots::path(&self.home.path.load(), snapshot);
            super::segment::remove_file(&*self.home.fs, &path)?;
        }
        let segments = self.segments.load();
        let reloaded = recovery::reload(&self.home, &segments, &mut appender.snapshots, offset)?;
        appender.bytes_since_entry = reloaded.bytes_since_entry;
        appender.rolling_timestamp = reloaded.rolling_timestamp;
        let mut producers = lock(&self.producers);
        *producers = reloaded.producers;
        self.has_transactions
            .store(producers.has_transactions(), Ordering::Release);
        Ok(())
    }

    /// Drops everything; the log begins and ends at `offset` afterwards.
    pub fn truncate_fully_and_start_at(&self, offset: Offset) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        self.restart(&mut appender, offset)
    }

    fn restart(&self, appender: &mut Appender, offset: Offset) -> Result<(), Error> {
        let active = Segment::new(self.home.clone(), offset, 0);
        let dropped = self.segments.swap(Arc::new(vec![active.clone()]));
        *lock(&self.tail) = Tail::new(offset, offset, 0);
        self.end_offset.store(offset.0, Ordering::Release);
        self.start_offset.store(offset.0, Ordering::Release);
        self.recovery_point.store(offset.0, Ordering::Release);
        for segment in dropped.iter() {
            segment.remove()?;
        }
        for snapshot in std::mem::take(&mut appender.snapshots) {
            super::segment::remove_file(
                &*self.home.fs,
                &snapshots::path(&self.home.path.load(), snapshot),
            )?;
        }
        active.create_file()?;
        lock(&self.epochs).clear(&*self.home.fs)?;
        appender.latest_epoch = LeaderEpoch::UNKNOWN;
        appender.bytes_since_entry = 0;
        appender.rolling_timestamp = None;
        *lock(&self.producers) = Producers::default();
        self.has_transactions.store(false, Ordering::Release);
        self.names_dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Brings all that is appended so far to the device and moves the recovery point there. When this fails, the
    /// log takes no more appends: what the device holds is not known any longer.
    pub fn flush(&self) -> Result<Offset, Error> {
        let end = self.log_end_offset();
        self.flush_to(end)?;
        Ok(end)
    }

    /// [`Log::flush`] of the sealed segments alone: what is due after a roll.
    pub fn flush_sealed(&self) -> Result<Offset, Error> {
        let base = self.active().base_offset();
        self.flush_to(base)?;
        Ok(base)
    }

    fn flush_to(&self, end: Offset) -> Result<(), Error> {
        if self.offline.load(Ordering::Acquire) {
            return Err(Error::Offline { path: self.dir() });
        }
        let from = self.recovery_point();
        if end <= from {
            return Ok(());
        }
        self.sync_range(from, end)
            .inspect_err(|_| self.offline.store(true, Ordering::Release))?;
        self.recovery_point.fetch_max(end.0, Ordering::AcqRel);
        Ok(())
    }

    fn sync_range(&self, from: Offset, end: Offset) -> Result<(), Error> {
        lock(&self.append).records_since_flush = 0;
        let segments = self.segments.load();
        let first = segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        for segment in segments
            .iter()
            .skip(first)
            .filter(|segment| segment.base_offset() < end)
        {
            segment.sync()?;
        }
        lock(&self.epochs).sync(&*self.home.fs)?;
        if self.names_dirty.swap(false, Ordering::AcqRel) {
            let path = self.home.path.load();
            self.home
                .fs
                .sync_directory(&path)
                .map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Brings everything to the device, with a snapshot of the producers, and closes the files. The log can be
    /// opened as cleanly stopped afterwards.
    pub fn close(&self) -> Result<(), Error> {
        let mut appender = self.lock_for_append()?;
        let end = self.log_end_offset();
        let active = self.active();
        active.seal()?;
        if end > self.log_start_offset() || lock(&self.producers).states().len() > 0 {
            self.take_snapshot(&mut appender, end)?;
        }
        drop(appender);
        self.flush()?;
        for segment in self.segments.load().iter() {
            segment.close_files();
        }
        Ok(())
    }

    /// Renames its directory. Files are closed; ranges that are being sent keep theirs.
    pub(super) fn rename(&self, to: PathBuf) -> Result<(), Error> {
        let _append = lock(&self.append);
        for segment in self.segments.load().iter() {
            segment.close_files();
        }
        let from = self.home.path.load_full();
        self.home.fs.rename(&from, &to).map_err(Error::io(&from))?;
        lock(&self.epochs).moved(&to);
        self.home.path.store(Arc::new(to));
        Ok(())
    }

    pub(super) fn lock_append(&self) -> Result<MutexGuard<'_, Appender>, Error> {
        self.lock_for_append()
    }
}

impl Appender {
    fn is_entry_due(&mut self, config: &LogConfig) -> bool {
        let due = self.bytes_since_entry > u64::from(config.index_interval_bytes);
        if due {
            self.bytes_since_entry = 0;
        }
        due
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

#[cfg(test)]
mod tests;
