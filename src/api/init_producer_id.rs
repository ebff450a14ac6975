//! InitProducerId (22), versions 0–6: an id for an idempotent producer, or the id and epoch of a transactional one.
//!
//! Ids come in blocks from the controller and are never given twice. With a transactional id the request is its
//! coordinator's: the epoch rises, which fences whoever had it. Version 6 is there with `unstable.api.versions.enable`.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | flexible                                                                        |
//! | 3       | the producer's present id and epoch (KIP-360)                                   |
//! | 4       | PRODUCER_FENCED (KIP-588)                                                       |
//! | 5       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//! | 6       | transactions that a coordinator of another system ends (KIP-939)                |
//!
//! (KafkaApis.handleInitProducerIdRequest, TransactionCoordinator.handleInitProducerId)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::transactional::{Spoken, ask, fenced, producer};
use super::{Api, Context, Reply};
use crate::coordinator::ProducerIdAndEpoch;
use crate::coordinator::transaction::{Request, Response};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::messages::{InitProducerIdRequest, InitProducerIdResponse};

/// From this version on there is PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 4;

pub(super) struct InitProducerId;

impl Api for InitProducerId {
    type Request = InitProducerIdRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;
    const UNSTABLE: Option<i16> = Some(6);

    fn handle(
        ctx: &mut Context<'_>,
        request: InitProducerIdRequest,
    ) -> Reply<InitProducerIdResponse> {
        let has_id = request.producer_id != ProducerId::NONE.0;
        let has_epoch = request.producer_epoch != ProducerEpoch::NONE.0;
        if has_id != has_epoch {
            return Reply::Now(answer(Err(ErrorCode::InvalidRequest)));
        }
        let Some(transactional_id) = request.transactional_id else {
            let broker = ctx.broker.clone();
            return Reply::later(async move {
                let next = broker.producer_ids().next().await;
                answer(next.map(|id| producer(id.0, 0)))
            });
        };
        let version = ctx.version();
        let id: Arc<str> = Arc::from(&*transactional_id);
        let expected = has_id.then(|| producer(request.producer_id, request.producer_epoch));
        let timeout_ms = request.transaction_timeout_ms;
        let (two_phase, keep_prepared) = (request.enable2_pc, request.keep_prepared_txn);
        let make = {
            let id = id.clone();
            move |fresh| Request::InitProducerId {
                id: id.clone(),
                timeout_ms,
                expected,
                two_phase,
                keep_prepared,
                fresh,
            }
        };
        ask(ctx, &id, make, move |spoken| respond(spoken, version))
    }
}

fn respond(spoken: Spoken, version: i16) -> InitProducerIdResponse {
    let given = match spoken {
        Ok(Response::InitProducerId(given)) => given,
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(code) => Err(code),
    };
    answer(given.map_err(|code| fenced(code, version >= PRODUCER_FENCED_FROM)))
}

fn answer(given: Result<ProducerIdAndEpoch, ErrorCode>) -> InitProducerIdResponse {
    let (code, given) = match given {
        Ok(given) => (ErrorCode::None, given),
        Err(code) => (code, ProducerIdAndEpoch::NONE),
    };
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: given.id.0,
        producer_epoch: given.epoch.0,
        ..Default::default()
    }
}
