//! Requests that the controller decides: put in order at once, answered when the decision is committed or the client's
//! time is up.

use std::fmt::Debug;
use std::time::Duration;

use super::{Context, Reply};
use crate::controller::{Answer, Command, Error};
use crate::error_code::ErrorCode;

/// Gives a command to the controller, which answers it with an `R`; `refuse` makes one of an error.
pub(super) fn reply<R: TryFrom<Answer, Error: Debug> + Send + 'static>(
    ctx: &Context<'_>,
    command: Command,
    timeout_ms: i32,
    refuse: impl FnOnce(ErrorCode) -> R + Send + 'static,
) -> Reply<R> {
    reply_with(ctx, command, timeout_ms, |decided| {
        decided.unwrap_or_else(refuse)
    })
}

/// The same where more is answered than the controller decides: `finish` makes the response of what it did.
pub(super) fn reply_with<D: TryFrom<Answer, Error: Debug> + 'static, R: Send + 'static>(
    ctx: &Context<'_>,
    command: Command,
    timeout_ms: i32,
    finish: impl FnOnce(Result<D, ErrorCode>) -> R + Send + 'static,
) -> Reply<R> {
    // A client that gives no time is answered that it is over, and nothing is done. (QuorumController's deadlines)
    let timeout = match u64::try_from(timeout_ms) {
        Ok(ms) if ms > 0 => Duration::from_millis(ms),
        _ => return Reply::Now(finish(Err(ErrorCode::RequestTimedOut))),
    };
    let decided = ctx.broker.controller().submit(command);
    Reply::later(async move {
        finish(match tokio::time::timeout(timeout, decided).await {
            Ok(Ok(answer)) => Ok(answer
                .try_into()
                .expect("the controller answers what it was asked")),
            Ok(Err(error)) => Err(code(&error)),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        })
    })
}

fn code(error: &Error) -> ErrorCode {
    match error {
        Error::NotController | Error::Stopped => ErrorCode::NotController,
        Error::Busy => ErrorCode::RequestTimedOut,
    }
}
