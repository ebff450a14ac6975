//! AddPartitionsToTxn (24), versions 0–5: partitions come into a transaction before records are written to them. Up to
//! version 3 a producer asks; from version 4 on a broker, for the producers of several transactions, to add the
//! partitions that they write to or only to learn whether they are in (KIP-890).
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | PRODUCER_FENCED (KIP-588)                                                       |
//! | 3       | flexible                                                                        |
//! | 4       | several transactions, verification (KIP-890)                                    |
//! | 5       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//!
//! (KafkaApis.handleAddPartitionsToTxnRequest)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::coordinated::reply_all;
use super::transactional::{Spoken, fenced, producer};
use super::{Api, Context, Reply};
use crate::coordinator::runtime::Said;
use crate::coordinator::transaction::{EPOCH_PER_TRANSACTION, Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use crate::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use crate::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use crate::metadata::{Image, is_internal};

/// From this version on there is PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;
/// From this version on brokers ask, and producers do not.
const BROKERS_FROM: i16 = 4;

pub(super) struct AddPartitionsToTxn;

impl Api for AddPartitionsToTxn {
    type Request = AddPartitionsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(
        ctx: &mut Context<'_>,
        request: AddPartitionsToTxnRequest,
    ) -> Reply<AddPartitionsToTxnResponse> {
        let version = ctx.version();
        let image = ctx.broker.image();
        let asked = transactions(request, version);
        let said = asked
            .iter()
            .map(|transaction| match refusals(&image, transaction, version) {
                Some(codes) => Said::Now(Ok(Response::Verify(Ok(codes)))),
                None => ask(ctx, transaction, version),
            })
            .collect();
        reply_all(said, move |spoken: Vec<Spoken>| {
            let results = asked.iter().zip(spoken);
            let results = results.map(|(transaction, spoken)| result(transaction, spoken, version));
            express(results.collect(), version)
        })
    }
}

/// The transactions asked for; a producer has one, in fields of its own.
fn transactions(
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> Vec<AddPartitionsToTxnTransaction> {
    if version >= BROKERS_FROM {
        return request.transactions;
    }
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(request.v3_and_below_transactional_id)
        .with_producer_id(request.v3_and_below_producer_id)
        .with_producer_epoch(request.v3_and_below_producer_epoch)
        .with_topics(request.v3_and_below_topics);
    vec![transaction]
}

fn partitions(transaction: &AddPartitionsToTxnTransaction) -> impl Iterator<Item = TopicPartition> {
    transaction.topics.iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&**topic.name);
        topic
            .partitions
            .iter()
            .map(move |index| TopicPartition::new(name.clone(), *index))
    })
}

/// A code for each partition when some may not be added; none is, then.
fn refusals(
    image: &Image,
    transaction: &AddPartitionsToTxnTransaction,
    version: i16,
) -> Option<Vec<ErrorCode>> {
    let refusal = |partition: &TopicPartition| {
        if version < BROKERS_FROM && is_internal(&partition.topic) {
            return Some(ErrorCode::TopicAuthorizationFailed);
        }
        let topic = image.topics().by_name(&partition.topic);
        let known = topic.is_some_and(|topic| topic.partition(partition.partition).is_some());
        (!known).then_some(ErrorCode::UnknownTopicOrPartition)
    };
    let refusals: Vec<_> = partitions(transaction)
        .map(|partition| refusal(&partition))
        .collect();
    if refusals.iter().all(Option::is_none) {
        return None;
    }
    let codes = refusals
        .into_iter()
        .map(|refusal| refusal.unwrap_or(ErrorCode::OperationNotAttempted));
    Some(codes.collect())
}

fn ask(
    ctx: &Context<'_>,
    transaction: &AddPartitionsToTxnTransaction,
    version: i16,
) -> Said<Response> {
    let id: Arc<str> = Arc::from(&**transaction.transactional_id);
    let producer = producer(transaction.producer_id.0, transaction.producer_epoch);
    let partitions = partitions(transaction).collect();
    let request = if transaction.verify_only {
        Request::Verify {
            id: id.clone(),
            producer,
            partitions,
        }
    } else {
        Request::AddPartitions {
            id: id.clone(),
            producer,
            partitions,
            client_version: match version {
                BROKERS_FROM.. => EPOCH_PER_TRANSACTION,
                _ => 0,
            },
            wait_until: None,
        }
    };
    ctx.broker.transactions().ask(&id, request)
}

fn result(
    transaction: &AddPartitionsToTxnTransaction,
    spoken: Spoken,
    version: i16,
) -> AddPartitionsToTxnResult {
    let (codes, all) = match spoken {
        Ok(Response::Verify(Ok(codes))) => (codes, ErrorCode::None),
        Ok(Response::AddPartitions(code)) | Ok(Response::Verify(Err(code))) | Err(code) => {
            (Vec::new(), code)
        }
        Ok(_) => (Vec::new(), ErrorCode::UnknownServerError),
    };
    let mut codes = codes.into_iter();
    let topics = transaction.topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            let code = fenced(codes.next().unwrap_or(all), version >= PRODUCER_FENCED_FROM);
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(PartitionIndex(*index).0)
                .with_partition_error_code(code.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    AddPartitionsToTxnResult::default()
        .with_transactional_id(transaction.transactional_id.clone())
        .with_topic_results(topics.collect())
}

fn express(mut results: Vec<AddPartitionsToTxnResult>, version: i16) -> AddPartitionsToTxnResponse {
    let response = AddPartitionsToTxnResponse::default();
    if version >= BROKERS_FROM {
        return response.with_results_by_transaction(results);
    }
    let topics = results.pop().map(|result| result.topic_results);
    response.with_results_by_topic_v3_and_below(topics.unwrap_or_default())
}
