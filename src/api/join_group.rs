//! JoinGroup (key 11, versions 0 to 9): a member joins a classic group, and learns its generation when all have.
//!
//! | version | adds |
//! |---|---|
//! | 1 | the rebalance timeout; before, the session timeout stands for it (KIP-62) |
//! | 4 | a new member first gets its member id, with MEMBER_ID_REQUIRED (KIP-394) |
//! | 5 | static members: the group instance id (KIP-345) |
//! | 7 | the protocol type in the response; no protocol is null (KIP-559) |
//! | 8 | the reason (KIP-800) |
//! | 9 | a returning static leader is told to skip the assignment (KIP-814) |

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, client, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::{JoinGroupRequest, JoinGroupResponse, StrBytes};

/// From this version on a request has a rebalance timeout.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// From this version on the name of no protocol is null.
const NULL_PROTOCOL_FROM: i16 = 7;

pub(super) struct JoinGroup;

impl Api for JoinGroup {
    type Request = JoinGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=9;

    fn handle(ctx: &mut Context<'_>, mut request: JoinGroupRequest) -> Reply<JoinGroupResponse> {
        let version = ctx.version();
        let groups = ctx.broker.groups();
        if version < REBALANCE_TIMEOUT_FROM {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        let bounds = groups.config();
        let timeouts = bounds.min_session_timeout_ms..=bounds.max_session_timeout_ms;
        let refused = if request.group_id.is_empty() {
            Some(ErrorCode::InvalidGroupId)
        } else if !timeouts.contains(&request.session_timeout_ms) {
            Some(ErrorCode::InvalidSessionTimeout)
        } else {
            None
        };
        if let Some(code) = refused {
            return Reply::Now(express(error(request.member_id, code), version));
        }
        let group = request.group_id.clone();
        let client = client(ctx);
        let said = groups.ask(&group, Request::Join { client, request });
        reply(said, move |spoken| express(respond(spoken), version))
    }
}

fn respond(spoken: Spoken) -> JoinGroupResponse {
    match spoken {
        Ok(Response::Join(response)) => response,
        Ok(_) => error(StrBytes::default(), ErrorCode::UnknownServerError),
        Err(code) => error(StrBytes::default(), code),
    }
}

/// What old versions cannot say they say as they can.
fn express(mut response: JoinGroupResponse, version: i16) -> JoinGroupResponse {
    if version < NULL_PROTOCOL_FROM {
        response.protocol_name.get_or_insert_default();
    }
    response
}

fn error(member_id: StrBytes, code: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_member_id(member_id)
        .with_protocol_name(None)
        .with_error_code(code.code())
}
