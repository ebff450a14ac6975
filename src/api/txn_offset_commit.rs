//! TxnOffsetCommit (28), versions 0–5: a producer stores, within its transaction, how far a group has read. The offsets
//! count when the transaction is committed.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | the leader epoch of the offset (KIP-320)                                        |
//! | 3       | flexible; the member for which it is stored (KIP-447)                           |
//! | 4       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//! | 5       | the broker adds the group's partition to the transaction (KIP-890)              |
//!
//! (KafkaApis.handleTxnOffsetCommitRequest, GroupCoordinatorService.commitTransactionalOffsets)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::coordinated::{Spoken, reply};
use super::transactional::{self, Verification, Verified, WAIT_FOR_END_MS};
use super::{Api, Context, Reply};
use crate::broker::Broker;
use crate::coordinator::VerificationGuard;
use crate::coordinator::group::{Request, Response, transactional_commit_error};
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::log::Unverified;
use crate::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use crate::messages::txn_offset_commit_response::TxnOffsetCommitResponseTopic;
use crate::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use crate::metadata::{CONSUMER_OFFSETS, Image};
use crate::record::batch::NO_SEQUENCE;

/// From this version on COORDINATOR_LOAD_IN_PROGRESS is known.
const LOAD_IN_PROGRESS_FROM: i16 = 2;
/// From this version on TRANSACTION_ABORTABLE is known.
const ABORTABLE_FROM: i16 = 4;
/// From this version on the broker adds the group's partition to the transaction.
const ADDS_PARTITIONS_FROM: i16 = 5;

pub(super) struct TxnOffsetCommit;

impl Api for TxnOffsetCommit {
    type Request = TxnOffsetCommitRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(
        ctx: &mut Context<'_>,
        mut request: TxnOffsetCommitRequest,
    ) -> Reply<TxnOffsetCommitResponse> {
        let version = ctx.version();
        let refused = take_unknown(&ctx.broker.image(), &mut request);
        if request.topics.is_empty() {
            return Reply::Now(refused);
        }
        let commit = Commit {
            broker: ctx.broker.clone(),
            version,
            request,
            refused,
        };
        match commit.begin() {
            Ok(None) => commit.go_on(Ok(None)),
            Ok(Some((guard, question))) if guard == VerificationGuard::ONGOING => {
                drop(question);
                commit.go_on(Ok(Some(guard)))
            }
            Ok(Some((guard, question))) => match question.ask(&commit.broker) {
                Verified::Now(codes) => commit.go_on(verdict(&codes, guard)),
                Verified::Later(codes) => {
                    // The commit may not hang on the reply being polled.
                    let task =
                        tokio::spawn(async move { commit.go_on(verdict(&codes.await, guard)) });
                    Reply::later(async move {
                        match task.await.expect("a commit does not panic") {
                            Reply::Now(response) => response,
                            Reply::Later(response) => response.await,
                            Reply::Silent | Reply::Close => TxnOffsetCommitResponse::default(),
                        }
                    })
                }
            },
            Err(code) => commit.go_on(Err(code)),
        }
    }
}

/// One request, with what was refused of it already.
struct Commit {
    broker: Arc<Broker>,
    version: i16,
    request: TxnOffsetCommitRequest,
    refused: TxnOffsetCommitResponse,
}

impl Commit {
    /// What has to be verified before offsets are written; `None` when nothing has.
    fn begin(&self) -> Result<Option<(VerificationGuard, Verification)>, ErrorCode> {
        if self.request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let adds = self.version >= ADDS_PARTITIONS_FROM;
        if !adds && !transactional::verifies(&self.broker) {
            return Ok(None);
        }
        let request = &self.request;
        let index = self.broker.groups().partition_for(&request.group_id);
        let partition = self
            .broker
            .replicas()
            .by_name(&self.broker.image(), CONSUMER_OFFSETS, index)
            .map_err(|_| ErrorCode::NotCoordinator)?;
        let producer = transactional::producer(request.producer_id.0, request.producer_epoch);
        let now = self.broker.clock().now();
        let batch = Unverified {
            producer_id: producer.id,
            epoch: producer.epoch,
            base_sequence: NO_SEQUENCE,
            has_epoch_per_transaction: adds,
        };
        let guard = partition
            .log()
            .start_verification(&batch, now)
            .map_err(|_| ErrorCode::InvalidProducerEpoch)?;
        let question = Verification {
            id: Arc::from(&**request.transactional_id),
            producer,
            partitions: Arc::new([TopicPartition::new(CONSUMER_OFFSETS, index.0)]),
            adds,
            knows_abortable: self.version >= ABORTABLE_FROM,
            wait_until: self.broker.clock().steady().plus_ms(WAIT_FOR_END_MS),
        };
        Ok(Some((
            guard.unwrap_or(VerificationGuard::ONGOING),
            question,
        )))
    }

    /// Asks the group's coordinator once the transaction's has agreed.
    fn go_on(
        self,
        verified: Result<Option<VerificationGuard>, ErrorCode>,
    ) -> Reply<TxnOffsetCommitResponse> {
        let Commit {
            broker,
            version,
            request,
            refused,
        } = self;
        let verified = match verified {
            Ok(verified) => verified,
            Err(code) => {
                let response = transactional_commit_error(&request, told(code, version));
                return Reply::Now(merge(refused, response));
            }
        };
        let (group, asked) = (request.group_id.clone(), request.clone());
        let said = broker.groups().ask(
            &group,
            Request::CommitTransactionalOffsets { request, verified },
        );
        reply(said, move |spoken| {
            merge(refused, respond(spoken, &asked, version))
        })
    }
}

fn verdict(
    codes: &[ErrorCode],
    guard: VerificationGuard,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    match codes.iter().find(|code| **code != ErrorCode::None) {
        None => Ok(Some(guard)),
        Some(code) => Err(*code),
    }
}

/// Takes out the topics and partitions that there are not, with their answers.
fn take_unknown(image: &Image, request: &mut TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let mut unknown = Vec::new();
    for topic in &mut request.topics {
        let known = image.topics().by_name(&topic.name);
        let (there, absent): (Vec<_>, Vec<_>) = std::mem::take(&mut topic.partitions)
            .into_iter()
            .partition(|partition| {
                known.is_some_and(|topic| {
                    topic
                        .partition(PartitionIndex(partition.partition_index))
                        .is_some()
                })
            });
        topic.partitions = there;
        if !absent.is_empty() {
            let absent = TxnOffsetCommitRequestTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(absent);
            unknown.push(absent);
        }
    }
    request.topics.retain(|topic| !topic.partitions.is_empty());
    let unknown = TxnOffsetCommitRequest::default().with_topics(unknown);
    transactional_commit_error(&unknown, ErrorCode::UnknownTopicOrPartition)
}

fn respond(
    spoken: Spoken,
    asked: &TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    match spoken {
        Ok(Response::CommitTransactionalOffsets(response)) => response,
        Ok(_) => transactional_commit_error(asked, ErrorCode::UnknownServerError),
        Err(code) => transactional_commit_error(asked, told(code, version)),
    }
}

fn told(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        // Verification may fail with it, and old clients would not try again.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::CoordinatorLoadInProgress if version < LOAD_IN_PROGRESS_FROM => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    }
}

/// What was refused comes first; a topic stands once.
fn merge(
    mut refused: TxnOffsetCommitResponse,
    response: TxnOffsetCommitResponse,
) -> TxnOffsetCommitResponse {
    for topic in response.topics {
        let same = |other: &&mut TxnOffsetCommitResponseTopic| other.name == topic.name;
        match refused.topics.iter_mut().find(same) {
            Some(other) => other.partitions.extend(topic.partitions),
            None => refused.topics.push(topic),
        }
    }
    refused
}
