//! The log directories together: where new logs go, opening all that they hold at once, removing what was deleted,
//! checkpoints and the mark of a clean stop. (kafka.log.LogManager)

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::config::PartitionConfig;
use super::flusher::Flusher;
use super::partition::Partition;
use crate::config::Settings;
use crate::ids::{
    BrokerEpoch, DirectoryId, Offset, SteadyTime, Timestamp, TopicId, TopicPartition,
};
use crate::log::checkpoints::{HIGH_WATERMARK, LOG_START, Offsets, RECOVERY_POINT};
use crate::log::directory::{Kind, LogDirectory, PartitionDirectory};
use crate::log::{self, Log, LogConfig};

/// A partition's directory that was found, before its log is opened.
pub(super) struct Found {
    pub(super) name: TopicPartition,
    pub(super) topic_id: Option<TopicId>,
}

/// A log that was opened, or why it was not.
pub(super) struct Opened {
    pub(super) name: TopicPartition,
    pub(super) directory: usize,
    pub(super) log: Result<(Log, Arc<PartitionConfig>), log::Error>,
}

#[derive(Debug)]
pub(super) struct Directories {
    all: Vec<Directory>,
    recovery_threads: usize,
    producer_id_expiration_ms: i64,
}

#[derive(Debug)]
struct Directory {
    id: DirectoryId,
    files: LogDirectory,
    flusher: Arc<Flusher>,
    /// What each checkpoint holds, so that it is written when it changes.
    written: Mutex<BTreeMap<&'static str, Offsets>>,
    /// Deleted logs with the time at which they go.
    deleted: Mutex<Vec<(SteadyTime, PathBuf)>>,
    /// Whether a log here was not open till the end: the next start has to check all of them.
    unclean: AtomicBool,
}

impl Directories {
    pub(super) fn new(
        settings: &Settings,
        directories: Vec<(DirectoryId, LogDirectory)>,
    ) -> Directories {
        let flushes_max = usize::try_from(settings.background_threads()).unwrap_or(1);
        let reserve_bytes = settings.long("log.reserve.bytes");
        let all = directories.into_iter().map(|(id, files)| {
            files.health().reserve(reserve_bytes);
            Directory {
                id,
                files,
                flusher: Flusher::new(flushes_max),
                written: Mutex::default(),
                deleted: Mutex::default(),
                unclean: AtomicBool::new(false),
            }
        });
        Directories {
            all: all.collect(),
            recovery_threads: usize::try_from(settings.num_recovery_threads_per_data_dir())
                .unwrap_or(1)
                .max(1),
            producer_id_expiration_ms: settings.producer_id_expiration().as_millis() as i64,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn id(&self, directory: usize) -> DirectoryId {
        self.all[directory].id
    }

    /// Who brings this directory's logs to the device.
    pub(super) fn flusher(&self, directory: usize) -> Arc<Flusher> {
        self.all[directory].flusher.clone()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (DirectoryId, &LogDirectory)> {
        self.all
            .iter()
            .map(|directory| (directory.id, &directory.files))
    }

    /// The directory that the metadata assigns, or the one with the fewest partitions.
    pub(super) fn place(
        &self,
        assigned: Option<DirectoryId>,
        counts: impl FnOnce() -> Vec<usize>,
    ) -> usize {
        if self.all.len() == 1 {
            return 0;
        }
        let assigned =
            assigned.and_then(|id| self.all.iter().position(|directory| directory.id == id));
        let fewest = || {
            counts()
                .into_iter()
                .enumerate()
                .min_by_key(|(_, count)| *count)
                .map_or(0, |(at, _)| at)
        };
        assigned.unwrap_or_else(fewest)
    }

    pub(super) fn high_watermark(&self, directory: usize, partition: &TopicPartition) -> Offset {
        self.all[directory]
            .files
            .high_watermark(partition)
            .unwrap_or_default()
    }

    pub(super) fn create(
        &self,
        directory: usize,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<LogConfig>,
        now: Timestamp,
    ) -> Result<Log, log::Error> {
        let created = self.all[directory]
            .files
            .create_log(partition, topic_id, config, now);
        if created.is_err() {
            self.went_offline(directory);
        }
        created
    }

    /// A log of this directory cannot be used any more: the stop will not be a clean one.
    pub(super) fn went_offline(&self, directory: usize) {
        self.all[directory].unclean.store(true, Ordering::Release);
    }

    /// Opens every log for which `wanted` gives settings, with `num.recovery.threads.per.data.dir` threads for each
    /// directory, and puts the others aside.
    pub(super) fn open_all(
        &self,
        wanted: &(impl Fn(&Found) -> Option<Arc<PartitionConfig>> + Sync),
        now: Timestamp,
    ) -> Vec<Opened> {
        let opened = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for (at, directory) in self.all.iter().enumerate() {
                let found = Arc::new(directory.found());
                let next = Arc::new(AtomicUsize::new(0));
                for _ in 0..self.recovery_threads.min(found.len()) {
                    let (found, next, opened) = (found.clone(), next.clone(), &opened);
                    scope.spawn(move || {
                        while let Some(found) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let one = directory.open(
                                found,
                                at,
                                wanted,
                                now,
                                self.producer_id_expiration_ms,
                            );
                            lock(opened).extend(one);
                        }
                    });
                }
            }
        });
        opened.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a partition's files removed after `file.delete.delay.ms`; the name is free at once.
    pub(super) fn delete(&self, directory: usize, partition: &Partition, now: SteadyTime) {
        let directory = &self.all[directory];
        match directory
            .files
            .mark_deleted(partition.log(), partition.topic_partition())
        {
            Ok(path) => {
                let due = now.plus_ms(partition.config().log.file_delete_delay_ms);
                lock(&directory.deleted).push((due, path));
            }
            Err(error) => {
                tracing::error!(partition = %partition.topic_partition(), %error, "its files stay")
            }
        }
    }

    /// Whether records are refused there for want of space. What is deleted goes at once then: ranges that are being
    /// sent keep their files.
    pub(super) fn is_short_of_space(&self, directory: usize) -> bool {
        self.all[directory].files.health().is_short_of_space()
    }

    /// Sees whether there is space again where it was short.
    pub(super) fn look_for_space(&self) {
        for directory in &self.all {
            directory.files.health().look_for_space();
        }
    }

    /// Removes the deleted logs whose time has come.
    pub(super) fn remove_deleted(&self, now: SteadyTime) {
        for (at, directory) in self.all.iter().enumerate() {
            let now = match self.is_short_of_space(at) {
                true => SteadyTime(i64::MAX),
                false => now,
            };
            let due: Vec<PathBuf> = {
                let mut deleted = lock(&directory.deleted);
                let (due, later) = std::mem::take(&mut *deleted)
                    .into_iter()
                    .partition(|(due, _)| *due <= now);
                *deleted = later;
                due.into_iter()
                    .map(|(_, path): (SteadyTime, PathBuf)| path)
                    .collect()
            };
            for path in due {
                if let Err(error) = directory.files.remove(&path) {
                    tracing::error!(%error, "a deleted log stays");
                }
            }
        }
    }

    /// Writes the checkpoints `names` of all directories, those that have changed.
    pub(super) fn checkpoint(
        &self,
        partitions: &[(Arc<Partition>, usize)],
        names: &[&'static str],
    ) {
        for (at, directory) in self.all.iter().enumerate() {
            let of_directory = || {
                partitions
                    .iter()
                    .filter(|(_, of)| *of == at)
                    .map(|(partition, _)| &**partition)
            };
            for name in names {
                let offsets = of_directory().filter_map(|partition| {
                    Some((
                        partition.topic_partition().clone(),
                        checkpointed(name, partition)?,
                    ))
                });
                directory.checkpoint(name, offsets.collect());
            }
        }
    }

    /// Closes the logs, writes every checkpoint, and marks the stop as clean where all went well.
    pub(super) fn close(&self, partitions: &[(Arc<Partition>, usize)], mark: Option<BrokerEpoch>) {
        for (at, directory) in self.all.iter().enumerate() {
            let mut clean = true;
            for (partition, _) in partitions.iter().filter(|(_, of)| *of == at) {
                if let Err(error) = partition.log().close() {
                    tracing::error!(partition = %partition.topic_partition(), %error, "not closed cleanly");
                    clean = false;
                }
            }
            if !clean {
                continue;
            }
            let own: Vec<_> = partitions
                .iter()
                .filter(|(_, of)| *of == at)
                .cloned()
                .collect();
            self.checkpoint(&own, &[RECOVERY_POINT, LOG_START, HIGH_WATERMARK]);
            if directory.unclean.load(Ordering::Acquire) {
                tracing::warn!(directory = %directory.files.path().display(), "a log is offline: the next start will check the logs");
                continue;
            }
            if let Some(Err(error)) = mark.map(|epoch| directory.files.write_clean_shutdown(epoch))
            {
                tracing::error!(%error, "the next start will check the logs");
            }
        }
    }
}

/// What a checkpoint keeps of a partition.
fn checkpointed(name: &str, partition: &Partition) -> Option<Offset> {
    match name {
        RECOVERY_POINT => Some(partition.log().recovery_point()),
        HIGH_WATERMARK => Some(partition.high_watermark()),
        _ => {
            // Where it is not told by the first segment's name. (LogManager.checkpointLogStartOffsetsInDir)
            let start = partition.log_start_offset();
            (start > partition.log().first_segment_offset()).then_some(start)
        }
    }
}

impl Directory {
    /// The logs here. Those that were being deleted go on being deleted.
    fn found(&self) -> Vec<PartitionDirectory> {
        let all = self.files.partitions().unwrap_or_else(|error| {
            tracing::error!(%error, "the log directory cannot be read");
            self.unclean.store(true, Ordering::Release);
            Vec::new()
        });
        let (deleted, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|found| found.kind == Kind::Delete);
        lock(&self.deleted).extend(
            deleted
                .into_iter()
                .map(|found| (SteadyTime::START, found.path)),
        );
        rest.into_iter()
            .filter(|found| found.kind == Kind::Current)
            .collect()
    }

    fn open(
        &self,
        found: &PartitionDirectory,
        directory: usize,
        wanted: &impl Fn(&Found) -> Option<Arc<PartitionConfig>>,
        now: Timestamp,
        producer_id_expiration_ms: i64,
    ) -> Option<Opened> {
        let name = found.partition.clone();
        let config = wanted(&Found {
            name: name.clone(),
            topic_id: found.topic_id,
        });
        let settings = config
            .as_ref()
            .map(|config| config.log.clone())
            .unwrap_or_default();
        let log = self
            .files
            .open_log(found, settings, now, producer_id_expiration_ms);
        match (config, log) {
            (Some(config), log) => Some(Opened {
                name,
                directory,
                log: log.map(|log| (log, config)),
            }),
            (None, Ok(log)) => {
                tracing::warn!(partition = %name, "the cluster does not know this log; it is put aside");
                if let Err(error) = self.files.mark_stray(&log, &name) {
                    tracing::error!(partition = %name, %error, "it cannot be put aside");
                }
                None
            }
            (None, Err(error)) => {
                tracing::error!(partition = %name, %error, "the cluster does not know this log, and it cannot be read");
                None
            }
        }
    }

    fn checkpoint(&self, name: &'static str, offsets: Offsets) {
        let mut written = lock(&self.written);
        if written.get(name) == Some(&offsets) {
            return;
        }
        match self.files.write_checkpoint(name, &offsets) {
            Ok(()) => {
                written.insert(name, offsets);
            }
            // That there is no space is known.
            Err(error) if self.files.health().is_short_of_space() => {
                tracing::debug!(%error, "a checkpoint is not written");
            }
            Err(error) => tracing::error!(%error, "a checkpoint is not written"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
