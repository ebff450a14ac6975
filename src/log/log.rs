//! One partition's log: what it holds, opening it, and what is asked of it. The work is in the files beside this one:
//! `append`, `read`, `lookup`, `truncation`, `retention`, `flush`.
//!
//! Appends and everything else that changes the log run under the append lock. Readers take an immutable snapshot of
//! the segment list and the log's tail (end offset and file size, which belong together) and go on without a lock.
//! Lock order: append > flushing > epochs > producers > tail > a segment's own.
//! (org.apache.kafka.storage.internals.log.{UnifiedLog, LocalLog})

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::config::LogConfig;
use super::deleted::DeletedFiles;
use super::epochs::{EpochEntry, Epochs};
use super::error::Error;
use super::fs::{Disk, Fs};
use super::health::Health;
use super::open_segments::{Home, OpenSegments};
use super::producers::{ProducerState, Producers};
use super::progress::Progress;
use super::recovery;
use super::segment::{Segment, lock};
use crate::ids::{LeaderEpoch, Offset, Timestamp};
use crate::messages::Records;
use arc_swap::ArcSwap;

/// Recent batches whose positions are remembered, so that reads at the end of the log look nothing up.
const RECENT: usize = 16;

/// How logs reach the disk: shared by all logs of a log directory.
#[derive(Clone, Debug)]
pub struct Storage {
    pub fs: Arc<dyn Fs>,
    pub open: Arc<OpenSegments>,
    /// Of the log directory that holds them; each [`LogDirectory`](super::directory::LogDirectory) has its own.
    pub health: Arc<Health>,
    /// Its files that are to be removed, likewise.
    pub deleted: Arc<DeletedFiles>,
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            fs: Arc::new(Disk),
            open: Arc::new(OpenSegments::of_process()),
            health: Arc::default(),
            deleted: Arc::default(),
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
    /// From `cleaner-offset-checkpoint`.
    pub cleaned_to: Option<Offset>,
    pub now: Timestamp,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// Told of what is checked.
    pub progress: Arc<Progress>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            clean: true,
            recovery_point: Offset::ZERO,
            log_start_offset: Offset::ZERO,
            cleaned_to: None,
            now: Timestamp(0),
            producer_id_expiration_ms: 24 * 60 * 60 * 1000,
            progress: Arc::default(),
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
    pub(super) end_offset: AtomicI64,
    pub(super) start_offset: AtomicI64,
    pub(super) recovery_point: AtomicI64,
    /// Compaction has come so far; -1 where it has never run. See `cleaner`.
    pub(super) cleaned_to: AtomicI64,
    pub(super) append: Mutex<Appender>,
    pub(super) epochs: Mutex<Epochs>,
    pub(super) producers: Mutex<Producers>,
    /// Whether `producers` has transactions that may hold back the last stable offset.
    pub(super) has_transactions: AtomicBool,
    /// Nothing is written any more: what a failed write has left is not known, or the log was deleted.
    pub(super) offline: AtomicBool,
    /// Records that were appended since the last flush.
    pub(super) records_since_flush: AtomicI64,
    pub(super) bytes_since_flush: AtomicI64,
    /// Held while the log is brought to the device, renamed or truncated.
    pub(super) flushing: Mutex<()>,
}

/// The end of the active segment, as readers see it.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) segment: Offset,
    pub(super) end_offset: Offset,
    pub(super) position: u64,
    /// The last batches; `None` before the first is appended.
    recent: Option<Box<Recent>>,
}

/// Base offsets and positions of batches, in a ring.
#[derive(Debug)]
struct Recent {
    batches: [(Offset, u64); RECENT],
    turn: usize,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            batches: [(Offset(-1), 0); RECENT],
            turn: 0,
        }
    }
}

impl Tail {
    pub(super) fn new(segment: Offset, end_offset: Offset, position: u64) -> Tail {
        Tail {
            segment,
            end_offset,
            position,
            recent: None,
        }
    }

    pub(super) fn note(&mut self, base_offset: Offset, position: u64) {
        let recent = self.recent.get_or_insert_default();
        recent.batches[recent.turn] = (base_offset, position);
        recent.turn = (recent.turn + 1) % RECENT;
    }

    /// The position of a batch that begins with `offset`, if it is one of the last.
    pub(super) fn position_of(&self, offset: Offset) -> Option<u64> {
        if offset == self.end_offset {
            return Some(self.position);
        }
        let mut recent = self.recent.iter().flat_map(|recent| &recent.batches);
        recent
            .find(|(base, _)| *base == offset)
            .map(|(_, position)| *position)
    }
}

/// What appends need besides the segment.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) bytes_since_entry: u64,
    /// Timestamp of the active segment's first batch, by which it is rolled.
    pub(super) rolling_timestamp: Option<Timestamp>,
    /// When the active segment was created or opened.
    pub(super) created: Timestamp,
    pub(super) latest_epoch: LeaderEpoch,
    /// The offsets of the producer snapshots on disk.
    pub(super) snapshots: BTreeSet<Offset>,
}

impl Log {
    /// Creates the log of a new partition. Its directory may exist but holds no log. `partition.metadata` is
    /// written by [`LogDirectory::create_log`](super::directory::LogDirectory::create_log).
    pub fn create(
        dir: PathBuf,
        config: impl Into<Arc<LogConfig>>,
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
        log.home.names_dirty.store(true, Ordering::Release);
        log.home.is_new.store(true, Ordering::Release);
        Ok(log)
    }

    /// Opens the log in a directory, repairing its end when it was not stopped cleanly.
    pub fn open(
        dir: PathBuf,
        config: impl Into<Arc<LogConfig>>,
        options: LogOptions,
        storage: Storage,
    ) -> Result<Log, Error> {
        let home = Home::new(
            dir,
            storage,
            options.clean && options.recovery_point > Offset::ZERO,
        );
        let config = config.into();
        let recovered = recovery::recover(Arc::new(home), &config, &options)?;
        let active = recovered.active();
        let tail = Tail::new(active.base_offset(), recovered.end_offset, active.size());
        // What was lost behind the log's end is written anew, and that was never compacted.
        let cleaned_to = options
            .cleaned_to
            .filter(|offset| *offset <= recovered.end_offset);
        let appender = Appender {
            bytes_since_entry: recovered.bytes_since_entry,
            rolling_timestamp: recovered.rolling_timestamp,
            created: options.now,
            latest_epoch: recovered
                .epochs
                .latest()
                .map_or(LeaderEpoch::UNKNOWN, |entry| entry.epoch),
            snapshots: recovered.snapshots,
        };
        Ok(Log {
            home: recovered.home,
            config: ArcSwap::new(config),
            segments: ArcSwap::from_pointee(recovered.segments),
            tail: Mutex::new(tail),
            end_offset: AtomicI64::new(recovered.end_offset.0),
            start_offset: AtomicI64::new(recovered.start_offset.0),
            recovery_point: AtomicI64::new(recovered.recovery_point.0),
            cleaned_to: AtomicI64::new(cleaned_to.map_or(-1, |offset| offset.0)),
            append: Mutex::new(appender),
            epochs: Mutex::new(recovered.epochs),
            has_transactions: AtomicBool::new(recovered.producers.has_transactions()),
            producers: Mutex::new(recovered.producers),
            offline: AtomicBool::new(false),
            records_since_flush: AtomicI64::new(0),
            bytes_since_flush: AtomicI64::new(0),
            flushing: Mutex::default(),
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
    pub fn update_config(&self, config: impl Into<Arc<LogConfig>>) {
        self.config.store(config.into());
    }

    pub(super) fn lock_for_append(&self) -> Result<MutexGuard<'_, Appender>, Error> {
        let appender = lock(&self.append);
        self.check_online()?;
        Ok(appender)
    }

    /// Whether it takes no more appends, and brings no more to the device.
    pub fn is_offline(&self) -> bool {
        self.offline.load(Ordering::Acquire) || self.home.health.is_failed()
    }

    pub(super) fn check_online(&self) -> Result<(), Error> {
        match self.is_offline() {
            true => Err(Error::Offline { path: self.dir() }),
            false => Ok(()),
        }
    }

    pub(super) fn active(&self) -> Arc<Segment> {
        self.segments
            .load()
            .last()
            .expect("a log has a segment")
            .clone()
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

    /// Notes that a leader begins `epoch` at `start`. The file follows with the first batch: without one nobody misses
    /// the epoch after a restart, which begins another in its place, and thousands of idle logs write no file at a start.
    pub fn assign_epoch_start(&self, epoch: LeaderEpoch, start: Offset) -> Result<(), Error> {
        let _append = self.lock_for_append()?;
        lock(&self.epochs).insert(EpochEntry {
            epoch,
            start_offset: start,
        });
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

    /// Renames its directory. Files are closed; ranges that are being sent keep theirs.
    pub(super) fn rename(&self, to: PathBuf) -> Result<(), Error> {
        let _append = lock(&self.append);
        let _flushing = lock(&self.flushing);
        for segment in self.segments.load().iter() {
            segment.close_files();
        }
        let from = self.home.path.load_full();
        self.home.fs.rename(&from, &to).map_err(Error::io(&from))?;
        self.home.path.store(Arc::new(to));
        Ok(())
    }
}
