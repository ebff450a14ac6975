//! ProduceResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ProduceResponse: 3-13, flexible 9 {
        responses: Vec<TopicProduceResponse> [0+],
        throttle_time_ms: i32 [0+, ignorable],
        node_endpoints: Vec<NodeEndpoint> [10+, tag 0],
    }
    TopicProduceResponse {
        name: StrBytes [0-12, ignorable],
        topic_id: Uuid [13+, ignorable],
        partition_responses: Vec<PartitionProduceResponse> [0+],
    }
    PartitionProduceResponse {
        index: i32 [0+],
        error_code: i16 [0+],
        base_offset: i64 [0+],
        log_append_time_ms: i64 [0+, ignorable] = -1,
        log_start_offset: i64 [5+, ignorable] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8+, ignorable],
        error_message: Option<StrBytes> [8+, ignorable],
        current_leader: LeaderIdAndEpoch [10+, tag 0],
    }
    BatchIndexAndErrorMessage {
        batch_index: i32 [8+],
        batch_index_error_message: Option<StrBytes> [8+],
    }
    LeaderIdAndEpoch {
        leader_id: i32 [10+] = -1,
        leader_epoch: i32 [10+] = -1,
    }
    NodeEndpoint {
        node_id: i32 [10+],
        host: StrBytes [10+],
        port: i32 [10+],
        rack: Option<StrBytes> [10+],
    }
}
