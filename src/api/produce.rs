//! Produce (0), versions 3–13: appends record batches to partitions that this broker leads.
//!
//! Version 0 to 2 are advertised, since old clients look for the key there, and not handled (KIP-896). Each partition
//! holds exactly one batch of magic 2. The appends are done when `handle` returns; acks=-1 then waits for the in-sync
//! replicas, acks=0 gets no answer, and a failure of it closes the connection, so that the client looks up the leader
//! anew. Of transactional batches the transaction's coordinator is asked first ([`transactional`]).
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 3       | transactional id; record batches of magic 2 (KIP-98)                            |
//! | 5       | log start offset (KIP-107)                                                      |
//! | 7       | zstd (KIP-110)                                                                  |
//! | 8       | the records at fault, and a message (KIP-467)                                   |
//! | 9       | flexible                                                                        |
//! | 10      | the current leader and its address, beside NOT_LEADER_OR_FOLLOWER (KIP-951)     |
//! | 12      | transactions without AddPartitionsToTxn (KIP-890)                               |
//! | 13      | topic ids (KIP-516)                                                             |
//!
//! (KafkaApis.handleProduceRequest, ReplicaManager.appendRecords)

mod transactional;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::leaders::{Leaders, resolve_by_id, resolve_by_name};
use super::{Api, Context, Reply, errors};
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicPartition};
use crate::log::{AppendError, Origin};
use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use crate::messages::{ProduceRequest, ProduceResponse};
use crate::metadata::Topic;
use crate::record::validate::{Invalid, produced_batch, validate};
use crate::replica::{self, ACKS_ALL, Appended, Partition};
use transactional::Verified;

/// From this version on topics have ids.
const BY_ID: i16 = 13;
/// From this version on the leader is told beside NOT_LEADER_OR_FOLLOWER.
const LEADER_HINTS: i16 = 10;
/// The client id of Kafka's own tools, which may write to internal topics. (AdminUtils.ADMIN_CLIENT_ID)
const ADMIN_CLIENT_ID: &str = "__admin_client";

pub(super) struct Produce;

impl Api for Produce {
    type Request = ProduceRequest;
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED_FROM: i16 = 0;

    fn handle(ctx: &mut Context<'_>, request: ProduceRequest) -> Reply<ProduceResponse> {
        let produced = Produced::new(ctx, &request);
        match request.transactional_id {
            None => produced.finish(request),
            Some(_) => transactional::produce(produced, request),
        }
    }
}

/// One request on its way.
struct Produced {
    leaders: Leaders,
    version: i16,
    acks: i16,
    internal_topics_allowed: bool,
    transactional_id: bool,
    now: Timestamp,
    failed: bool,
    /// Of transactional batches.
    verified: Verified,
    /// What the answer waits for.
    waits: Vec<Wait>,
}

/// A batch that was appended and is not known to be with all in-sync replicas, or on the device.
struct Wait {
    topic_at: usize,
    partition_at: usize,
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
    offset: Offset,
    /// Not for other replicas, but for the device.
    for_flush: bool,
}

/// Why nothing was appended.
enum Refusal {
    Code(ErrorCode),
    Message(ErrorCode, String),
    /// What is asked of every Produce request.
    Form(Invalid),
    /// What the topic asks.
    Invalid(Invalid),
    Replica(replica::Error),
}

impl Produced {
    fn new(ctx: &Context<'_>, request: &ProduceRequest) -> Produced {
        Produced {
            leaders: Leaders::new(ctx),
            version: ctx.version(),
            acks: request.acks,
            internal_topics_allowed: ctx.header.client_id.as_deref() == Some(ADMIN_CLIENT_ID),
            transactional_id: request.transactional_id.is_some(),
            now: ctx.broker.clock().now(),
            failed: false,
            verified: Verified::default(),
            waits: Vec::new(),
        }
    }

    /// Appends what there is, and answers.
    fn finish(mut self, request: ProduceRequest) -> Reply<ProduceResponse> {
        let mut responses = Vec::with_capacity(request.topic_data.len());
        for (topic_at, topic) in request.topic_data.into_iter().enumerate() {
            responses.push(self.append_topic(topic_at, topic));
        }
        let response = ProduceResponse {
            responses,
            node_endpoints: self.leaders.into_endpoints(endpoint),
            ..ProduceResponse::default()
        };
        match request.acks {
            0 if self.failed => Reply::Close,
            0 => Reply::Silent,
            _ if self.waits.iter().any(|wait| !wait.is_over()) => {
                let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
                Reply::later(wait_for_replicas(
                    response,
                    self.waits,
                    Instant::now() + timeout,
                ))
            }
            _ => Reply::Now(response),
        }
    }

    fn append_topic(&mut self, topic_at: usize, data: TopicProduceData) -> TopicProduceResponse {
        let image = self.leaders.image().clone();
        let topic = match self.version {
            BY_ID.. => resolve_by_id(&image, data.topic_id),
            _ => resolve_by_name(&image, &data.name),
        };
        let append = |(partition_at, partition): (usize, PartitionProduceData)| {
            let index = partition.index;
            let appended = topic
                .map_err(Refusal::Code)
                .and_then(|topic| self.append(topic, (topic_at, partition_at), partition));
            self.answer(topic.ok(), (topic_at, partition_at), index, appended)
        };
        let partition_responses = data
            .partition_data
            .into_iter()
            .enumerate()
            .map(append)
            .collect();
        TopicProduceResponse {
            name: data.name,
            topic_id: data.topic_id,
            partition_responses,
            ..Default::default()
        }
    }

    fn append(
        &self,
        topic: &Arc<Topic>,
        at: (usize, usize),
        data: PartitionProduceData,
    ) -> Result<(Arc<Partition>, Appended), Refusal> {
        let index = PartitionIndex(data.index);
        if topic.partition(index).is_none() {
            return Err(Refusal::Code(ErrorCode::UnknownTopicOrPartition));
        }
        let batch = produced_batch(data.records.unwrap_or_default(), self.version)
            .map_err(Refusal::Form)?;
        let origin = match batch.header.is_transactional() {
            true if self.transactional_id => self.verified.origin(at)?,
            true => {
                return Err(Refusal::Code(ErrorCode::TransactionalIdAuthorizationFailed));
            }
            false => Origin::Client,
        };
        if !(ACKS_ALL..=1).contains(&self.acks) {
            return Err(Refusal::Code(ErrorCode::InvalidRequiredAcks));
        }
        if topic.is_internal() && !self.internal_topics_allowed {
            return Err(Refusal::Code(ErrorCode::InvalidTopicException));
        }
        let partition = self.leaders.partition(topic, index)?;
        let batch = validate(batch, &partition.config().rules, self.now)?;
        let appended = partition.append_as_leader(&batch, origin, self.acks, None, self.now)?;
        Ok((partition, appended))
    }

    fn answer(
        &mut self,
        topic: Option<&Arc<Topic>>,
        (topic_at, partition_at): (usize, usize),
        index: i32,
        appended: Result<(Arc<Partition>, Appended), Refusal>,
    ) -> PartitionProduceResponse {
        let refusal = match appended {
            Ok((partition, appended)) => {
                let Appended {
                    info,
                    leader_epoch,
                    flush_first,
                } = appended;
                let answer = PartitionProduceResponse {
                    index,
                    base_offset: info.base_offset.0,
                    log_append_time_ms: info.log_append_time.unwrap_or(Timestamp::NONE).0,
                    log_start_offset: info.log_start_offset.0,
                    ..Default::default()
                };
                if self.acks == ACKS_ALL || (flush_first && self.acks != 0) {
                    let offset = info.last_offset + 1;
                    self.waits.push(Wait {
                        topic_at,
                        partition_at,
                        partition,
                        epoch: leader_epoch,
                        offset,
                        for_flush: self.acks != ACKS_ALL,
                    });
                }
                return answer;
            }
            Err(refusal) => refusal,
        };
        self.failed = true;
        let name = topic.map(|topic| TopicPartition::new(topic.name.clone(), index));
        let mut answer = refusal.answer(index, name.as_ref());
        let Some(topic) = topic else { return answer };
        if refusal.tells_log_start()
            && let Ok(partition) = self.leaders.partition(topic, PartitionIndex(index))
        {
            answer.log_start_offset = partition.log_start_offset().0;
        }
        if self.version >= LEADER_HINTS
            && answer.error_code == ErrorCode::NotLeaderOrFollower.code()
        {
            let (id, epoch) = self.leaders.hint(topic, PartitionIndex(index));
            answer.current_leader = LeaderIdAndEpoch {
                leader_id: id.0,
                leader_epoch: epoch.0,
                ..Default::default()
            };
        }
        answer
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Refusal {
        Refusal::Invalid(invalid)
    }
}

impl From<replica::Error> for Refusal {
    fn from(error: replica::Error) -> Refusal {
        Refusal::Replica(error)
    }
}

impl Refusal {
    /// Kafka tells the log start offset beside the errors that it does not expect while it appends.
    /// (ReplicaManager.appendRecordsToLeader)
    fn tells_log_start(&self) -> bool {
        match self {
            Refusal::Code(_) | Refusal::Message(..) | Refusal::Form(_) => false,
            Refusal::Invalid(invalid) => ![ErrorCode::MessageTooLarge, ErrorCode::CorruptMessage]
                .contains(&errors::of_invalid(invalid)),
            Refusal::Replica(error) => match error {
                replica::Error::NotLeader
                | replica::Error::Gone
                | replica::Error::Offline
                | replica::Error::Storage(_)
                | replica::Error::Append(
                    AppendError::LargerThanSegment { .. } | AppendError::Malformed,
                ) => false,
                replica::Error::FencedLeaderEpoch { .. }
                | replica::Error::UnknownLeaderEpoch { .. }
                | replica::Error::NotEnoughReplicas { .. }
                | replica::Error::OffsetOutOfRange { .. }
                | replica::Error::CompactOnly
                | replica::Error::NoSuchEpoch(_)
                | replica::Error::Append(_) => true,
            },
        }
    }

    fn answer(&self, index: i32, name: Option<&TopicPartition>) -> PartitionProduceResponse {
        let mut answer = PartitionProduceResponse {
            index,
            base_offset: -1,
            ..Default::default()
        };
        let code = match self {
            Refusal::Code(code) => *code,
            Refusal::Message(code, message) => {
                answer.error_message = Some(message.clone().into());
                *code
            }
            Refusal::Replica(error) => errors::of_replica(error),
            Refusal::Form(invalid) | Refusal::Invalid(invalid) => {
                if let Some(name) = name {
                    answer.error_message =
                        errors::message_of_invalid(invalid, name).map(Into::into);
                    answer.record_errors = record_errors(invalid, name);
                }
                errors::of_invalid(invalid)
            }
        };
        if let Some(name) = name {
            tracing::debug!(partition = %name, error = code.name(), "records refused");
        }
        answer.error_code = code.code();
        answer
    }
}

fn record_errors(invalid: &Invalid, name: &TopicPartition) -> Vec<BatchIndexAndErrorMessage> {
    let Invalid::Records(errors) = invalid else {
        return Vec::new();
    };
    let told = errors.iter().map(|error| BatchIndexAndErrorMessage {
        batch_index: error.batch_index,
        batch_index_error_message: Some(errors::message_of_record(error, name).into()),
        ..Default::default()
    });
    told.collect()
}

fn endpoint(id: i32, host: &str, port: i32, rack: Option<&str>) -> NodeEndpoint {
    NodeEndpoint {
        node_id: id,
        host: host.to_owned().into(),
        port,
        rack: rack.map(|rack| rack.to_owned().into()),
        ..Default::default()
    }
}

impl Wait {
    fn is_over(&self) -> bool {
        let reached = match self.for_flush {
            true => self.partition.log().recovery_point(),
            false => self.partition.high_watermark(),
        };
        reached >= self.offset
    }
}

/// Fills in what became of the batches that the in-sync replicas, or the device, did not have yet. (DelayedProduce)
async fn wait_for_replicas(
    mut response: ProduceResponse,
    waits: Vec<Wait>,
    deadline: Instant,
) -> ProduceResponse {
    for wait in waits {
        let (partition, offset, epoch) = (&wait.partition, wait.offset, wait.epoch);
        let kept = async {
            match wait.for_flush {
                true => partition.wait_for_flush(offset, epoch).await,
                false => partition.wait_for_high_watermark(offset, epoch).await,
            }
        };
        let code = match tokio::time::timeout_at(deadline, kept).await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => errors::of_replica(&error),
            Err(_) => ErrorCode::RequestTimedOut,
        };
        response.responses[wait.topic_at].partition_responses[wait.partition_at].error_code =
            code.code();
    }
    response
}

#[cfg(test)]
mod tests;
