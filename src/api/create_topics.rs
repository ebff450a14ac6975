//! CreateTopics (19), versions 2–7: creates topics with given or default numbers of partitions and replicas, or with
//! replicas that the client assigns; each topic for itself. Decided by the controller (`controller::topics`).
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 4       | -1 for the default number of partitions and replicas (KIP-464)               |
//! | 5       | the settings and sizes that a topic got (KIP-525)                            |
//! | 6       | THROTTLING_QUOTA_EXCEEDED (KIP-599)                                          |
//! | 7       | the topic's id (KIP-516)                                                     |

use std::ops::RangeInclusive;

use super::{Api, Context, Reply, controlled};
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::messages::create_topics_response::CreatableTopicResult;
use crate::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};

pub(super) struct CreateTopics;

impl Api for CreateTopics {
    type Request = CreateTopicsRequest;
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    fn handle(ctx: &mut Context<'_>, request: CreateTopicsRequest) -> Reply<CreateTopicsResponse> {
        let timeout_ms = request.timeout_ms;
        let names = request.topics.iter().map(|topic| topic.name.clone());
        let names = names.collect();
        let command = Command::CreateTopics(request);
        controlled::reply(ctx, command, timeout_ms, |code| error(names, code))
    }
}

/// A response that says of every topic that the request failed.
fn error(names: Vec<TopicName>, code: ErrorCode) -> CreateTopicsResponse {
    let topic = |name| {
        CreatableTopicResult::default()
            .with_name(name)
            .with_error_code(code as i16)
            .with_error_message(None)
            .with_num_partitions(-1)
            .with_replication_factor(-1)
    };
    CreateTopicsResponse::default().with_topics(names.into_iter().map(topic).collect())
}
