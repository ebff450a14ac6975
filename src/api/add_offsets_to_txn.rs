//! AddOffsetsToTxn (25), versions 0–4: the partition that keeps a group's offsets comes into a transaction, before
//! offsets are committed within it.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | PRODUCER_FENCED (KIP-588)                                                       |
//! | 3       | flexible                                                                        |
//! | 4       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//!
//! (KafkaApis.handleAddOffsetsToTxnRequest)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::transactional::{ask, fenced, producer};
use super::{Api, Context, Reply};
use crate::coordinator::transaction::{Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::TopicPartition;
use crate::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use crate::metadata::CONSUMER_OFFSETS;

/// From this version on there is PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;

pub(super) struct AddOffsetsToTxn;

impl Api for AddOffsetsToTxn {
    type Request = AddOffsetsToTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(
        ctx: &mut Context<'_>,
        request: AddOffsetsToTxnRequest,
    ) -> Reply<AddOffsetsToTxnResponse> {
        let version = ctx.version();
        let id: Arc<str> = Arc::from(&**request.transactional_id);
        let partition = ctx.broker.groups().partition_for(&request.group_id);
        let partitions: Arc<[TopicPartition]> =
            Arc::new([TopicPartition::new(CONSUMER_OFFSETS, partition.0)]);
        let make = {
            let id = id.clone();
            move |_| Request::AddPartitions {
                id: id.clone(),
                producer: producer(request.producer_id.0, request.producer_epoch),
                partitions: partitions.clone(),
                client_version: 0,
                wait_until: None,
            }
        };
        ask(ctx, &id, make, move |spoken| {
            let code = match spoken {
                Ok(Response::AddPartitions(code)) => code,
                Ok(_) => ErrorCode::UnknownServerError,
                Err(code) => code,
            };
            let code = fenced(code, version >= PRODUCER_FENCED_FROM);
            AddOffsetsToTxnResponse::default().with_error_code(code.code())
        })
    }
}
