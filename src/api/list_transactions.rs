//! ListTransactions (66), versions 0–2: the transactional ids that this broker coordinates (KIP-664).
//!
//! | version | adds                                                                            |
//! |---------|---------------------------------------------------------------------------------|
//! | 1       | only those open for longer than a duration (KIP-994)                            |
//! | 2       | only those whose id matches a regular expression (KIP-1152)                     |
//!
//! (KafkaApis.handleListTransactionsRequest, TransactionStateManager.listTransactionStates)

use std::ops::RangeInclusive;
use std::sync::Arc;

use regex::Regex;

use super::coordinated::reply_all;
use super::transactional::Spoken;
use super::{Api, Context, Reply};
use crate::coordinator::transaction::{Filter, Request, Response, TransactionState};
use crate::error_code::ErrorCode;
use crate::messages::{ListTransactionsRequest, ListTransactionsResponse, StrBytes};

pub(super) struct ListTransactions;

impl Api for ListTransactions {
    type Request = ListTransactionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: ListTransactionsRequest,
    ) -> Reply<ListTransactionsResponse> {
        let (filter, unknown) = match filter(&request) {
            Ok(filter) => filter,
            Err(code) => return Reply::Now(error(code)),
        };
        let said = ctx
            .broker
            .transactions()
            .ask_all(&Request::List(Arc::new(filter)));
        reply_all(said, move |spoken| {
            respond(spoken).with_unknown_state_filters(unknown)
        })
    }
}

/// The filter, and the names of states that there are not.
fn filter(request: &ListTransactionsRequest) -> Result<(Filter, Vec<StrBytes>), ErrorCode> {
    let mut unknown = Vec::new();
    let mut states = Vec::new();
    for name in &request.state_filters {
        match TransactionState::by_name(name) {
            Some(state) => states.push(state),
            None => unknown.push(name.clone()),
        }
    }
    let pattern = request
        .transactional_id_pattern
        .as_deref()
        .filter(|pattern| !pattern.is_empty());
    let pattern = pattern
        .map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
        .transpose()
        .map_err(|_| ErrorCode::InvalidRegularExpression)?;
    let filter = Filter {
        states: (!request.state_filters.is_empty()).then_some(states),
        producer_ids: request.producer_id_filters.iter().map(|id| id.0).collect(),
        duration_ms: request.duration_filter,
        pattern,
    };
    Ok((filter, unknown))
}

fn respond(spoken: Vec<Spoken>) -> ListTransactionsResponse {
    let mut states = Vec::new();
    for spoken in spoken {
        match spoken {
            Ok(Response::List(listed)) => states.extend(listed),
            Ok(_) => return error(ErrorCode::UnknownServerError),
            // It went to another broker just now.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return error(code),
        }
    }
    ListTransactionsResponse::default().with_transaction_states(states)
}

fn error(code: ErrorCode) -> ListTransactionsResponse {
    ListTransactionsResponse::default().with_error_code(code.code())
}
