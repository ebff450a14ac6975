//! SyncGroup (key 14, versions 0 to 5): the leader hands in the assignment, the others wait for theirs.
//!
//! | version | adds |
//! |---|---|
//! | 3 | static members: the group instance id (KIP-345) |
//! | 5 | protocol type and name, which have to be the group's (KIP-559) |

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::{SyncGroupRequest, SyncGroupResponse};

/// From this version on a request has to name the protocol.
const PROTOCOL_FROM: i16 = 5;

pub(super) struct SyncGroup;

impl Api for SyncGroup {
    type Request = SyncGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &mut Context<'_>, request: SyncGroupRequest) -> Reply<SyncGroupResponse> {
        let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if ctx.version() >= PROTOCOL_FROM && !names_protocol {
            return Reply::Now(error(ErrorCode::InconsistentGroupProtocol));
        }
        if request.group_id.is_empty() {
            return Reply::Now(error(ErrorCode::InvalidGroupId));
        }
        let group = request.group_id.clone();
        reply(
            ctx.broker.groups().ask(&group, Request::Sync(request)),
            respond,
        )
    }
}

fn respond(spoken: Spoken) -> SyncGroupResponse {
    match spoken {
        Ok(Response::Sync(response)) => response,
        Ok(_) => error(ErrorCode::UnknownServerError),
        Err(code) => error(code),
    }
}

fn error(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(code.code())
}
