//! LeaveGroup (key 13, versions 0 to 5): members leave a classic group, or are removed by an administrator.
//!
//! | version | adds |
//! |---|---|
//! | 3 | several members, each with its own result; static members by their instance id (KIP-345) |
//! | 5 | the reason (KIP-800) |

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::leave_group_request::MemberIdentity;
use crate::messages::{LeaveGroupRequest, LeaveGroupResponse};

/// From this version on a request names several members.
const MEMBERS_FROM: i16 = 3;

pub(super) struct LeaveGroup;

impl Api for LeaveGroup {
    type Request = LeaveGroupRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &mut Context<'_>, mut request: LeaveGroupRequest) -> Reply<LeaveGroupResponse> {
        let version = ctx.version();
        if request.group_id.is_empty() {
            return Reply::Now(error(ErrorCode::InvalidGroupId));
        }
        if version < MEMBERS_FROM {
            request.members =
                vec![MemberIdentity::default().with_member_id(request.member_id.clone())];
        }
        let group = request.group_id.clone();
        let said = ctx.broker.groups().ask(&group, Request::Leave(request));
        reply(said, move |spoken| express(respond(spoken), version))
    }
}

fn respond(spoken: Spoken) -> LeaveGroupResponse {
    match spoken {
        Ok(Response::Leave(response)) => response,
        Ok(_) => error(ErrorCode::UnknownServerError),
        Err(code) => error(code),
    }
}

/// Where there is one member its error is that of the response.
fn express(mut response: LeaveGroupResponse, version: i16) -> LeaveGroupResponse {
    if version < MEMBERS_FROM
        && let Some(member) = std::mem::take(&mut response.members).first()
    {
        response.error_code = member.error_code;
    }
    response
}

fn error(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse::default().with_error_code(code.code())
}
