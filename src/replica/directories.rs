//! The log directories together: where new logs go, opening all that they hold at once, removing what was deleted,
//! checkpoints and the mark of a clean stop. (kafka.log.LogManager)

mod closing;
mod unopened;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::config::PartitionConfig;
use super::flusher::Flusher;
use super::partition::Partition;
use crate::config::{CurrentSettings, Settings};
use crate::ids::{DirectoryId, Offset, SteadyTime, Timestamp, TopicId, TopicPartition};
use crate::log::checkpoints::{CLEANER, HIGH_WATERMARK, Offsets, RECOVERY_POINT};
use crate::log::directory::{Kind, LogDirectory, PartitionDirectory};
use crate::log::{self, Done, Health, Log, LogConfig};

/// One of `log.dirs`, as the start found it.
#[derive(Debug)]
pub struct LogDir {
    /// [`DirectoryId::TWO`], which means lost, when it could not be read.
    pub id: DirectoryId,
    pub path: PathBuf,
    /// `None` when it cannot be used: its partitions are offline.
    pub files: Option<LogDirectory>,
}

/// How often a long recovery says how far it has come.
const TELL_INTERVAL: Duration = Duration::from_secs(3);

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
    settings: CurrentSettings,
}

#[derive(Debug)]
struct Directory {
    id: DirectoryId,
    path: PathBuf,
    files: Option<LogDirectory>,
    /// `cordoned.log.dirs`: no new partition comes here (KIP-1066).
    cordoned: AtomicBool,
    flusher: Arc<Flusher>,
    /// What each checkpoint holds, so that it is written when it changes.
    written: Mutex<BTreeMap<&'static str, Offsets>>,
    /// Logs on their way here, until they are taken up again.
    futures: Mutex<Vec<PartitionDirectory>>,
    /// Deleted logs with the time at which they go.
    deleted: Mutex<Vec<(SteadyTime, PathBuf)>>,
    /// Whether a log here was not open till the end: the next start has to check all of them.
    unclean: AtomicBool,
    /// A log here was renamed since [`Directories::sync_names`].
    names_dirty: AtomicBool,
}

impl Directories {
    pub(super) fn new(current: &CurrentSettings, directories: Vec<LogDir>) -> Directories {
        let settings = current.file();
        let flushes_max = flushes_max(settings);
        let reserve_bytes = settings.long("log.reserve.bytes");
        let all = directories.into_iter().map(|given| {
            if let Some(files) = &given.files {
                files.health().reserve(reserve_bytes);
            }
            Directory {
                id: given.id,
                path: given.path,
                files: given.files,
                cordoned: AtomicBool::new(false),
                flusher: Flusher::new(flushes_max),
                written: Mutex::default(),
                futures: Mutex::default(),
                deleted: Mutex::default(),
                unclean: AtomicBool::new(false),
                names_dirty: AtomicBool::new(false),
            }
        });
        Directories {
            all: all.collect(),
            settings: current.clone(),
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

    /// Takes over the settings as they are now.
    pub(super) fn follow_settings(&self) {
        let flushes_max = flushes_max(&self.settings.now());
        for directory in &self.all {
            directory.flusher.limit(flushes_max);
        }
    }

    pub(super) fn path(&self, directory: usize) -> &Path {
        &self.all[directory].path
    }

    /// The whole path, as clients name it.
    pub(super) fn absolute(&self, directory: usize) -> PathBuf {
        self.all[directory].absolute()
    }

    /// Its place, by its whole path.
    pub(super) fn by_path(&self, path: &str) -> Option<usize> {
        self.all
            .iter()
            .position(|directory| directory.absolute().as_os_str() == path)
    }

    /// The place of the one that a file lies in, by its real path.
    pub(super) fn containing(&self, file: &Path) -> Option<usize> {
        let holds = |directory: &Directory| {
            let path = directory.path.canonicalize();
            path.is_ok_and(|path| file.starts_with(path))
        };
        self.all.iter().position(holds)
    }

    pub(super) fn is_online(&self, directory: usize) -> bool {
        self.all[directory].online().is_some()
    }

    /// What tells of a directory's failure; `None` for one that was offline from the start.
    pub(super) fn health(&self, directory: usize) -> Option<Arc<Health>> {
        let files = self.all[directory].files.as_ref();
        files.map(|files| files.health().clone())
    }

    pub(super) fn is_cordoned(&self, directory: usize) -> bool {
        self.all[directory].cordoned.load(Ordering::Acquire)
    }

    /// Takes the list of `cordoned.log.dirs`, in which `*` means all; returns whether that changed anything.
    pub(super) fn cordon(&self, paths: &[String]) -> bool {
        let mut changed = false;
        for directory in &self.all {
            let cordoned = paths
                .iter()
                .any(|path| path == "*" || Path::new(path) == directory.path);
            changed |= directory.cordoned.swap(cordoned, Ordering::AcqRel) != cordoned;
        }
        changed
    }

    /// Where a new log goes: to the directory that the metadata assigns, to that which an administrator prefers, or to
    /// the one with the fewest logs. `None` when it is assigned to one that is offline, perhaps: the log may be there.
    /// (Partition.createLogInAssignedDirectoryId, LogManager.nextLogDirs)
    pub(super) fn place(
        &self,
        assigned: Option<DirectoryId>,
        preferred: Option<usize>,
        counts: impl FnOnce() -> Vec<usize>,
    ) -> Option<usize> {
        let is_assigned =
            assigned.is_some_and(|id| id != DirectoryId::ZERO && id != DirectoryId::ONE);
        if let Some(at) = self.all.iter().position(|directory| {
            is_assigned && Some(directory.id) == assigned && directory.online().is_some()
        }) {
            return Some(at);
        }
        let mut online = (0..self.all.len())
            .filter(|at| self.is_online(*at))
            .peekable();
        if is_assigned && (0..self.all.len()).any(|at| !self.is_online(at)) {
            return None;
        }
        if let Some(at) = preferred.filter(|at| self.is_online(*at)) {
            return Some(at);
        }
        if self.all.len() == 1 {
            return online.next();
        }
        let counts = counts();
        // One whose directories are all cordoned gets partitions only where an administrator says so.
        online.min_by_key(|at| (self.is_cordoned(*at), counts[*at]))
    }

    pub(super) fn high_watermark(&self, directory: usize, partition: &TopicPartition) -> Offset {
        let files = self.all[directory].files.as_ref();
        files
            .and_then(|files| files.high_watermark(partition))
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
            .usable()?
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
        let recovery_threads =
            usize::try_from(self.settings.now().num_recovery_threads_per_data_dir())
                .unwrap_or(1)
                .max(1);
        let producer_id_expiration_ms = self.producer_id_expiration_ms();
        let opened = Mutex::new(Vec::new());
        thread::scope(|scope| {
            // Let go of by each thread that opens logs; the last one ends the telling.
            let (going_on, ended) = mpsc::channel::<()>();
            for (at, directory) in self.all.iter().enumerate() {
                let found = Arc::new(directory.found());
                if let Some(files) = &directory.files {
                    files.progress().found(found.len());
                }
                let next = Arc::new(AtomicUsize::new(0));
                for _ in 0..recovery_threads.min(found.len()) {
                    let (found, next, opened) = (found.clone(), next.clone(), &opened);
                    let going_on = going_on.clone();
                    scope.spawn(move || {
                        let _going_on = going_on;
                        while let Some(found) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let one =
                                directory.open(found, at, wanted, now, producer_id_expiration_ms);
                            lock(opened).extend(one);
                            if let Some(files) = &directory.files {
                                files.progress().opened_one();
                            }
                        }
                    });
                }
            }
            drop(going_on);
            while ended.recv_timeout(TELL_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                self.tell_progress();
            }
        });
        let checked = |files: &LogDirectory| files.progress().done().checked_bytes > 0;
        if self.usable_files().any(checked) {
            self.tell_progress();
        }
        opened.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable_files(&self) -> impl Iterator<Item = &LogDirectory> {
        self.all.iter().filter_map(|each| each.files.as_ref())
    }

    /// Logs how far the opening of the logs has come.
    fn tell_progress(&self) {
        for files in self.usable_files() {
            let Done {
                found,
                opened,
                checked_bytes,
            } = files.progress().done();
            let (directory, left) = (files.path().display(), found - opened);
            tracing::info!(%directory, "{opened} logs are open, {left} are left, {checked_bytes} bytes were checked");
        }
    }

    /// Has a log's files removed after `file.delete.delay.ms`; the name is free at once.
    pub(super) fn delete(
        &self,
        directory: usize,
        partition: &TopicPartition,
        log: &Log,
        now: SteadyTime,
    ) {
        let directory = &self.all[directory];
        let marked = directory
            .usable()
            .and_then(|files| files.mark_deleted(log, partition));
        match marked {
            Ok(path) => {
                let due = now.plus_ms(log.config().file_delete_delay_ms);
                lock(&directory.deleted).push((due, path));
                directory.names_dirty.store(true, Ordering::Release);
            }
            Err(error) => tracing::error!(%partition, %error, "its files stay"),
        }
    }

    /// The files of a directory that can be used.
    pub(super) fn usable(&self, directory: usize) -> Result<&LogDirectory, log::Error> {
        self.all[directory].usable()
    }

    /// The future logs that were found when the directories were opened.
    pub(super) fn take_futures(&self) -> Vec<(usize, PartitionDirectory)> {
        let all = self.all.iter().enumerate();
        let futures = all.map(|(at, directory)| {
            let futures = std::mem::take(&mut *lock(&directory.futures));
            futures.into_iter().map(move |found| (at, found))
        });
        futures.flatten().collect()
    }

    /// `producer.id.expiration.ms`, as it is now.
    fn producer_id_expiration_ms(&self) -> i64 {
        self.settings.now().producer_id_expiration().as_millis() as i64
    }

    /// Opens a log that was found.
    pub(super) fn open_found(
        &self,
        directory: usize,
        found: &PartitionDirectory,
        config: Arc<LogConfig>,
        now: Timestamp,
    ) -> Result<Log, log::Error> {
        let files = self.usable(directory)?;
        files
            .open_log(found, config, now, self.producer_id_expiration_ms())
            .inspect_err(|error| files.health().judge_write(error))
    }

    /// Brings the names that logs were given to the device, once for all of them: a topic may have thousands.
    pub(super) fn sync_names(&self) {
        for directory in &self.all {
            if !directory.names_dirty.swap(false, Ordering::AcqRel) {
                continue;
            }
            if let Some(Err(error)) = directory.online().map(LogDirectory::sync_names) {
                tracing::error!(%error, "after a power loss deleted logs may be back");
            }
        }
    }

    /// Whether records are refused there for want of space. What is deleted goes at once then: ranges that are being
    /// sent keep their files.
    pub(super) fn is_short_of_space(&self, directory: usize) -> bool {
        self.all[directory].is_short_of_space()
    }

    pub(super) fn is_any_short_of_space(&self) -> bool {
        self.all.iter().any(Directory::is_short_of_space)
    }

    /// Sees whether there is space again where it was short.
    pub(super) fn look_for_space(&self) {
        for directory in &self.all {
            if let Some(files) = directory.online() {
                files.health().look_for_space();
            }
        }
    }

    /// Removes the deleted segments and logs whose time has come.
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
            let Some(files) = directory.online() else {
                continue;
            };
            if let Err(error) = files.deleted().remove_due(now) {
                tracing::error!(%error, "deleted segments stay");
            }
            for path in due {
                if let Err(error) = files.remove(&path) {
                    tracing::error!(%error, "a deleted log stays");
                }
            }
        }
    }

    /// Writes the checkpoints `names` of all directories, those that have changed. Returns whether all of those that are
    /// online say what is so.
    pub(super) fn checkpoint(
        &self,
        partitions: &[(Arc<Partition>, usize)],
        names: &[&'static str],
    ) -> bool {
        let online = self.all.iter().enumerate();
        let online = online.filter(|(_, directory)| directory.online().is_some());
        online.fold(true, |all_written, (at, directory)| {
            directory.checkpoint_all(at, partitions, names) && all_written
        })
    }
}

/// Fsyncs of a directory's logs at a time.
fn flushes_max(settings: &Settings) -> usize {
    usize::try_from(settings.background_threads()).unwrap_or(1)
}

/// What a checkpoint keeps of a partition.
pub(super) fn checkpointed(name: &str, partition: &Partition) -> Option<Offset> {
    match name {
        RECOVERY_POINT => Some(partition.log().recovery_point()),
        HIGH_WATERMARK => Some(partition.high_watermark()),
        CLEANER => partition.log().cleaned_to(),
        _ => {
            // Where it is not told by the first segment's name. (LogManager.checkpointLogStartOffsetsInDir)
            let start = partition.log_start_offset();
            (start > partition.log().first_segment_offset()).then_some(start)
        }
    }
}

impl Directory {
    /// Its files, while it can be used.
    fn online(&self) -> Option<&LogDirectory> {
        let files = self.files.as_ref();
        files.filter(|files| !files.health().is_failed())
    }

    fn is_short_of_space(&self) -> bool {
        self.online()
            .is_some_and(|files| files.health().is_short_of_space())
    }

    fn usable(&self) -> Result<&LogDirectory, log::Error> {
        let path = &self.path;
        self.online()
            .ok_or_else(|| log::Error::Offline { path: path.clone() })
    }

    /// The whole path. (File.getAbsolutePath)
    fn absolute(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone())
    }

    /// The logs here. Those that were being deleted go on being deleted.
    fn found(&self) -> Vec<PartitionDirectory> {
        let Some(files) = self.online() else {
            return Vec::new();
        };
        let all = files.partitions().unwrap_or_else(|error| {
            files.health().fail(&error);
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
        let (futures, rest): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|found| found.kind == Kind::Future);
        lock(&self.futures).extend(futures);
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
        let files = self.online()?;
        let log = files
            .open_log(found, settings, now, producer_id_expiration_ms)
            .inspect_err(|error| files.health().judge_write(error));
        match (config, log) {
            (Some(config), log) => Some(Opened {
                name,
                directory,
                log: log.map(|log| (log, config)),
            }),
            (None, Ok(log)) => {
                tracing::warn!(partition = %name, "the cluster does not know this log; it is put aside");
                self.names_dirty.store(true, Ordering::Release);
                if let Err(error) = files.mark_stray(&log, &name) {
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

    /// Writes the checkpoints of the partitions that are in this directory, which is the one at `at`.
    fn checkpoint_all(
        &self,
        at: usize,
        partitions: &[(Arc<Partition>, usize)],
        names: &[&'static str],
    ) -> bool {
        let own = || {
            let own = partitions.iter().filter(|(_, of)| *of == at);
            own.map(|(partition, _)| &**partition)
        };
        names.iter().fold(true, |all_written, name| {
            let offsets = own().filter_map(|partition| {
                let offset = checkpointed(name, partition)?;
                Some((partition.topic_partition().clone(), offset))
            });
            self.checkpoint(name, self.with_unopened(name, offsets.collect())) && all_written
        })
    }

    /// Whether the checkpoint says this now.
    fn checkpoint(&self, name: &'static str, offsets: Offsets) -> bool {
        let mut written = lock(&self.written);
        if written.get(name) == Some(&offsets) {
            return true;
        }
        match self
            .usable()
            .and_then(|files| files.write_checkpoint(name, &offsets))
        {
            Ok(()) => {
                written.insert(name, offsets);
                return true;
            }
            // That there is no space is known.
            Err(error) if self.is_short_of_space() => {
                tracing::debug!(%error, "a checkpoint is not written");
            }
            Err(error) => tracing::error!(%error, "a checkpoint is not written"),
        }
        false
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
