//! Heartbeat (key 12, versions 0 to 4): a member of a classic group shows that it lives, and learns of a rebalance.
//! Version 3 adds the group instance id (KIP-345).

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::{HeartbeatRequest, HeartbeatResponse};

pub(super) struct Heartbeat;

impl Api for Heartbeat {
    type Request = HeartbeatRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(ctx: &mut Context<'_>, request: HeartbeatRequest) -> Reply<HeartbeatResponse> {
        if request.group_id.is_empty() {
            return Reply::Now(error(ErrorCode::InvalidGroupId));
        }
        let group = request.group_id.clone();
        reply(
            ctx.broker.groups().ask(&group, Request::Heartbeat(request)),
            respond,
        )
    }
}

fn respond(spoken: Spoken) -> HeartbeatResponse {
    match spoken {
        Ok(Response::Heartbeat(response)) => response,
        Ok(_) => error(ErrorCode::UnknownServerError),
        // Nobody can tell yet; sessions begin when the group has been read. (GroupCoordinatorService.heartbeat)
        Err(ErrorCode::CoordinatorLoadInProgress) => error(ErrorCode::None),
        Err(code) => error(code),
    }
}

fn error(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(code.code())
}
