//! DeleteGroups (key 42, versions 0 to 2): empty groups are deleted with their offsets (KIP-229).

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::coordinated::{Spoken, reply_all};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::delete_groups_response::DeletableGroupResult;
use crate::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

pub(super) struct DeleteGroups;

impl Api for DeleteGroups {
    type Request = DeleteGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(ctx: &mut Context<'_>, request: DeleteGroupsRequest) -> Reply<DeleteGroupsResponse> {
        let mut names = request.groups_names;
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let groups = ctx.broker.groups();
        let ask = |group: &GroupId| {
            groups.ask(
                group,
                Request::Delete {
                    group: Arc::from(&***group),
                },
            )
        };
        let said = names.iter().map(ask).collect();
        reply_all(said, move |spoken| {
            let result = |(spoken, group): (Spoken, GroupId)| {
                let code = respond(spoken);
                DeletableGroupResult::default()
                    .with_group_id(group)
                    .with_error_code(code.code())
            };
            let results = spoken.into_iter().zip(names).map(result).collect();
            DeleteGroupsResponse::default().with_results(results)
        })
    }
}

fn respond(spoken: Spoken) -> ErrorCode {
    match spoken {
        Ok(Response::Delete(code)) => code,
        Ok(_) => ErrorCode::UnknownServerError,
        Err(code) => code,
    }
}
