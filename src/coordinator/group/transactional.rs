//! Offsets committed within a transaction: pending until its end marker comes, which has them count or drops them.
//! (OffsetMetadataManager.commitTransactionalOffset; KIP-98, KIP-447)

use std::sync::Arc;

use super::Step;
use super::classic::{ClassicGroup, Phase};
use super::offsets::Committer;
use super::records::{OffsetKey, OffsetValue, Record};
use crate::coordinator::{ProducerIdAndEpoch, Transactional, VerificationGuard};
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, ProducerEpoch, ProducerId};
use crate::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use crate::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

impl Step<'_> {
    pub(super) fn commit_transactional_offsets(
        &mut self,
        request: &TxnOffsetCommitRequest,
        verified: Option<VerificationGuard>,
    ) -> TxnOffsetCommitResponse {
        if let Err(code) = self.may_commit(request) {
            return error(request, code);
        }
        let group: Arc<str> = Arc::from(&**request.group_id);
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let name: Arc<str> = Arc::from(&**topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let too_large = self.is_metadata_too_large(partition.committed_metadata.as_deref());
                let code = match too_large {
                    true => ErrorCode::OffsetMetadataTooLarge,
                    false => ErrorCode::None,
                };
                if !too_large {
                    let key = OffsetKey {
                        group: group.clone(),
                        topic: name.clone(),
                        partition: partition.partition_index,
                    };
                    let value = Some(self.pending_value(partition));
                    self.out.records.push(Record::Offset { key, value });
                }
                partitions.push(committed(partition.partition_index, code));
            }
            topics.push(
                TxnOffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions),
            );
        }
        if !self.out.records.is_empty() {
            let producer = ProducerIdAndEpoch {
                id: ProducerId(request.producer_id.0),
                epoch: ProducerEpoch(request.producer_epoch),
            };
            self.out.transactional = Some(Transactional { producer, verified });
            self.schedule_expiry(&group, self.now.wall.plus_ms(self.config.retention_ms));
        }
        TxnOffsetCommitResponse::default().with_topics(topics)
    }

    fn pending_value(&self, partition: &TxnOffsetCommitRequestPartition) -> OffsetValue {
        OffsetValue {
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch.max(-1),
            metadata: Box::from(partition.committed_metadata.as_deref().unwrap_or_default()),
            commit_timestamp: self.now.wall,
            expire_timestamp: None,
            topic_id: KafkaUuid::ZERO,
        }
    }

    /// (OffsetMetadataManager.validateTransactionalOffsetCommit)
    fn may_commit(&self, request: &TxnOffsetCommitRequest) -> Result<(), ErrorCode> {
        let id: &str = &request.group_id;
        let committer = Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            generation: request.generation_id,
        };
        match (self.scratch.classic.get(id), self.state.group(id)) {
            (Some(group), _) => committer.may_commit_pending_to(group),
            (None, Some(stored)) if committer.is_anonymous() && stored.other.is_none() => Ok(()),
            (None, Some(stored)) => committer.may_commit_to_stored(stored),
            (None, None) if committer.generation < 0 => Ok(()),
            (None, None) => Err(ErrorCode::IllegalGeneration),
        }
    }
}

impl Committer<'_> {
    /// Producers of before KIP-447 do not say for which member they commit. (ClassicGroup.validateOffsetCommit)
    fn may_commit_pending_to(&self, group: &ClassicGroup) -> Result<(), ErrorCode> {
        if self.is_anonymous() || (self.generation < 0 && group.phase == Phase::Empty) {
            return Ok(());
        }
        group.validate_member(self.member_id, self.instance_id)?;
        match self.generation == group.generation {
            true => Ok(()),
            false => Err(ErrorCode::IllegalGeneration),
        }
    }
}

/// The answer to a commit that failed as a whole.
pub fn error(request: &TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let failed = |partition: &TxnOffsetCommitRequestPartition| {
            committed(partition.partition_index, code)
        };
        TxnOffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(topic.partitions.iter().map(failed).collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// The same answer with nothing committed.
pub(super) fn failed(
    mut response: TxnOffsetCommitResponse,
    code: ErrorCode,
) -> TxnOffsetCommitResponse {
    let topics = response.topics.iter_mut();
    for partition in topics.flat_map(|topic| &mut topic.partitions) {
        partition.error_code = code.code();
    }
    response
}

fn committed(partition_index: i32, code: ErrorCode) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default()
        .with_partition_index(partition_index)
        .with_error_code(code.code())
}
