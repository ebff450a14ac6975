//! Log directories that fail or are cordoned. A failed one takes its partitions offline, and them alone: they answer
//! that their storage cannot be used, until the broker is started again with the directory repaired. Who tells the
//! controller follows [`Replicas::directory_state`]. (ReplicaManager.handleLogDirFailure; KIP-112, KIP-858, KIP-1066)

use std::fs::{File, read_link};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use super::directories::Directories;
use super::partition::Partition;
use super::replicas::{Hosted, Key, Replicas};
use crate::ids::DirectoryId;
use crate::log;
use crate::metadata::{Image, Resource};

/// What the controller has to know of the log directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryState {
    /// Those that can be used; a registration names them.
    pub online: Vec<DirectoryId>,
    /// Those that have failed since the start. One that was offline from the start is not known to the controller.
    pub offline: Vec<DirectoryId>,
    /// Those that take no new partitions.
    pub cordoned: Vec<DirectoryId>,
}

impl DirectoryState {
    fn of(directories: &Directories) -> DirectoryState {
        let of = |wanted: &dyn Fn(usize) -> bool| {
            let all = (0..directories.len()).filter(|at| wanted(*at));
            all.map(|at| directories.id(at)).collect()
        };
        DirectoryState {
            online: of(&|at| directories.is_online(at)),
            offline: of(&|at| !directories.is_online(at) && directories.health(at).is_some()),
            cordoned: of(&|at| directories.is_cordoned(at) && directories.health(at).is_some()),
        }
    }
}

/// The present state, and who is told of changes.
#[derive(Debug)]
pub(super) struct DirectoryStates(watch::Sender<DirectoryState>);

impl DirectoryStates {
    pub(super) fn of(directories: &Directories) -> DirectoryStates {
        DirectoryStates(watch::Sender::new(DirectoryState::of(directories)))
    }

    fn refresh(&self, directories: &Directories) {
        let next = DirectoryState::of(directories);
        self.0
            .send_if_modified(|state| std::mem::replace(state, next.clone()) != next);
    }
}

impl Replicas {
    /// Which directories are offline and which are cordoned; tells of changes.
    pub fn directory_state(&self) -> watch::Receiver<DirectoryState> {
        self.states.0.subscribe()
    }

    /// Whether one of the log directories lies at this path, as `log.dirs` has it, and cannot be used.
    pub fn has_failed(&self, path: &Path) -> bool {
        (0..self.directories.len())
            .any(|at| self.directories.path(at) == path && !self.directories.is_online(at))
    }

    /// What it means for a log directory that part of a segment's file could not be sent to a client, if that was not the
    /// client's doing. Records leave the process unread, so this is where an error of the device comes to light.
    pub fn judge_sent(&self, file: &File, error: &io::Error) {
        let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
        if !is_cut && Errno::from_io_error(error) != Some(Errno::IO) {
            return;
        }
        // As the file is named now: its segment may be closed, renamed or removed.
        let Ok(path) = read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
            return;
        };
        let Some(directory) = self.directories.containing(&path) else {
            return;
        };
        error!(file = %path.display(), %error, "it could not be sent");
        if let Some(health) = self.directories.health(directory).filter(|_| !is_cut) {
            let source = io::Error::from(Errno::IO);
            health.judge_read(&log::Error::Io { path, source });
        }
    }

    /// Takes the partitions of each directory offline when it fails. Ends when no directory is left to watch.
    pub async fn watch_directories(self: Arc<Self>) {
        let mut failures: FuturesUnordered<_> = (0..self.directories.len())
            .filter_map(|at| Some((at, self.directories.health(at)?)))
            .map(|(at, health)| async move {
                health.failed().await;
                at
            })
            .collect();
        while let Some(at) = failures.next().await {
            // Appends and moves are waited for, and files of copies renamed.
            let replicas = self.clone();
            let done = spawn_blocking(move || replicas.take_offline(at)).await;
            done.unwrap_or_else(|error| error!(%error, "its partitions are not all offline"));
        }
    }

    /// Ends the partitions in a directory that has failed.
    pub(super) fn take_offline(&self, directory: usize) {
        self.directories.went_offline(directory);
        let _changing = self.lock_changing();
        let in_it = |hosted: &Hosted| match hosted {
            Hosted::Online {
                partition,
                directory: at,
            } if *at == directory => Some(partition.clone()),
            Hosted::Online { .. } | Hosted::Offline => None,
        };
        let lost: Vec<(Key, Arc<Partition>)> = self
            .hosted
            .iter()
            .filter_map(|hosted| Some((*hosted.key(), in_it(hosted.value())?)))
            .collect();
        for (partition, _) in self.online_by_directory() {
            // A copy that was being made there is not made any more.
            if partition
                .future()
                .is_some_and(|future| future.directory == directory)
            {
                self.drop_future(&partition);
            }
        }
        for (key, partition) in &lost {
            partition.go_offline();
            self.leave_future(partition);
            if let Some(mut hosted) = self.hosted.get_mut(key)
                && in_it(&hosted).is_some()
            {
                *hosted = Hosted::Offline;
            }
        }
        if !lost.is_empty() {
            let path = self.directories.path(directory).display();
            error!(directory = %path, partitions = %names(&lost), "these partitions are offline");
        }
        self.states.refresh(&self.directories);
    }

    /// Takes over what the cluster's metadata, or else the settings file, says of `cordoned.log.dirs`.
    pub(super) fn cordon_as(&self, image: &Image) {
        let own = image
            .configs()
            .value(&Resource::broker(self.node()), "cordoned.log.dirs")
            .map(|value| value.to_string());
        let listed = match &own {
            Some(value) => value
                .split(',')
                .map(|path| path.trim().to_owned())
                .filter(|path| !path.is_empty())
                .collect(),
            None => self.settings().list("cordoned.log.dirs").to_vec(),
        };
        if self.directories.cordon(&listed) {
            warn!(directories = ?listed, "cordoned: they take no new partitions");
            self.states.refresh(&self.directories);
        }
    }
}

/// The first of them by name, and how many there are.
fn names(lost: &[(Key, Arc<Partition>)]) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = lost
        .iter()
        .map(|(_, partition)| partition.topic_partition().to_string())
        .collect();
    names.sort_unstable();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

#[cfg(test)]
pub(super) mod tests;
