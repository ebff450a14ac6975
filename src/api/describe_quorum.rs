//! DescribeQuorum (55), versions 0–2: the leader, the voters and the observers of the metadata log.
//!
//! Only `__cluster_metadata` partition 0, asked for alone, is answered; anything else is UNKNOWN_TOPIC_OR_PARTITION for
//! every partition of the request. Text fields without an error are empty, not null.
//! (KafkaRaftClient.handleDescribeQuorumRequest, DescribeQuorumRequest.getPartitionLevelErrorResponse)
//!
//! | version | adds                                                                  |
//! |---------|-----------------------------------------------------------------------|
//! | 1       | times of the last fetch and of catching up (KIP-836)                  |
//! | 2       | directory ids, the voters' listeners, error messages (KIP-853)        |

use std::ops::RangeInclusive;

use super::{Api, Context, Reply};
use crate::controller::quorum::{Replica, Status};
use crate::error_code::ErrorCode;
use crate::messages::describe_quorum_request;
use crate::messages::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use crate::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, text};
use crate::metadata::CLUSTER_METADATA;

pub(super) struct DescribeQuorum;

impl Api for DescribeQuorum {
    type Request = DescribeQuorumRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeQuorumRequest,
    ) -> Reply<DescribeQuorumResponse> {
        let status = ctx.broker.controller().quorum_status();
        Reply::Now(answer(&request, status.as_ref(), ctx.version()))
    }
}

/// `status` is `None` where this node does not lead the quorum.
fn answer(
    request: &DescribeQuorumRequest,
    status: Option<&Status>,
    version: i16,
) -> DescribeQuorumResponse {
    if !is_metadata_partition(request) {
        let message = "This server does not host this topic-partition.";
        return refuse(
            request,
            ErrorCode::UnknownTopicOrPartition,
            message,
            version,
        );
    }
    let Some(status) = status else {
        let message = "For requests intended only for the leader, this error indicates that the broker is not the \
                       current leader. For requests intended for any replica, this error indicates that the broker is \
                       not a replica of the topic partition.";
        return refuse(request, ErrorCode::NotLeaderOrFollower, message, version);
    };
    let replicas = |replicas: &[Replica]| {
        replicas
            .iter()
            .map(|replica| state(replica, version))
            .collect()
    };
    let partition = PartitionData::default()
        .with_error_message(message_of(version, ""))
        .with_leader_id(BrokerId(status.leader_id.0))
        .with_leader_epoch(status.epoch.0)
        .with_high_watermark(status.high_watermark.0)
        .with_current_voters(replicas(&status.voters))
        .with_observers(replicas(&status.observers));
    let nodes = match version {
        2.. => status.voters.iter().map(node).collect(),
        _ => Vec::new(),
    };
    DescribeQuorumResponse::default()
        .with_error_message(message_of(version, ""))
        .with_topics(vec![topic(CLUSTER_METADATA, vec![partition])])
        .with_nodes(nodes)
}

/// Exactly partition 0 of `__cluster_metadata`, and nothing else. (KafkaRaftClient.hasValidTopicPartition)
fn is_metadata_partition(request: &DescribeQuorumRequest) -> bool {
    let [topic] = &request.topics[..] else {
        return false;
    };
    let [partition] = &topic.partitions[..] else {
        return false;
    };
    &**topic.topic_name == CLUSTER_METADATA && partition.partition_index == 0
}

fn refuse(
    request: &DescribeQuorumRequest,
    code: ErrorCode,
    message: &str,
    version: i16,
) -> DescribeQuorumResponse {
    let partition = |asked: &describe_quorum_request::PartitionData| {
        PartitionData::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code.code())
            .with_error_message(message_of(version, message))
    };
    let topics = request.topics.iter().map(|asked| {
        topic(
            &asked.topic_name,
            asked.partitions.iter().map(partition).collect(),
        )
    });
    DescribeQuorumResponse::default()
        .with_error_message(message_of(version, ""))
        .with_topics(topics.collect())
}

fn topic(name: &str, partitions: Vec<PartitionData>) -> TopicData {
    TopicData::default()
        .with_topic_name(text(name).into())
        .with_partitions(partitions)
}

fn message_of(version: i16, message: &str) -> Option<crate::messages::StrBytes> {
    (version >= 2).then(|| text(message))
}

fn state(replica: &Replica, version: i16) -> ReplicaState {
    let state = ReplicaState::default()
        .with_replica_id(BrokerId(replica.id.0))
        .with_log_end_offset(replica.log_end_offset.0);
    let state = match version {
        1.. => state
            .with_last_fetch_timestamp(replica.last_fetch.0)
            .with_last_caught_up_timestamp(replica.last_caught_up.0),
        _ => state,
    };
    match version {
        2.. => state.with_replica_directory_id(replica.voter.directory_id.0),
        _ => state,
    }
}

fn node(replica: &Replica) -> Node {
    let listeners = replica.voter.endpoints.iter().map(|endpoint| {
        Listener::default()
            .with_name(text(&endpoint.name))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port)
    });
    Node::default()
        .with_node_id(BrokerId(replica.id.0))
        .with_listeners(listeners.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LeaderEpoch, NodeId, Offset, Timestamp};
    use crate::messages::Message as _;
    use crate::messages::describe_quorum_request::PartitionData as Asked;
    use crate::metadata::control::{Voter, VoterEndpoint};

    /// The state of the Kafka 4.3.0 node that gave the answers below, started with a static voter.
    fn status(end: i64, at: i64) -> Status {
        let endpoint = VoterEndpoint {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: 23501,
        };
        let leader = Replica {
            id: NodeId(1),
            voter: Voter {
                endpoints: vec![endpoint],
                ..Voter::default()
            },
            log_end_offset: Offset(end),
            last_fetch: Timestamp(at),
            last_caught_up: Timestamp(at),
        };
        Status {
            leader_id: NodeId(1),
            epoch: LeaderEpoch(2),
            high_watermark: Offset(end),
            kraft_version: 0,
            voters: vec![leader],
            observers: Vec::new(),
        }
    }

    fn request(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
        let topic = |&(name, partitions): &(&str, &[i32])| {
            let asked = partitions
                .iter()
                .map(|&index| Asked::default().with_partition_index(index));
            describe_quorum_request::TopicData::default()
                .with_topic_name(text(name).into())
                .with_partitions(asked.collect())
        };
        DescribeQuorumRequest::default().with_topics(topics.iter().map(topic).collect())
    }

    fn hex(response: &DescribeQuorumResponse, version: i16) -> String {
        response
            .to_bytes(version)
            .unwrap()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[test]
    fn the_quorum_is_described_with_kafkas_bytes() {
        let asked = request(&[(CLUSTER_METADATA, &[0])]);
        let name = "135f5f636c75737465725f6d65746164617461";
        let kafkas = [
            (
                0,
                0x56,
                0,
                "020000000000000000000100000002000000000000005602000000010000000000000056000100",
            ),
            (
                1,
                0x57,
                0x1a1_fde9_2135,
                "020000000000000000000100000002000000000000005702000000010000000000000057000001a1fde92135\
                 000001a1fde92135000100",
            ),
        ];
        for (version, end, at, bytes) in kafkas {
            let ours = hex(&answer(&asked, Some(&status(end, at)), version), version);
            let kafkas = format!("000002{name}{bytes}0000");
            assert_eq!(ours, kafkas, "version {version}");
        }
        let bytes = "020000000000000100000001000000020000000000000057020000000100000000000000000000000000000000\
                     0000000000000057000001a1fde92158000001a1fde92158000100000200000001020b434f4e54524f4c4c4552\
                     0a3132372e302e302e315bcd000000";
        let ours = hex(&answer(&asked, Some(&status(0x57, 0x1a1_fde9_2158)), 2), 2);
        assert_eq!(ours, format!("00000102{name}{bytes}"));
    }

    #[test]
    fn any_other_partition_is_unknown_with_kafkas_bytes() {
        let message = "30546869732073657276657220646f6573206e6f7420686f7374207468697320746f7069632d706172746974696f6e2e";
        let foo = request(&[("foo", &[0])]);
        let fields = "00000000000000000000000000000000010100";
        assert_eq!(
            hex(&answer(&foo, Some(&status(1, 1)), 2), 2),
            format!("0000010204666f6f02000000000003{message}{fields}000100")
        );
        assert_eq!(
            hex(&answer(&foo, Some(&status(1, 1)), 1), 1),
            format!("00000204666f6f02000000000003{fields}0000")
        );
        let others = [
            request(&[]),
            request(&[(CLUSTER_METADATA, &[])]),
            request(&[(CLUSTER_METADATA, &[1])]),
            request(&[(CLUSTER_METADATA, &[0, 1])]),
            request(&[(CLUSTER_METADATA, &[0]), ("foo", &[3])]),
        ];
        for asked in others {
            let response = answer(&asked, Some(&status(1, 1)), 2);
            assert_eq!(response.error_code, 0);
            let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            assert!(partitions.all(|partition| partition.error_code == 3));
            assert_eq!(
                (response.topics.len(), response.nodes.len()),
                (asked.topics.len(), 0)
            );
        }
    }

    #[test]
    fn a_node_that_does_not_lead_says_so() {
        let response = answer(&request(&[(CLUSTER_METADATA, &[0])]), None, 2);
        assert_eq!(
            response.topics[0].partitions[0].error_code,
            ErrorCode::NotLeaderOrFollower.code()
        );
    }
}
