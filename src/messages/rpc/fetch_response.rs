//! FetchResponse.

use uuid::Uuid;

use crate::messages::define::messages;
use crate::messages::{Records, StrBytes};

messages! {
    FetchResponse: 4-18, flexible 12 {
        throttle_time_ms: i32 [0+, ignorable],
        error_code: i16 [7+, ignorable],
        session_id: i32 [7+],
        responses: Vec<FetchableTopicResponse> [0+],
        node_endpoints: Vec<NodeEndpoint> [16+, tag 0],
    }
    FetchableTopicResponse {
        topic: StrBytes [0-12, ignorable],
        topic_id: Uuid [13+, ignorable],
        partitions: Vec<PartitionData> [0+],
    }
    PartitionData {
        partition_index: i32 [0+],
        error_code: i16 [0+],
        high_watermark: i64 [0+],
        last_stable_offset: i64 [0+, ignorable] = -1,
        log_start_offset: i64 [5+, ignorable] = -1,
        diverging_epoch: EpochEndOffset [12+, tag 0],
        current_leader: LeaderIdAndEpoch [12+, tag 1],
        snapshot_id: SnapshotId [12+, tag 2],
        aborted_transactions: Option<Vec<AbortedTransaction>> [0+, ignorable],
        preferred_read_replica: i32 [11+] = -1,
        records: Option<Records> [0+],
    }
    EpochEndOffset {
        epoch: i32 [12+] = -1,
        end_offset: i64 [12+] = -1,
    }
    LeaderIdAndEpoch {
        leader_id: i32 [12+] = -1,
        leader_epoch: i32 [12+] = -1,
    }
    SnapshotId {
        end_offset: i64 [0+] = -1,
        epoch: i32 [0+] = -1,
    }
    AbortedTransaction {
        producer_id: i64 [0+],
        first_offset: i64 [0+],
    }
    NodeEndpoint {
        node_id: i32 [16+],
        host: StrBytes [16+],
        port: i32 [16+],
        rack: Option<StrBytes> [16+],
    }
}
