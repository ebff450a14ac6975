//! InitProducerId (22), versions 0–5: an id for an idempotent producer.
//!
//! Ids come in blocks from the controller and are never given twice. A request with a transactional id needs the
//! transaction's coordinator, which this broker is not: NOT_COORDINATOR. Version 6 is unstable and not advertised.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | flexible                                                                        |
//! | 3       | the producer's present id and epoch (KIP-360)                                   |
//! | 4       | PRODUCER_FENCED (KIP-588)                                                       |
//! | 5       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//!
//! (KafkaApis.handleInitProducerIdRequest, TransactionCoordinator.handleInitProducerId)

use std::ops::RangeInclusive;

use super::{Api, Context, Reply};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::messages::{self, InitProducerIdRequest, InitProducerIdResponse};

pub(super) struct InitProducerId;

impl Api for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(
        ctx: &mut Context<'_>,
        request: InitProducerIdRequest,
    ) -> Reply<InitProducerIdResponse> {
        if let Err(code) = check(&request, ctx.broker.settings().transaction_max_timeout_ms()) {
            return Reply::Now(answer(Err(code)));
        }
        let broker = ctx.broker.clone();
        Reply::later(async move { answer(broker.producer_ids().next().await) })
    }
}

/// What is refused whoever the coordinator is.
fn check(request: &InitProducerIdRequest, timeout_max_ms: i32) -> Result<(), ErrorCode> {
    let has_id = request.producer_id.0 != ProducerId::NONE.0;
    let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
    if has_id != has_epoch {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_ref().map(|id| id.0.as_str()) {
        None => Ok(()),
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) if !(1..=timeout_max_ms).contains(&request.transaction_timeout_ms) => {
            Err(ErrorCode::InvalidTransactionTimeout)
        }
        Some(_) => Err(ErrorCode::NotCoordinator),
    }
}

fn answer(next: Result<ProducerId, ErrorCode>) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default();
    match next {
        Ok(id) => response
            .with_producer_id(messages::ProducerId(id.0))
            .with_producer_epoch(0),
        Err(code) => response
            .with_error_code(code.code())
            .with_producer_id(messages::ProducerId(ProducerId::NONE.0))
            .with_producer_epoch(ProducerEpoch::NONE.0),
    }
}
