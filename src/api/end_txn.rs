//! EndTxn (26), versions 0–5: a producer commits or aborts its transaction. The answer comes when the decision is
//! committed; the end markers follow.
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 2       | PRODUCER_FENCED (KIP-588)                                                       |
//! | 3       | flexible                                                                        |
//! | 4       | TRANSACTION_ABORTABLE (KIP-890)                                                 |
//! | 5       | each transaction has an epoch of its own; the producer id and epoch to go on with (KIP-890) |
//!
//! (KafkaApis.handleEndTxnRequest)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::transactional::{Spoken, ask, fenced, producer};
use super::{Api, Context, Reply};
use crate::coordinator::ProducerIdAndEpoch;
use crate::coordinator::transaction::{EPOCH_PER_TRANSACTION, Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::{EndTxnRequest, EndTxnResponse};

/// From this version on there is PRODUCER_FENCED.
const PRODUCER_FENCED_FROM: i16 = 2;
/// From this version on the epoch rises with each transaction.
const EPOCH_PER_TRANSACTION_FROM: i16 = 5;

pub(super) struct EndTxn;

impl Api for EndTxn {
    type Request = EndTxnRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &mut Context<'_>, request: EndTxnRequest) -> Reply<EndTxnResponse> {
        let version = ctx.version();
        let id: Arc<str> = Arc::from(&**request.transactional_id);
        let make = {
            let id = id.clone();
            move |fresh| Request::End {
                id: id.clone(),
                producer: producer(request.producer_id.0, request.producer_epoch),
                commit: request.committed,
                client_version: match version {
                    EPOCH_PER_TRANSACTION_FROM.. => EPOCH_PER_TRANSACTION,
                    _ => 0,
                },
                fresh,
            }
        };
        ask(ctx, &id, make, move |spoken| respond(spoken, version))
    }
}

fn respond(spoken: Spoken, version: i16) -> EndTxnResponse {
    let ended = match spoken {
        Ok(Response::End(ended)) => ended,
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(code) => Err(code),
    };
    let (code, next) = match ended {
        Ok(next) => (ErrorCode::None, next),
        Err(code) => (
            fenced(code, version >= PRODUCER_FENCED_FROM),
            ProducerIdAndEpoch::NONE,
        ),
    };
    EndTxnResponse::default()
        .with_error_code(code.code())
        .with_producer_id(next.id.0.into())
        .with_producer_epoch(next.epoch.0)
}
