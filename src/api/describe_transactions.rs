//! DescribeTransactions (65), version 0: the state of transactional ids that this broker coordinates (KIP-664).
//!
//! (KafkaApis.handleDescribeTransactionsRequest)

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::coordinated::reply_all;
use super::{Api, Context, Reply};
use crate::coordinator::transaction::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::describe_transactions_response::TransactionState;
use crate::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};

pub(super) struct DescribeTransactions;

impl Api for DescribeTransactions {
    type Request = DescribeTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeTransactionsRequest,
    ) -> Reply<DescribeTransactionsResponse> {
        let ask = |id: &crate::messages::TransactionalId| {
            let id: Arc<str> = Arc::from(&***id);
            let coordinator = ctx.broker.transactions();
            coordinator.ask(&id, Request::Describe { id: id.clone() })
        };
        let said = request.transactional_ids.iter().map(ask).collect();
        reply_all(said, move |spoken| {
            let told = request.transactional_ids.into_iter().zip(spoken);
            let states = told.map(|(id, spoken)| {
                let code = match spoken {
                    Ok(Response::Describe(state)) => return *state,
                    Ok(_) => ErrorCode::UnknownServerError,
                    Err(code) => code,
                };
                TransactionState::default()
                    .with_transactional_id(id)
                    .with_error_code(code.code())
            });
            DescribeTransactionsResponse::default().with_transaction_states(states.collect())
        })
    }
}
