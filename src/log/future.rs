//! A log on its way from one log directory to another: it is copied under the name of a future log, takes the
//! partition's own name when it has all, and then the log that it replaces goes. A mark stands in it from before it
//! takes the name until the other is gone, so that a start in between knows which of the two counts.
//! (LogManager.replaceCurrentWithFutureLog; KIP-113)

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::info;

use super::config::LogConfig;
use super::directory::{LogDirectory, holds_log, suffixed_name, write_topic_id};
use super::error::Error;
use super::fs as files;
use super::log::Log;
use crate::ids::{Offset, Timestamp, TopicId, TopicPartition};

/// The mark; Kafka pays no heed to it.
const REPLACES: &str = "replaces-other-directory";

impl LogDirectory {
    /// Creates an empty log that is to become the partition's.
    pub fn create_future_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: impl Into<Arc<LogConfig>>,
        now: Timestamp,
    ) -> Result<Log, Error> {
        let path = self.path().join(suffixed_name(partition, "future"));
        let create = || {
            let fs = &self.storage().fs;
            fs.create_directory(&path).map_err(Error::io(&path))?;
            write_topic_id(self.storage(), &path, topic_id)?;
            Log::create(
                path.clone(),
                config,
                Offset::ZERO,
                self.storage().clone(),
                now,
            )
        };
        create().inspect_err(|error| self.health().judge_write(error))
    }

    /// Marks a future log as the one that counts from when it has the partition's name.
    pub fn mark_replacing(&self, log: &Log) -> Result<(), Error> {
        let path = log.dir().join(REPLACES);
        files::replace(&*self.storage().fs, &path, b"", true)
            .map_err(Error::io(&path))
            .inspect_err(|error| self.health().judge_write(error))
    }

    /// Takes the mark off: the log is the only one.
    pub fn clear_replacing(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(REPLACES);
        match self.storage().fs.remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Gives a future log the partition's own name. That is not on the device before [`LogDirectory::sync_names`].
    pub fn promote(&self, log: &Log, partition: &TopicPartition) -> Result<(), Error> {
        let path = self.path().join(partition.to_string());
        let is_free = holds_log(&path).and_then(|taken| match taken {
            true => Err(Error::io(&path)(ErrorKind::AlreadyExists.into())),
            false => Ok(()),
        });
        is_free?;
        log.rename(path)
            .inspect_err(|error| self.health().judge_write(error))
    }

    /// Brings the names of the logs in it to the device.
    pub fn sync_names(&self) -> Result<(), Error> {
        let path = self.path();
        let fs = &self.storage().fs;
        fs.sync_directory(path)
            .map_err(Error::io(path))
            .inspect_err(|error| self.health().judge_write(error))
    }

    /// Puts the log at `path` with the deleted ones: another directory has what replaces it.
    pub fn supersede(&self, partition: &TopicPartition, path: &Path) -> Result<(), Error> {
        let to = self.path().join(suffixed_name(partition, "delete"));
        info!(from = %path.display(), "replaced by the log in another directory");
        let fs = &self.storage().fs;
        fs.rename(path, &to)
            .and_then(|()| fs.sync_directory(self.path()))
            .map_err(Error::io(path))
    }
}

/// Whether the log in this directory replaces another of its name.
pub fn is_replacing(dir: &Path) -> bool {
    PathBuf::from(dir).join(REPLACES).exists()
}
