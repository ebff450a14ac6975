//! DescribeLogDirs (35), versions 1–5: the broker's log directories and the logs in them (KIP-113).
//!
//! A directory that is offline is told with KAFKA_STORAGE_ERROR and nothing else. Without topics all logs are told.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | flexible                                                                        |
//! | 3       | an error of the whole request                                                   |
//! | 4       | the bytes of the file system, all and those that can be used (KIP-827)          |
//! | 5       | whether the directory is cordoned (KIP-1066)                                    |
//!
//! (KafkaApis.handleDescribeLogDirsRequest, ReplicaManager.describeLogDirs)

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::describe_log_dirs_request::DescribableLogDirTopic;
use crate::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, text};
use crate::replica::{DirectoryDescription, ReplicaDescription, Replicas};

pub(super) struct DescribeLogDirs;

impl Api for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=5;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeLogDirsRequest,
    ) -> Reply<DescribeLogDirsResponse> {
        let replicas = ctx.broker.replicas().clone();
        // A file system may take its time to tell how full it is.
        Reply::later(async move {
            tokio::task::spawn_blocking(move || describe(&replicas, request.topics))
                .await
                .expect("a description does not panic")
        })
    }
}

fn describe(
    replicas: &Arc<Replicas>,
    topics: Option<Vec<DescribableLogDirTopic>>,
) -> DescribeLogDirsResponse {
    let wanted = topics.as_deref().map(by_name);
    let is_wanted = |partition: &TopicPartition| {
        wanted.as_ref().is_none_or(|wanted| {
            wanted
                .get(&*partition.topic)
                .is_some_and(|partitions| partitions.contains(&partition.partition.0))
        })
    };
    let described = replicas.describe_directories(is_wanted);
    DescribeLogDirsResponse {
        results: described.into_iter().map(result).collect(),
        ..Default::default()
    }
}

fn by_name(topics: &[DescribableLogDirTopic]) -> HashMap<&str, HashSet<i32>> {
    let mut wanted: HashMap<&str, HashSet<i32>> = HashMap::new();
    for topic in topics {
        let partitions = wanted.entry(&topic.topic).or_default();
        partitions.extend(&topic.partitions);
    }
    wanted
}

fn result(directory: DirectoryDescription) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult {
        log_dir: text(directory.path.to_string_lossy()),
        total_bytes: -1,
        usable_bytes: -1,
        ..Default::default()
    };
    let space = directory.online.then(|| space(&directory.path)).flatten();
    let Some((total_bytes, usable_bytes)) = space else {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            ..result
        };
    };
    DescribeLogDirsResult {
        topics: topics(directory.replicas),
        total_bytes,
        usable_bytes,
        is_cordoned: directory.cordoned,
        ..result
    }
}

/// The bytes of the file system, and those that can still be written.
fn space(path: &Path) -> Option<(i64, i64)> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes =
        |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}

/// Sorted replicas, by topic.
fn topics(replicas: Vec<ReplicaDescription>) -> Vec<DescribeLogDirsTopic> {
    let mut topics: Vec<DescribeLogDirsTopic> = Vec::new();
    for replica in replicas {
        let partition = DescribeLogDirsPartition {
            partition_index: replica.name.partition.0,
            partition_size: i64::try_from(replica.size).unwrap_or(i64::MAX),
            offset_lag: replica.lag,
            is_future_key: replica.is_future,
            ..Default::default()
        };
        match topics.last_mut() {
            Some(topic) if *topic.name == *replica.name.topic => topic.partitions.push(partition),
            _ => topics.push(DescribeLogDirsTopic {
                name: text(&replica.name.topic),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    topics
}
