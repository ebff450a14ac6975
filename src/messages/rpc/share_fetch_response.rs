//! ShareFetchResponse.

use uuid::Uuid;

use crate::messages::define::messages;
use crate::messages::{Records, StrBytes};

messages! {
    ShareFetchResponse: 1-2, flexible 0 {
        throttle_time_ms: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
        acquisition_lock_timeout_ms: i32 [0+],
        responses: Vec<ShareFetchableTopicResponse> [0+],
        node_endpoints: Vec<NodeEndpoint> [0+],
    }
    ShareFetchableTopicResponse {
        topic_id: Uuid [0+],
        partitions: Vec<PartitionData> [0+],
    }
    PartitionData {
        partition_index: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
        acknowledge_error_code: i16 [0+],
        acknowledge_error_message: Option<StrBytes> [0+],
        current_leader: LeaderIdAndEpoch [0+],
        records: Records [0+],
        acquired_records: Vec<AcquiredRecords> [0+],
    }
    LeaderIdAndEpoch {
        leader_id: i32 [0+],
        leader_epoch: i32 [0+],
    }
    AcquiredRecords {
        first_offset: i64 [0+],
        last_offset: i64 [0+],
        delivery_count: i16 [0+],
    }
    NodeEndpoint {
        node_id: i32 [0+],
        host: StrBytes [0+],
        port: i32 [0+],
        rack: Option<StrBytes> [0+],
    }
}
