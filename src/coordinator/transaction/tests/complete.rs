//! That the scripts reach everything: each kind of request meets a transaction in each state, each change of state that
//! there may be happens and no other, and each error is answered that Kafka's coordinator can answer.

use std::collections::BTreeSet;

use super::*;

/// What is asked of a transactional id. `old`: by a client that keeps its epoch.
const KINDS: [&str; 10] = [
    "init",
    "init with an epoch",
    "add",
    "verify",
    "commit",
    "abort",
    "old commit",
    "old abort",
    "describe",
    "complete",
];

/// Besides the states, an id may not be known.
const UNKNOWN: &str = "unknown";

/// From state to state. (TransactionState.VALID_PREVIOUS_STATES) Dead is the tombstone of an id; PrepareEpochFence is
/// passed over, since the abort that follows from it is written at once.
const CHANGES: [&str; 18] = [
    "unknown > Empty",
    "Empty > Empty",
    "Empty > Ongoing",
    "Empty > PrepareAbort",
    "Empty > tombstone",
    "Ongoing > Ongoing",
    "Ongoing > PrepareAbort",
    "Ongoing > PrepareCommit",
    "PrepareAbort > CompleteAbort",
    "PrepareCommit > CompleteCommit",
    "CompleteAbort > Empty",
    "CompleteAbort > Ongoing",
    "CompleteAbort > PrepareAbort",
    "CompleteAbort > tombstone",
    "CompleteCommit > Empty",
    "CompleteCommit > Ongoing",
    "CompleteCommit > PrepareAbort",
    "CompleteCommit > tombstone",
];

/// The errors of TransactionCoordinator and TransactionStateManager 4.3.0, but for those of a coordinator that is not here
/// or is being read, which the runtime answers. COORDINATOR_NOT_AVAILABLE stands for all that an append may fail with.
const ERRORS: [&str; 32] = [
    "init INVALID_REQUEST",
    "init TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "init UNSUPPORTED_VERSION",
    "init INVALID_TRANSACTION_TIMEOUT",
    "init PRODUCER_FENCED",
    "init CONCURRENT_TRANSACTIONS",
    "init COORDINATOR_NOT_AVAILABLE",
    "init UNKNOWN_SERVER_ERROR",
    "add INVALID_REQUEST",
    "add INVALID_PRODUCER_ID_MAPPING",
    "add PRODUCER_FENCED",
    "add CONCURRENT_TRANSACTIONS",
    "add COORDINATOR_NOT_AVAILABLE",
    "add UNKNOWN_SERVER_ERROR",
    "verify TRANSACTION_ABORTABLE",
    "verify all INVALID_REQUEST",
    "verify all INVALID_PRODUCER_ID_MAPPING",
    "verify all PRODUCER_FENCED",
    "verify all CONCURRENT_TRANSACTIONS",
    "end INVALID_REQUEST",
    "end INVALID_PRODUCER_ID_MAPPING",
    "end PRODUCER_FENCED",
    "end CONCURRENT_TRANSACTIONS",
    "end INVALID_TXN_STATE",
    "end COORDINATOR_NOT_AVAILABLE",
    "end UNKNOWN_SERVER_ERROR",
    "describe INVALID_REQUEST",
    "describe TRANSACTIONAL_ID_NOT_FOUND",
    "complete COORDINATOR_NOT_AVAILABLE",
    "complete INVALID_PRODUCER_ID_MAPPING",
    "complete INVALID_TXN_STATE",
    "work COORDINATOR_NOT_AVAILABLE",
];

#[test]
fn scripts() {
    let seen = run_all::<Machine>();
    let states = TransactionState::ALL.map(TransactionState::name);
    let states: Vec<&str> = states.into_iter().chain([UNKNOWN]).collect();
    let all = KINDS
        .iter()
        .flat_map(|kind| states.iter().map(move |state| format!("{kind}: {state}")));
    let missing: Vec<String> = all.filter(|it| !seen.situations.contains(it)).collect();
    assert!(missing.is_empty(), "no script comes to {missing:#?}");
    let changes: BTreeSet<String> = CHANGES.map(str::to_owned).into();
    assert_eq!(seen.changes, changes, "the changes of state");
    let errors: BTreeSet<String> = ERRORS.map(str::to_owned).into();
    let answered: BTreeSet<String> = seen.answers.iter().filter_map(|it| error_of(it)).collect();
    assert_eq!(answered, errors, "the errors");
}

/// An answer up to its error, if it has one.
fn error_of(answer: &str) -> Option<String> {
    let codes = (-1..=i16::from(u8::MAX)).map(ErrorCode::from_code);
    let names: BTreeSet<&str> = codes.map(ErrorCode::name).collect();
    let words: Vec<&str> = answer.split(' ').filter(|word| *word != "NONE").collect();
    let at = words.iter().position(|word| names.contains(word))?;
    Some(words[..=at].join(" "))
}

pub(super) fn situation(state: &State, request: &Request) -> Option<String> {
    let old = |client_version: i16| client_version < EPOCH_PER_TRANSACTION;
    let (id, kind) = match request {
        Request::InitProducerId {
            id, expected: None, ..
        } => (id, "init"),
        Request::InitProducerId { id, .. } => (id, "init with an epoch"),
        Request::AddPartitions { id, .. } => (id, "add"),
        Request::Verify { id, .. } => (id, "verify"),
        Request::End {
            id,
            commit,
            client_version,
            ..
        } => {
            let kind = match (commit, old(*client_version)) {
                (true, false) => "commit",
                (false, false) => "abort",
                (true, true) => "old commit",
                (false, true) => "old abort",
            };
            (id, kind)
        }
        Request::Describe { id } => (id, "describe"),
        Request::Complete { id, .. } => (id, "complete"),
        Request::List(_) | Request::TakeWork { .. } | Request::GiveProducerId(_) => return None,
    };
    Some(format!("{kind}: {}", state_of(state, id)))
}

pub(super) fn change(state: &State, record: &Record) -> Option<String> {
    let next = match &record.transaction {
        Some(transaction) => transaction.state.name(),
        None => "tombstone",
    };
    Some(format!("{} > {next}", state_of(state, &record.id)))
}

fn state_of(state: &State, id: &str) -> &'static str {
    state
        .get(id)
        .map_or(UNKNOWN, |(_, transaction)| transaction.state.name())
}
