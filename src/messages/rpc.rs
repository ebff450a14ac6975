//! Requests and responses that are ours: those that kafka-protocol lacks in their newest versions, and those of the hot
//! path. A module each, as in kafka-protocol, because their structs share names.
//!
//! Produce and Fetch are ours because a decode that is bounded by itself is cheaper than a walk and a decode, because a
//! Fetch response weaves in file ranges, and because an older version drops what it has no place for where Kafka does.

pub mod add_raft_voter_request;
pub mod add_raft_voter_response;
pub mod broker_heartbeat_request;
pub mod broker_heartbeat_response;
pub mod describe_log_dirs_request;
pub mod describe_log_dirs_response;
pub mod describe_share_group_offsets_request;
pub mod describe_share_group_offsets_response;
pub mod fetch_request;
pub mod fetch_response;
pub mod init_producer_id_request;
pub mod init_producer_id_response;
pub mod list_offsets_request;
pub mod list_offsets_response;
pub mod offset_commit_request;
pub mod offset_commit_response;
pub mod offset_fetch_request;
pub mod offset_fetch_response;
pub mod produce_request;
pub mod produce_response;
pub mod read_share_group_state_summary_request;
pub mod read_share_group_state_summary_response;
pub mod share_acknowledge_request;
pub mod share_acknowledge_response;
pub mod share_fetch_request;
pub mod share_fetch_response;
pub mod streams_group_describe_request;
pub mod streams_group_describe_response;
pub mod streams_group_heartbeat_request;
pub mod streams_group_heartbeat_response;
pub mod write_share_group_state_request;
pub mod write_share_group_state_response;
pub mod write_txn_markers_request;
pub mod write_txn_markers_response;

use super::Request;

macro_rules! requests {
    ($($key:literal $request_module:ident::$request:ident $response_module:ident::$response:ident,)*) => {$(
        impl Request for $request_module::$request {
            const KEY: i16 = $key;
            type Response = $response_module::$response;
        }
    )*};
}

requests! {
    0 produce_request::ProduceRequest produce_response::ProduceResponse,
    1 fetch_request::FetchRequest fetch_response::FetchResponse,
    2 list_offsets_request::ListOffsetsRequest list_offsets_response::ListOffsetsResponse,
    8 offset_commit_request::OffsetCommitRequest offset_commit_response::OffsetCommitResponse,
    9 offset_fetch_request::OffsetFetchRequest offset_fetch_response::OffsetFetchResponse,
    22 init_producer_id_request::InitProducerIdRequest init_producer_id_response::InitProducerIdResponse,
    27 write_txn_markers_request::WriteTxnMarkersRequest write_txn_markers_response::WriteTxnMarkersResponse,
    35 describe_log_dirs_request::DescribeLogDirsRequest describe_log_dirs_response::DescribeLogDirsResponse,
    63 broker_heartbeat_request::BrokerHeartbeatRequest broker_heartbeat_response::BrokerHeartbeatResponse,
    78 share_fetch_request::ShareFetchRequest share_fetch_response::ShareFetchResponse,
    79 share_acknowledge_request::ShareAcknowledgeRequest share_acknowledge_response::ShareAcknowledgeResponse,
    80 add_raft_voter_request::AddRaftVoterRequest add_raft_voter_response::AddRaftVoterResponse,
    85 write_share_group_state_request::WriteShareGroupStateRequest write_share_group_state_response::WriteShareGroupStateResponse,
    87 read_share_group_state_summary_request::ReadShareGroupStateSummaryRequest read_share_group_state_summary_response::ReadShareGroupStateSummaryResponse,
    88 streams_group_heartbeat_request::StreamsGroupHeartbeatRequest streams_group_heartbeat_response::StreamsGroupHeartbeatResponse,
    89 streams_group_describe_request::StreamsGroupDescribeRequest streams_group_describe_response::StreamsGroupDescribeResponse,
    90 describe_share_group_offsets_request::DescribeShareGroupOffsetsRequest describe_share_group_offsets_response::DescribeShareGroupOffsetsResponse,
}
