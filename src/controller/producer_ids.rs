//! Blocks of producer ids. (ProducerIdControlManager)

use crate::error_code::ErrorCode;
use crate::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId};
use crate::metadata::Image;

use super::brokers::check_epoch;
use super::machine::{Answer, Decision, producer_ids_record};

/// Ids in one block. (ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE)
const BLOCK_LEN: i32 = 1000;

pub(super) fn allocate(image: &Image, request: &AllocateProducerIdsRequest) -> Decision {
    let response = AllocateProducerIdsResponse::default();
    let refuse = |code: ErrorCode| {
        Decision::of(
            Vec::new(),
            Answer::AllocateProducerIds(response.clone().with_error_code(code as i16)),
        )
    };
    if let Err(code) = check_epoch(image, request.broker_id.0, request.broker_epoch) {
        return refuse(code);
    }
    let first = image.next_producer_id().0;
    let Some(next) = first.checked_add(i64::from(BLOCK_LEN)) else {
        return refuse(ErrorCode::UnknownServerError);
    };
    let record = producer_ids_record(request.broker_id.0, request.broker_epoch, next);
    let response = response
        .with_producer_id_start(ProducerId(first))
        .with_producer_id_len(BLOCK_LEN);
    Decision::of(vec![record], Answer::AllocateProducerIds(response))
}
