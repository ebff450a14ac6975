//! CreatePartitions (37), versions 0–3: adds partitions to topics, on brokers that are chosen or given. Decided by the
//! controller (`controller::topics`).
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 3       | THROTTLING_QUOTA_EXCEEDED (KIP-599)                                          |

use std::ops::RangeInclusive;

use super::{Api, Context, Reply, controlled};
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

pub(super) struct CreatePartitions;

impl Api for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    fn handle(
        ctx: &mut Context<'_>,
        request: CreatePartitionsRequest,
    ) -> Reply<CreatePartitionsResponse> {
        let timeout_ms = request.timeout_ms;
        let names = request.topics.iter().map(|topic| topic.name.clone());
        let names = names.collect();
        let command = Command::CreatePartitions(request);
        controlled::reply(ctx, command, timeout_ms, |code| error(names, code))
    }
}

/// A response that says of every topic that the request failed.
fn error(names: Vec<TopicName>, code: ErrorCode) -> CreatePartitionsResponse {
    let topic = |name| {
        CreatePartitionsTopicResult::default()
            .with_name(name)
            .with_error_code(code as i16)
    };
    CreatePartitionsResponse::default().with_results(names.into_iter().map(topic).collect())
}
