//! What lies in the log directories: for DescribeLogDirs. (ReplicaManager.describeLogDirs)

use std::path::PathBuf;

use super::replicas::{Hosted, Replicas};
use crate::ids::TopicPartition;

/// A log directory and the replicas in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryDescription {
    /// The whole path.
    pub path: PathBuf,
    pub online: bool,
    pub cordoned: bool,
    /// By name. None of a directory that is offline.
    pub replicas: Vec<ReplicaDescription>,
}

/// A log in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    pub name: TopicPartition,
    pub size: u64,
    /// By how many records it is behind: a follower its high watermark, a future replica the current one.
    pub lag: i64,
    /// Whether it is on its way here from another directory.
    pub is_future: bool,
}

impl Replicas {
    /// Every log directory, in the order of `log.dirs`, with the logs in it that are `wanted`.
    pub fn describe_directories(
        &self,
        wanted: impl Fn(&TopicPartition) -> bool,
    ) -> Vec<DirectoryDescription> {
        let mut described: Vec<_> = (0..self.directories.len())
            .map(|at| DirectoryDescription {
                path: self.directories.absolute(at),
                online: self.directories.is_online(at),
                cordoned: self.directories.is_cordoned(at),
                replicas: Vec::new(),
            })
            .collect();
        for hosted in &self.hosted {
            let Hosted::Online {
                partition,
                directory,
            } = hosted.value()
            else {
                continue;
            };
            if !wanted(partition.topic_partition()) {
                continue;
            }
            let name = partition.topic_partition().clone();
            let log = partition.log();
            let end = log.log_end_offset();
            described[*directory].replicas.push(ReplicaDescription {
                name,
                size: log.size(),
                lag: (partition.high_watermark() - end).max(0),
                is_future: false,
            });
            if let Some(future) = partition.future() {
                described[future.directory]
                    .replicas
                    .push(ReplicaDescription {
                        name: partition.topic_partition().clone(),
                        size: future.log.size(),
                        lag: end - future.log.log_end_offset(),
                        is_future: true,
                    });
            }
        }
        for directory in &mut described {
            if !directory.online {
                directory.replicas.clear();
            }
            directory
                .replicas
                .sort_unstable_by(|a, b| (&a.name, a.is_future).cmp(&(&b.name, b.is_future)));
        }
        described
    }
}
