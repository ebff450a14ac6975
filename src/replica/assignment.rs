//! Which replicas the controller has to be told the directory of: those that lie elsewhere than the metadata says, since
//! the broker chose, or an administrator moved them. (kafka.server.AssignmentsManager; KIP-858)

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::replicas::{Hosted, Key, Replicas};
use crate::ids::{DirectoryId, PartitionIndex, TopicId};
use crate::metadata::{Image, Topic};

/// Assignments in one request at most. (AssignReplicasToDirsRequest.MAX_ASSIGNMENTS_PER_REQUEST)
const ASSIGNMENTS_MAX: usize = 2250;

/// A replica of this broker and its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Assignment {
    pub directory: DirectoryId,
    pub topic: TopicId,
    pub partition: PartitionIndex,
}

/// What the controller does not know yet. At most one for each replica.
#[derive(Debug, Default)]
pub(super) struct Assignments {
    pending: Mutex<BTreeMap<Key, DirectoryId>>,
    added: Notify,
}

impl Assignments {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, DirectoryId>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replicas {
    /// Has the controller told of a replica's directory where its metadata says another.
    pub(super) fn compare_assignment(&self, image: &Image, topic: &Topic, index: PartitionIndex) {
        let key = (topic.id, index);
        let registered = topic
            .partition(index)
            .and_then(|partition| partition.directory(self.node()));
        let directory = match self.hosted.get(&key).as_deref() {
            Some(Hosted::Online {
                partition,
                directory,
            }) => match partition.future().filter(|future| future.is_announced()) {
                Some(future) => {
                    let target = self.directories.id(future.directory);
                    if registered == Some(target) {
                        future.assigned.notify_one();
                    }
                    Some(target)
                }
                None => Some(self.directories.id(*directory)),
            },
            Some(Hosted::Offline) | None => None,
        };
        let metadata_version = image.features().metadata_version();
        let mut pending = self.assignments.lock();
        match directory.filter(|_| metadata_version.directory_assignment()) {
            Some(directory) if registered != Some(directory) => {
                if pending.insert(key, directory) != Some(directory) {
                    self.assignments.added.notify_one();
                }
            }
            Some(_) | None => {
                pending.remove(&key);
            }
        }
    }

    /// Has the controller told of a replica's directory, whatever it knows.
    pub(super) fn assign(&self, key: Key, directory: usize) {
        let directory = self.directories.id(directory);
        self.assignments.lock().insert(key, directory);
        self.assignments.added.notify_one();
    }

    /// What the controller is to be told next, once there is anything. It stays due until the metadata says it, or
    /// [`Replicas::drop_assignments`].
    pub async fn next_assignments(&self) -> Vec<Assignment> {
        loop {
            let next: Vec<_> = {
                let pending = self.assignments.lock();
                let next = pending.iter().take(ASSIGNMENTS_MAX);
                next.map(|((topic, partition), directory)| Assignment {
                    directory: *directory,
                    topic: *topic,
                    partition: *partition,
                })
                .collect()
            };
            if !next.is_empty() {
                return next;
            }
            self.assignments.added.notified().await;
        }
    }

    /// These need not be told any more: the controller has them, or does not want them.
    pub fn drop_assignments(&self, told: &[Assignment]) {
        let mut pending = self.assignments.lock();
        for assignment in told {
            let key = (assignment.topic, assignment.partition);
            if pending.get(&key) == Some(&assignment.directory) {
                pending.remove(&key);
            }
            if let Some(Hosted::Online { partition, .. }) = self.hosted.get(&key).as_deref()
                && let Some(future) = partition.future()
                && self.directories.id(future.directory) == assignment.directory
            {
                future.assigned.notify_one();
            }
        }
    }
}
