//! ListGroups (key 16, versions 0 to 5): the groups whose coordinator this broker is.
//!
//! | version | adds |
//! |---|---|
//! | 4 | states, and a filter by them (KIP-518) |
//! | 5 | types, and a filter by them (KIP-848) |

use std::ops::RangeInclusive;

use super::coordinated::{Spoken, reply_all};
use super::{Api, Context, Reply};
use crate::coordinator::group::{Request, Response};
use crate::error_code::ErrorCode;
use crate::messages::{ListGroupsRequest, ListGroupsResponse};

pub(super) struct ListGroups;

impl Api for ListGroups {
    type Request = ListGroupsRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(ctx: &mut Context<'_>, request: ListGroupsRequest) -> Reply<ListGroupsResponse> {
        let said = ctx.broker.groups().ask_all(&Request::List(request));
        reply_all(said, respond)
    }
}

fn respond(spoken: Vec<Spoken>) -> ListGroupsResponse {
    let mut groups = Vec::new();
    for spoken in spoken {
        match spoken {
            Ok(Response::List(listed)) => groups.extend(listed),
            Ok(_) => return error(ErrorCode::UnknownServerError),
            // It went to another broker just now.
            Err(ErrorCode::NotCoordinator) => {}
            Err(code) => return error(code),
        }
    }
    ListGroupsResponse::default().with_groups(groups)
}

fn error(code: ErrorCode) -> ListGroupsResponse {
    ListGroupsResponse::default().with_error_code(code.code())
}
