//! AlterReplicaLogDirs (34), versions 1–2: logs move to other directories of the broker (KIP-113).
//!
//! The answer says that a move has begun; DescribeLogDirs tells how far it is. What is asked for a partition that is not
//! here is kept for when it comes. Of a partition that is named twice the last counts. Version 2 is flexible.
//! (KafkaApis.handleAlterReplicaLogDirsRequest, ReplicaManager.alterReplicaLogDirs)

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use crate::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, StrBytes, TopicName, text,
};
use crate::metadata::Image;
use crate::replica::{Replicas, Unmovable};

pub(super) struct AlterReplicaLogDirs;

impl Api for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: AlterReplicaLogDirsRequest,
    ) -> Reply<AlterReplicaLogDirsResponse> {
        let (replicas, image) = (ctx.broker.replicas().clone(), ctx.broker.image());
        // Directories are made.
        Reply::later(async move {
            tokio::task::spawn_blocking(move || answer(&replicas, &image, request))
                .await
                .expect("moves begin without a panic")
        })
    }
}

fn answer(
    replicas: &Arc<Replicas>,
    image: &Image,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut results: Vec<AlterReplicaLogDirTopicResult> = Vec::new();
    let mut places = HashMap::new();
    for (name, path) in asked(request) {
        let code = match replicas.move_replica(image, &name, &path) {
            Ok(()) => ErrorCode::None,
            Err(error) => of_unmovable(&error),
        };
        let at = *places.entry(name.topic.clone()).or_insert_with(|| {
            let topic = TopicName(text(&name.topic));
            results.push(AlterReplicaLogDirTopicResult::default().with_topic_name(topic));
            results.len() - 1
        });
        let result = AlterReplicaLogDirPartitionResult::default()
            .with_partition_index(name.partition.0)
            .with_error_code(code.code());
        results[at].partitions.push(result);
    }
    AlterReplicaLogDirsResponse::default().with_results(results)
}

/// Each partition once, with the last path that it was given, in the order of their first mention.
fn asked(request: AlterReplicaLogDirsRequest) -> Vec<(TopicPartition, StrBytes)> {
    let mut asked: Vec<(TopicPartition, StrBytes)> = Vec::new();
    let mut places = HashMap::new();
    for directory in request.dirs {
        for topic in directory.topics {
            for index in topic.partitions {
                let name = TopicPartition::new(&*topic.name.0, index);
                let place = *places.entry(name.clone()).or_insert_with(|| {
                    asked.push((name, directory.path.clone()));
                    asked.len() - 1
                });
                asked[place].1 = directory.path.clone();
            }
        }
    }
    asked
}

fn of_unmovable(error: &Unmovable) -> ErrorCode {
    match error {
        Unmovable::NoSuchDirectory => ErrorCode::LogDirNotFound,
        Unmovable::DirectoryOffline => ErrorCode::KafkaStorageError,
        Unmovable::Cordoned => ErrorCode::InvalidReplicaAssignment,
        Unmovable::NameTooLong => ErrorCode::InvalidTopicException,
        Unmovable::NoSuchPartition => ErrorCode::UnknownTopicOrPartition,
        Unmovable::Replica(error) => errors::of_replica(error),
    }
}
