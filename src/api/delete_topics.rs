//! DeleteTopics (20), versions 1–6: deletes topics by name, from version 6 on also by id. Decided by the controller
//! (`controller::topics`).
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 3       | TOPIC_DELETION_DISABLED                                                      |
//! | 5       | error messages; THROTTLING_QUOTA_EXCEEDED (KIP-599)                          |
//! | 6       | topics by id (KIP-516)                                                       |

use std::ops::RangeInclusive;

use super::{Api, Context, Reply, controlled};
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::messages::delete_topics_request::DeleteTopicState;
use crate::messages::delete_topics_response::DeletableTopicResult;
use crate::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

pub(super) struct DeleteTopics;

impl Api for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    fn handle(ctx: &mut Context<'_>, request: DeleteTopicsRequest) -> Reply<DeleteTopicsResponse> {
        let timeout_ms = request.timeout_ms;
        let named = request
            .topic_names
            .iter()
            .map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
        let asked: Vec<DeleteTopicState> = named.chain(request.topics.iter().cloned()).collect();
        if !ctx.broker.settings().boolean("delete.topic.enable") {
            let code = match ctx.version() {
                ..3 => ErrorCode::InvalidRequest,
                _ => ErrorCode::TopicDeletionDisabled,
            };
            return Reply::Now(error(asked, code));
        }
        let command = Command::DeleteTopics(request);
        controlled::reply(ctx, command, timeout_ms, |code| error(asked, code))
    }
}

/// A response that says of every topic that the request failed.
fn error(asked: Vec<DeleteTopicState>, code: ErrorCode) -> DeleteTopicsResponse {
    let topic = |topic: DeleteTopicState| {
        DeletableTopicResult::default()
            .with_name(topic.name)
            .with_topic_id(topic.topic_id)
            .with_error_code(code as i16)
    };
    DeleteTopicsResponse::default().with_responses(asked.into_iter().map(topic).collect())
}
