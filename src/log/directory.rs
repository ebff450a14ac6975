//! One of a broker's log directories (`log.dirs`): its checkpoints, the mark of a clean stop, and the
//! partition directories in it. Who is to have which partition is decided elsewhere.
//!
//! | name | is |
//! |---|---|
//! | `.kafka_cleanshutdown` | `{"version":0,"brokerEpoch":N}`, there from a clean stop to the next start |
//! | `*-offset-checkpoint` | see [`checkpoints`] |
//! | `<topic>-<partition>/` | a log |
//! | `<topic>-<partition>.<uuid>-delete/` | a deleted log, soon removed |
//! | `<topic>-<partition>.<uuid>-future/` | a log on its way here from another directory |
//! | `<topic>-<partition>.<uuid>-stray/` | a log that the metadata does not know |
//!
//! (org.apache.kafka.storage.internals.log.{LogManager, CleanShutdownFileHandler, PartitionMetadataFile})

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::checkpoints::{self, Offsets};
use super::config::LogConfig;
use super::deleted::DeletedFiles;
use super::error::Error;
use super::fs as files;
use super::health::Health;
use super::log::{Log, LogOptions, Storage};
use super::progress::Progress;
use crate::ids::{BrokerEpoch, KafkaUuid, Offset, Timestamp, TopicId, TopicPartition};

pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
pub(super) const PARTITION_METADATA: &str = "partition.metadata";
/// A directory's name has at most so many characters. (LocalLog.logDeleteDirName)
const NAME_MAX: usize = 255;
/// The metadata log's partition: it is opened by the controller.
const CLUSTER_METADATA: &str = "__cluster_metadata";

/// What the name of a partition directory says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Current,
    /// Being copied here from another directory.
    Future,
    /// Deleted; to be removed.
    Delete,
    /// Unknown to the metadata; kept until an operator has looked.
    Stray,
}

/// A partition directory that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDirectory {
    pub partition: TopicPartition,
    pub kind: Kind,
    /// From `partition.metadata`.
    pub topic_id: Option<TopicId>,
    /// Why `partition.metadata` cannot be read, where it is there: whose log this is cannot be known, so that it is not
    /// opened.
    pub damage: Option<String>,
    pub path: PathBuf,
}

/// The content of `.kafka_cleanshutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CleanShutdown {
    version: i32,
    #[serde(rename = "brokerEpoch")]
    broker_epoch: i64,
}

/// A log directory, as it was when it was opened. Whoever opens it holds its lock.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    storage: Storage,
    /// The broker epoch of the run that stopped cleanly; `None` after an unclean stop.
    clean_shutdown: Option<BrokerEpoch>,
    left: ArcSwap<Left>,
    progress: Arc<Progress>,
}

/// The checkpoints of the last run.
#[derive(Clone, Debug, Default)]
struct Left {
    recovery_points: Offsets,
    log_starts: Offsets,
    cleaned: Offsets,
    high_watermarks: Offsets,
}

impl Left {
    fn all(&mut self) -> [(&'static str, &mut Offsets); 4] {
        [
            (checkpoints::RECOVERY_POINT, &mut self.recovery_points),
            (checkpoints::LOG_START, &mut self.log_starts),
            (checkpoints::CLEANER, &mut self.cleaned),
            (checkpoints::HIGH_WATERMARK, &mut self.high_watermarks),
        ]
    }
}

impl LogDirectory {
    /// Reads what the last run left in a directory. The mark of a clean stop is gone afterwards: should this run die,
    /// the next one recovers.
    pub fn open(path: PathBuf, storage: Storage) -> Result<LogDirectory, Error> {
        let storage = Storage {
            health: Arc::new(Health::of(storage.fs.clone(), path.clone())),
            deleted: Arc::default(),
            ..storage
        };
        storage
            .fs
            .create_directory(&path)
            .map_err(Error::io(&path))?;
        let clean_shutdown = take_clean_shutdown(&path, &storage)?;
        let checkpoint = |name: &str| {
            let path = path.join(name);
            checkpoints::read(&path).or_else(|error| match error {
                // All logs are recovered from their start then, which loses nothing.
                Error::Malformed { path, reason } => {
                    warn!(file = %path.display(), "ignored: {reason}");
                    Ok(Offsets::new())
                }
                error => Err(error),
            })
        };
        Ok(LogDirectory {
            clean_shutdown,
            left: ArcSwap::from_pointee(Left {
                recovery_points: checkpoint(checkpoints::RECOVERY_POINT)?,
                log_starts: checkpoint(checkpoints::LOG_START)?,
                cleaned: checkpoint(checkpoints::CLEANER)?,
                high_watermarks: checkpoint(checkpoints::HIGH_WATERMARK)?,
            }),
            progress: Arc::default(),
            path,
            storage,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How far the opening of its logs has come.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether it can be used; wait on it to hear of its failure.
    pub fn health(&self) -> &Arc<Health> {
        &self.storage.health
    }

    /// The files of its logs that are to be removed.
    pub fn deleted(&self) -> &DeletedFiles {
        &self.storage.deleted
    }

    /// The broker epoch of the last run if that stopped cleanly; -1 where it knew none.
    pub fn clean_shutdown(&self) -> Option<BrokerEpoch> {
        self.clean_shutdown
    }

    /// A partition's high watermark when the directory was opened.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<Offset> {
        self.left.load().high_watermarks.get(partition).copied()
    }

    /// Forgets the checkpoints of the last run, but those of the logs that are `wanted`.
    pub fn forget_checkpoints(&self, wanted: impl Fn(&TopicPartition) -> bool) {
        let mut left = Left::clone(&self.left.load());
        for (_, offsets) in left.all() {
            offsets.retain(|partition, _| wanted(partition));
        }
        self.left.store(Arc::new(left));
    }

    /// Takes what this run knows of a log, by the names of the checkpoints, for what the last one left of it.
    pub fn keep_checkpoints(
        &self,
        partition: &TopicPartition,
        known: impl Fn(&str) -> Option<Offset>,
    ) {
        let mut left = Left::clone(&self.left.load());
        for (name, offsets) in left.all() {
            match known(name) {
                Some(offset) => offsets.insert(partition.clone(), offset),
                None => offsets.remove(partition),
            };
        }
        self.left.store(Arc::new(left));
    }

    /// What is left of a checkpoint of the last run.
    pub fn left_of(&self, name: &str) -> Offsets {
        let left = self.left.load();
        let offsets = match name {
            checkpoints::RECOVERY_POINT => &left.recovery_points,
            checkpoints::LOG_START => &left.log_starts,
            checkpoints::CLEANER => &left.cleaned,
            checkpoints::HIGH_WATERMARK => &left.high_watermarks,
            _ => return Offsets::new(),
        };
        offsets.clone()
    }

    /// The partition directories in it, but for the metadata log's.
    pub fn partitions(&self) -> Result<Vec<PartitionDirectory>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(Error::io(&self.path))? {
            let entry = entry.map_err(Error::io(&self.path))?;
            let name = entry.file_name();
            let Some((partition, kind)) = name.to_str().and_then(parse_name) else {
                continue;
            };
            let path = entry.path();
            if &*partition.topic == CLUSTER_METADATA || !path.is_dir() {
                continue;
            }
            let (topic_id, damage) = match read_topic_id(&path) {
                Ok(topic_id) => (topic_id, None),
                Err(error) => {
                    warn!(%error, "the log's topic is unknown");
                    (None, Some(error.to_string()))
                }
            };
            found.push(PartitionDirectory {
                partition,
                kind,
                topic_id,
                damage,
                path,
            });
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The logs that are in use, by their directories' names alone, as far as these can be read.
    pub fn current_logs(&self) -> Vec<(TopicPartition, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let current = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let (partition, kind) = parse_name(entry.file_name().to_str()?)?;
            let is_log = kind == Kind::Current && &*partition.topic != CLUSTER_METADATA;
            is_log.then(|| (partition, entry.path()))
        });
        current.collect()
    }

    /// Opens a log that [`LogDirectory::partitions`] has found.
    pub fn open_log(
        &self,
        found: &PartitionDirectory,
        config: impl Into<Arc<LogConfig>>,
        now: Timestamp,
        producer_id_expiration_ms: i64,
    ) -> Result<Log, Error> {
        if let Some(reason) = found.damage.clone() {
            let path = found.path.clone();
            return Err(Error::Malformed { path, reason });
        }
        let checkpointed =
            |offsets: &Offsets| offsets.get(&found.partition).copied().unwrap_or_default();
        let left = self.left.load();
        let options = LogOptions {
            clean: self.clean_shutdown.is_some(),
            recovery_point: checkpointed(&left.recovery_points),
            log_start_offset: checkpointed(&left.log_starts),
            cleaned_to: left.cleaned.get(&found.partition).copied(),
            now,
            producer_id_expiration_ms,
            progress: self.progress.clone(),
        };
        Log::open(found.path.clone(), config, options, self.storage.clone())
    }

    /// Creates the log of a new partition. A log that lies in its place, one that could not be opened while its topic
    /// was deleted, is put aside.
    pub fn create_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: impl Into<Arc<LogConfig>>,
        now: Timestamp,
    ) -> Result<Log, Error> {
        self.create(partition, topic_id, config, now)
            .inspect_err(|error| self.health().judge_write(error))
    }

    fn create(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: impl Into<Arc<LogConfig>>,
        now: Timestamp,
    ) -> Result<Log, Error> {
        let path = self.path.join(partition.to_string());
        if holds_log(&path)? {
            let stray = self.path.join(suffixed_name(partition, "stray"));
            warn!(from = %path.display(), to = %stray.display(), "another log of this name is put aside");
            self.storage
                .fs
                .rename(&path, &stray)
                .and_then(|()| self.storage.fs.sync_directory(&self.path))
                .map_err(Error::io(&path))?;
        }
        self.storage
            .fs
            .create_directory(&path)
            .map_err(Error::io(&path))?;
        write_topic_id(&self.storage, &path, topic_id)?;
        Log::create(path, config, Offset::ZERO, self.storage.clone(), now)
    }

    /// Renames a log's directory so that a new one of its name can be made, and returns the new path, to be given to
    /// [`LogDirectory::remove`] after `file.delete.delay.ms`. The log must not be appended to any more.
    pub fn mark_deleted(&self, log: &Log, partition: &TopicPartition) -> Result<PathBuf, Error> {
        log.go_offline();
        self.rename(log, &suffixed_name(partition, "delete"))
    }

    /// Renames a log's directory to that of a partition which the metadata does not know.
    pub fn mark_stray(&self, log: &Log, partition: &TopicPartition) -> Result<PathBuf, Error> {
        log.go_offline();
        self.rename(log, &suffixed_name(partition, "stray"))
    }

    fn rename(&self, log: &Log, name: &str) -> Result<PathBuf, Error> {
        let to = self.path.join(name);
        log.rename(to.clone())
            .inspect_err(|error| self.health().judge_write(error))?;
        Ok(to)
    }

    /// Removes a directory that was marked as deleted.
    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.storage.fs.remove_directory(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes a checkpoint of all the logs in this directory.
    pub fn write_checkpoint(&self, name: &str, offsets: &Offsets) -> Result<(), Error> {
        checkpoints::write(&*self.storage.fs, &self.path.join(name), offsets, true)
            .inspect_err(|error| self.health().judge_write(error))
    }

    /// Marks a clean stop, once every log is closed and the checkpoints are written.
    pub fn write_clean_shutdown(&self, broker_epoch: BrokerEpoch) -> Result<(), Error> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let mark = CleanShutdown {
            version: 0,
            broker_epoch: broker_epoch.0,
        };
        let text = serde_json::to_string(&mark).expect("numbers can be written");
        files::replace(&*self.storage.fs, &path, text.as_bytes(), true).map_err(Error::io(&path))
    }
}

fn take_clean_shutdown(path: &Path, storage: &Storage) -> Result<Option<BrokerEpoch>, Error> {
    let path = path.join(CLEAN_SHUTDOWN);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    storage.fs.remove_file(&path).map_err(Error::io(&path))?;
    // Kafka before 3.8 left it empty.
    let epoch = serde_json::from_str::<CleanShutdown>(&text).map_or(-1, |mark| mark.broker_epoch);
    info!(directory = %path.display(), "stopped cleanly");
    Ok(Some(BrokerEpoch(epoch)))
}

/// Whether a directory is there and holds a log's segment.
pub(super) fn holds_log(dir: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io(dir))?;
        if entry.path().extension().is_some_and(|is| is == "log") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The topic id in a partition directory; `None` when there is none. (PartitionMetadataFile)
pub fn read_topic_id(dir: &Path) -> Result<Option<TopicId>, Error> {
    let path = dir.join(PARTITION_METADATA);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("topic_id:"))
        .and_then(|id| KafkaUuid::parse(id.trim()));
    let Some(id) = id else {
        return Err(Error::Malformed {
            path,
            reason: "no topic_id".to_owned(),
        });
    };
    Ok(Some(id))
}

pub(super) fn write_topic_id(
    storage: &Storage,
    dir: &Path,
    topic_id: TopicId,
) -> Result<(), Error> {
    let path = dir.join(PARTITION_METADATA);
    let text = format!("version: 0\ntopic_id: {topic_id}");
    files::replace(&*storage.fs, &path, text.as_bytes(), false).map_err(Error::io(&path))
}

/// `<topic>-<partition>.<uuid>-<suffix>`, the topic shortened where the name would be too long.
/// (LocalLog.logDirNameWithSuffixCappedLength)
pub(super) fn suffixed_name(partition: &TopicPartition, suffix: &str) -> String {
    let tail = format!(
        "-{}.{}-{suffix}",
        partition.partition,
        KafkaUuid::random().0.simple()
    );
    let topic = &partition.topic[..partition.topic.len().min(NAME_MAX - tail.len())];
    format!("{topic}{tail}")
}

/// The partition and kind that a directory's name tells. (LocalLog.parseTopicPartitionName)
pub fn parse_name(name: &str) -> Option<(TopicPartition, Kind)> {
    let kinds = [
        ("-delete", Kind::Delete),
        ("-future", Kind::Future),
        ("-stray", Kind::Stray),
    ];
    let suffixed = kinds
        .iter()
        .find_map(|(suffix, kind)| Some((name.strip_suffix(suffix)?, *kind)));
    let (name, kind) = match suffixed {
        Some((name, kind)) => match name.rsplit_once('.') {
            Some((name, id))
                if id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()) =>
            {
                (name, kind)
            }
            _ => return None,
        },
        None => (name, Kind::Current),
    };
    let (topic, partition) = name.rsplit_once('-')?;
    let partition = partition
        .parse::<i32>()
        .ok()
        .filter(|partition| *partition >= 0)?;
    (!topic.is_empty()).then(|| (TopicPartition::new(topic, partition), kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;
    use crate::log::Origin;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn open(dir: &tempfile::TempDir) -> LogDirectory {
        LogDirectory::open(dir.path().to_owned(), Storage::default()).unwrap()
    }

    #[test]
    fn names_of_partition_directories() {
        let id = "0123456789abcdef0123456789abcdef";
        let parsed =
            |name: &str| parse_name(name).map(|(partition, kind)| (partition.to_string(), kind));
        assert_eq!(
            parsed("a-b.c-12"),
            Some(("a-b.c-12".to_owned(), Kind::Current))
        );
        assert_eq!(
            parsed(&format!("t-0.{id}-delete")),
            Some(("t-0".to_owned(), Kind::Delete))
        );
        assert_eq!(
            parsed(&format!("t-0.{id}-future")),
            Some(("t-0".to_owned(), Kind::Future))
        );
        assert_eq!(
            parsed(&format!("t-0.{id}-stray")),
            Some(("t-0".to_owned(), Kind::Stray))
        );
        for no in ["meta.properties", "t", "t-", "-1", "t-x", "t-0.12-delete"] {
            assert_eq!(parsed(no), None, "{no}");
        }
        let long = TopicPartition::new("x".repeat(249), 7);
        assert_eq!(suffixed_name(&long, "delete").len(), NAME_MAX);
    }

    #[test]
    fn a_clean_stop_is_known_once() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        assert_eq!(directory.clean_shutdown(), None);
        directory.write_clean_shutdown(BrokerEpoch(11)).unwrap();
        let text = fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, r#"{"version":0,"brokerEpoch":11}"#);
        drop(directory);
        assert_eq!(open(&dir).clean_shutdown(), Some(BrokerEpoch(11)));
        assert_eq!(open(&dir).clean_shutdown(), None);
    }

    #[test]
    fn a_stopped_directory_is_opened_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        let partition = TopicPartition::new("t", 0);
        let log = directory
            .create_log(&partition, KafkaUuid::random(), LogConfig::default(), NOW)
            .unwrap();
        let mut batch = crate::record::BatchBuilder::new();
        (0..5).for_each(|_| batch.append(NOW, None, Some(b"value")));
        log.append_as_leader(&batch.build_valid(), LeaderEpoch(0), Origin::Client, NOW)
            .unwrap();
        log.advance_log_start_offset(Offset(2)).unwrap();
        log.close().unwrap();
        let offsets = [
            (checkpoints::RECOVERY_POINT, log.recovery_point()),
            (checkpoints::HIGH_WATERMARK, Offset(4)),
            (checkpoints::LOG_START, log.log_start_offset()),
        ];
        for (name, offset) in offsets {
            let offsets = Offsets::from([(partition.clone(), offset)]);
            directory.write_checkpoint(name, &offsets).unwrap();
        }
        directory.write_clean_shutdown(BrokerEpoch(1)).unwrap();
        drop((log, directory));
        let directory = open(&dir);
        assert_eq!(directory.high_watermark(&partition), Some(Offset(4)));
        let found = directory.partitions().unwrap();
        let log = directory
            .open_log(&found[0], LogConfig::default(), NOW, i64::MAX)
            .unwrap();
        assert_eq!(
            (log.log_start_offset(), log.log_end_offset()),
            (Offset(2), Offset(5))
        );
        assert_eq!(log.recovery_point(), Offset(5));
    }

    #[test]
    fn logs_are_created_found_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        let (partition, id) = (TopicPartition::new("t", 3), KafkaUuid::random());
        let log = directory
            .create_log(&partition, id, LogConfig::default(), NOW)
            .unwrap();
        let metadata = fs::read_to_string(dir.path().join("t-3/partition.metadata")).unwrap();
        assert_eq!(metadata, format!("version: 0\ntopic_id: {id}"));
        let found = directory.partitions().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (&found[0].partition, found[0].kind, found[0].topic_id),
            (&partition, Kind::Current, Some(id))
        );
        let path = directory.mark_deleted(&log, &partition).unwrap();
        assert_eq!(directory.partitions().unwrap()[0].kind, Kind::Delete);
        directory.remove(&path).unwrap();
        assert!(directory.partitions().unwrap().is_empty());
    }

    #[test]
    fn a_log_in_the_place_of_a_new_one_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        let partition = TopicPartition::new("t", 0);
        let create = || {
            directory
                .create_log(&partition, KafkaUuid::random(), LogConfig::default(), NOW)
                .unwrap()
        };
        let old = create();
        let mut batch = crate::record::BatchBuilder::new();
        batch.append(NOW, None, Some(b"value"));
        old.append_as_leader(&batch.build_valid(), LeaderEpoch(0), Origin::Client, NOW)
            .unwrap();
        drop(old);
        assert_eq!(create().log_end_offset(), Offset(0));
        let mut kinds: Vec<_> = directory.partitions().unwrap();
        kinds.sort_by_key(|found| found.kind == Kind::Stray);
        let kinds: Vec<_> = kinds.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [Kind::Current, Kind::Stray]);
    }

    #[test]
    fn a_damaged_partition_is_no_harm_to_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let directory = open(&dir);
        for index in 0..2 {
            let partition = TopicPartition::new("t", index);
            directory
                .create_log(&partition, KafkaUuid::random(), LogConfig::default(), NOW)
                .unwrap();
        }
        fs::write(dir.path().join("t-0/partition.metadata"), "?").unwrap();
        let opened: Vec<_> = directory
            .partitions()
            .unwrap()
            .iter()
            .map(|found| {
                directory
                    .open_log(found, LogConfig::default(), NOW, i64::MAX)
                    .is_ok()
            })
            .collect();
        assert_eq!(opened, [false, true]);
    }
}
