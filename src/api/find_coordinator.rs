//! FindCoordinator (key 10, versions 0 to 6): the broker that coordinates a group or a transactional id.
//!
//! The coordinator is the leader of the key's partition of `__consumer_offsets` or `__transaction_state`, which is
//! created when somebody asks for the first time; the answer then waits for it. Share state has no coordinator here
//! yet: COORDINATOR_NOT_AVAILABLE.
//!
//! | version | adds |
//! |---|---|
//! | 1 | the type of the key, an error message |
//! | 4 | several keys, each with its own result (KIP-699) |
//! | 6 | share coordinators (KIP-932) |

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Api, Context, Reply, auto_topics};
use crate::broker::Broker;
use crate::controller::Command;
use crate::error_code::ErrorCode;
use crate::ids::{NodeId, PartitionIndex};
use crate::messages::find_coordinator_response::Coordinator;
use crate::messages::{
    BrokerId, CreateTopicsRequest, FindCoordinatorRequest, FindCoordinatorResponse, StrBytes,
    TopicName, text,
};
use crate::metadata::{CONSUMER_OFFSETS, Image, TRANSACTION_STATE};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// From this version on a request has several keys.
const KEYS_FROM: i16 = 4;
/// From this version on share coordinators can be asked for.
const SHARE_FROM: i16 = 6;

pub(super) struct FindCoordinator;

impl Api for FindCoordinator {
    type Request = FindCoordinatorRequest;

    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(
        ctx: &mut Context<'_>,
        request: FindCoordinatorRequest,
    ) -> Reply<FindCoordinatorResponse> {
        let finder = Finder {
            broker: ctx.broker.clone(),
            listener: ctx.session.listener.clone(),
            version: ctx.version(),
            request,
        };
        let image = ctx.broker.image();
        let name = match finder.request.key_type {
            GROUP => CONSUMER_OFFSETS,
            TRANSACTION => TRANSACTION_STATE,
            _ => return Reply::Now(finder.find(&image)),
        };
        if image.topics().by_name(name).is_some() {
            return Reply::Now(finder.find(&image));
        }
        let topic = auto_topics::topic(ctx.broker.settings(), &TopicName(text(name)));
        let create = CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(ctx.broker.settings().int("request.timeout.ms"));
        let created = ctx
            .broker
            .controller()
            .submit(Command::CreateTopics(create));
        Reply::later(async move {
            // Whether it was this request that created it, or another, the image tells.
            if let Err(error) = created.await {
                tracing::debug!(%error, "{name} is not created");
            }
            let image = finder.broker.image();
            finder.find(&image)
        })
    }
}

/// A request and from where it came.
struct Finder {
    broker: Arc<Broker>,
    listener: Arc<str>,
    version: i16,
    request: FindCoordinatorRequest,
}

impl Finder {
    fn find(&self, image: &Image) -> FindCoordinatorResponse {
        if self.version >= KEYS_FROM {
            let found = |key: &StrBytes| match self.find_one(image, key) {
                Ok(found) => Coordinator::default()
                    .with_key(key.clone())
                    .with_node_id(BrokerId(found.node.0))
                    .with_host(text(&found.host))
                    .with_port(found.port),
                Err(code) => Coordinator::default()
                    .with_key(key.clone())
                    .with_error_code(code.code())
                    .with_node_id(BrokerId(-1))
                    .with_port(-1),
            };
            let coordinators = self.request.coordinator_keys.iter().map(found).collect();
            return FindCoordinatorResponse::default().with_coordinators(coordinators);
        }
        match self.find_one(image, &self.request.key) {
            Ok(found) => FindCoordinatorResponse::default()
                .with_error_message(Some(text("NONE")))
                .with_node_id(BrokerId(found.node.0))
                .with_host(text(&found.host))
                .with_port(found.port),
            Err(code) => FindCoordinatorResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(text(message(code))))
                .with_node_id(BrokerId(-1))
                .with_port(-1),
        }
    }

    fn find_one(&self, image: &Image, key: &str) -> Result<Found, ErrorCode> {
        match self.request.key_type {
            GROUP => self
                .leader(
                    image,
                    CONSUMER_OFFSETS,
                    self.broker.groups().partition_for(key),
                )
                .ok_or(ErrorCode::CoordinatorNotAvailable),
            TRANSACTION => self
                .leader(
                    image,
                    TRANSACTION_STATE,
                    self.broker.transactions().partition_for(key),
                )
                .ok_or(ErrorCode::CoordinatorNotAvailable),
            SHARE if self.version >= SHARE_FROM && is_share_key(key) => {
                Err(ErrorCode::CoordinatorNotAvailable)
            }
            _ => Err(ErrorCode::InvalidRequest),
        }
    }

    fn leader(&self, image: &Image, topic: &str, partition: PartitionIndex) -> Option<Found> {
        let partition = image.topics().by_name(topic)?.partition(partition)?;
        let node = partition.leader?;
        let broker = image.brokers().get(node).filter(|broker| !broker.fenced)?;
        let endpoint = broker.endpoint(&self.listener)?;
        Some(Found {
            node,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
        })
    }
}

/// A coordinator.
struct Found {
    node: NodeId,
    host: Arc<str>,
    port: i32,
}

/// Group id, topic id and partition, by colons; the group id may hold some. (SharePartitionKey.getInstance)
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts
        .next()
        .is_some_and(|partition| partition.parse::<i32>().is_ok());
    let topic = parts
        .next()
        .is_some_and(|topic| crate::ids::KafkaUuid::parse(topic).is_some());
    partition && topic && parts.next().is_some_and(|group| !group.is_empty())
}

/// Kafka's words for an error, which old versions tell. (Errors.message)
fn message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::CoordinatorNotAvailable => "The coordinator is not available.",
        _ => {
            "This most likely occurs because of a request being malformed by the client library or the message was \
             sent to an incompatible broker. See the broker logs for more details."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_keys_have_three_parts() {
        assert!(is_share_key("g:AAAAAAAAAAAAAAAAAAAAAQ:0"));
        assert!(is_share_key("a:b:AAAAAAAAAAAAAAAAAAAAAQ:12"));
        assert!(!is_share_key("g:AAAAAAAAAAAAAAAAAAAAAQ"));
        assert!(!is_share_key("g:t:0"));
        assert!(!is_share_key(":AAAAAAAAAAAAAAAAAAAAAQ:0"));
    }
}
