//! DescribeGroups (key 15, versions 0 to 6): state and members of classic groups.
//!
//! | version | adds |
//! |---|---|
//! | 3 | the operations that the client may do (KIP-430) |
//! | 4 | the group instance ids (KIP-345) |
//! | 6 | GROUP_ID_NOT_FOUND with a message, where before the group was told to be dead (KIP-1043) |

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::coordinated::{Spoken, reply_all};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::describe_groups_response::DescribedGroup;
use crate::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

/// From this version on authorized operations are told.
const AUTHORIZED_OPERATIONS_FROM: i16 = 3;

/// A bit for each operation on groups: read 3, delete 6, describe 8, describe configs 10, alter configs 11.
/// (AclEntry.supportedOperations) Without an authorizer all of them are allowed.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub(super) struct DescribeGroups;

impl Api for DescribeGroups {
    type Request = DescribeGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeGroupsRequest,
    ) -> Reply<DescribeGroupsResponse> {
        let version = ctx.version();
        let groups = ctx.broker.groups();
        let ask = |group: &GroupId| {
            groups.ask(
                group,
                Request::Describe {
                    version,
                    group: Arc::from(&***group),
                },
            )
        };
        let said = request.groups.iter().map(ask).collect();
        reply_all(said, move |spoken| {
            let operations =
                version >= AUTHORIZED_OPERATIONS_FROM && request.include_authorized_operations;
            let described = spoken
                .into_iter()
                .zip(request.groups)
                .map(|(spoken, group)| {
                    let described = respond(spoken, group);
                    match described.error_code {
                        0 if operations => described.with_authorized_operations(GROUP_OPERATIONS),
                        _ => described,
                    }
                });
            DescribeGroupsResponse::default().with_groups(described.collect())
        })
    }
}

fn respond(spoken: Spoken, group: GroupId) -> DescribedGroup {
    match spoken {
        Ok(Response::Describe(described)) => described,
        Ok(_) => error(group, ErrorCode::UnknownServerError),
        Err(code) => error(group, code),
    }
}

fn error(group: GroupId, code: ErrorCode) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(group)
        .with_error_code(code.code())
}
