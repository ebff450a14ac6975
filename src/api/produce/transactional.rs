//! Records of transactions: before the first of them goes into a partition, the transaction's coordinator is asked
//! whether it knows of the partition, or, of a producer whose transactions have an epoch each, told of it. Without
//! that a late write could open a transaction that nobody ends (KIP-890).
//! (ReplicaManager.handleProduceAppend, AddPartitionsToTxnManager)

use std::sync::Arc;

use super::{Produced, Refusal};
use crate::api::leaders::{resolve_by_id, resolve_by_name};
use crate::api::transactional::{self, Verification, WAIT_FOR_END_MS};
use crate::api::{Reply, errors};
use crate::coordinator::ProducerIdAndEpoch;
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::log::{self, Origin, VerificationGuard};
use crate::messages::produce_request::PartitionProduceData;
use crate::messages::{ProduceRequest, ProduceResponse};
use crate::metadata::Topic;
use crate::record::BatchHeader;

/// From this version on the broker adds partitions to a transaction.
const ADDS_PARTITIONS_FROM: i16 = 12;
/// From this version on TRANSACTION_ABORTABLE is known.
const ABORTABLE_FROM: i16 = 11;

/// What is known of the transactional batches of a request, by their places in it, in order.
#[derive(Default)]
pub(super) struct Verified {
    places: Vec<((usize, usize), Result<Origin, ErrorCode>)>,
    /// Nothing is to be appended.
    refused: Option<ErrorCode>,
    /// As of the request.
    adds_partitions: bool,
}

impl Verified {
    /// How the batch at this place may be appended.
    pub(super) fn origin(&self, at: (usize, usize)) -> Result<Origin, Refusal> {
        if let Some(code) = self.refused {
            return Err(Refusal::Code(code));
        }
        let known = self.places.binary_search_by_key(&at, |(place, _)| *place);
        match known.map(|found| self.places[found].1) {
            Ok(Ok(origin)) => Ok(origin),
            Ok(Err(code)) => Err(self.refusal(code)),
            // Nobody is asked, or there is no such topic, as the append will tell.
            Err(_) => Ok(Origin::Client),
        }
    }

    /// (ReplicaManager.handleProduceAppend)
    fn refusal(&self, code: ErrorCode) -> Refusal {
        match code {
            ErrorCode::InvalidTxnState => Refusal::Message(
                code,
                "Partition was not added to the transaction".to_owned(),
            ),
            ErrorCode::ConcurrentTransactions if self.adds_partitions => Refusal::Code(code),
            ErrorCode::NetworkException
            | ErrorCode::CoordinatorLoadInProgress
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::ConcurrentTransactions => {
                let message = format!(
                    "Unable to verify the partition has been added to the transaction. Underlying error: {}",
                    code.name()
                );
                Refusal::Message(ErrorCode::NotEnoughReplicas, message)
            }
            code => Refusal::Code(code),
        }
    }
}

/// Batches that the coordinator is asked about, in the order of the partitions in the question.
struct Unverified {
    question: Verification,
    places: Vec<((usize, usize), VerificationGuard)>,
}

/// Verifies the transactional batches of a request, then goes on with it.
pub(super) fn produce(mut produced: Produced, request: ProduceRequest) -> Reply<ProduceResponse> {
    let (mut verified, unverified) = look(&produced, &request);
    let Some(Unverified { question, places }) = unverified else {
        produced.verified = verified;
        return produced.finish(request);
    };
    match question.ask(produced.leaders.broker()) {
        transactional::Verified::Now(codes) => {
            verified.note(&places, &codes);
            produced.verified = verified;
            produced.finish(request)
        }
        transactional::Verified::Later(codes) => {
            let is_silent = request.acks == 0;
            // The append may not hang on the reply being polled.
            let task = tokio::spawn(async move {
                verified.note(&places, &codes.await);
                produced.verified = verified;
                produced.finish(request)
            });
            if is_silent {
                return Reply::Silent;
            }
            Reply::later(async move {
                match task.await.expect("an append does not panic") {
                    Reply::Now(response) => response,
                    Reply::Later(response) => response.await,
                    Reply::Silent | Reply::Close => ProduceResponse::default(),
                }
            })
        }
    }
}

impl Verified {
    fn note(&mut self, places: &[((usize, usize), VerificationGuard)], codes: &[ErrorCode]) {
        for ((place, guard), code) in places.iter().zip(codes) {
            let said = match code {
                ErrorCode::None => Ok(Origin::VerifiedClient(*guard)),
                code => Err(*code),
            };
            self.places.push((*place, said));
        }
        self.places.sort_by_key(|(place, _)| *place);
    }
}

/// Finds the transactional batches, and which of them the coordinator has to be asked about.
fn look(produced: &Produced, request: &ProduceRequest) -> (Verified, Option<Unverified>) {
    let adds_partitions = produced.version >= ADDS_PARTITIONS_FROM;
    let mut verified = Verified {
        adds_partitions,
        ..Verified::default()
    };
    let is_asked = adds_partitions || transactional::verifies(produced.leaders.broker());
    let mut producer = None;
    let (mut partitions, mut places) = (Vec::new(), Vec::new());
    let image = produced.leaders.image();
    for (topic_at, data) in request.topic_data.iter().enumerate() {
        let topic = match produced.version {
            super::BY_ID.. => resolve_by_id(image, data.topic_id),
            _ => resolve_by_name(image, &data.name),
        };
        for (partition_at, data) in data.partition_data.iter().enumerate() {
            let Some(header) = transactional_header(data) else {
                continue;
            };
            let of = ProducerIdAndEpoch {
                id: header.producer_id,
                epoch: header.producer_epoch,
            };
            if *producer.get_or_insert(of) != of {
                verified.refused = Some(ErrorCode::InvalidProducerIdMapping);
                return (verified, None);
            }
            let Ok(topic) = topic else { continue };
            if !is_asked {
                continue;
            }
            let at = (topic_at, partition_at);
            match begin(produced, topic, data.index, &header, adds_partitions) {
                Ok(Some(guard)) => {
                    partitions.push(TopicPartition::new(topic.name.clone(), data.index));
                    places.push((at, guard));
                }
                Ok(None) => {
                    let origin = Origin::VerifiedClient(VerificationGuard::ONGOING);
                    verified.places.push((at, Ok(origin)));
                }
                // Also of a partition that is not led here: it may be by the time of the append.
                Err(code) => verified.places.push((at, Err(code))),
            }
        }
    }
    let id = request.transactional_id.as_deref().unwrap_or_default();
    let producer = producer.filter(|_| !places.is_empty());
    let unverified = producer.map(|producer| Unverified {
        question: Verification {
            id: Arc::from(id),
            producer,
            partitions: partitions.into(),
            adds: adds_partitions,
            knows_abortable: produced.version >= ABORTABLE_FROM,
            wait_until: produced
                .leaders
                .broker()
                .clock()
                .steady()
                .plus_ms(WAIT_FOR_END_MS),
        },
        places,
    });
    (verified, unverified)
}

fn transactional_header(data: &PartitionProduceData) -> Option<BatchHeader> {
    let header = BatchHeader::parse(data.records.as_ref()?).ok()?;
    (header.is_transactional() && header.has_producer_id()).then_some(header)
}

/// The guard of a verification that is needed, `None` where it is not.
fn begin(
    produced: &Produced,
    topic: &Topic,
    index: i32,
    header: &BatchHeader,
    has_epoch_per_transaction: bool,
) -> Result<Option<VerificationGuard>, ErrorCode> {
    let partition = produced
        .leaders
        .partition(topic, PartitionIndex(index))
        .map_err(|error| errors::of_replica(&error))?;
    partition
        .leader_epoch()
        .ok_or(ErrorCode::NotLeaderOrFollower)?;
    let batch = log::Unverified {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        has_epoch_per_transaction,
    };
    partition
        .log()
        .start_verification(&batch, produced.now)
        .map_err(|_| ErrorCode::InvalidProducerEpoch)
}
