//! OffsetFetchResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    OffsetFetchResponse: 1-10, flexible 6 {
        throttle_time_ms: i32 [3+, ignorable],
        topics: Vec<OffsetFetchResponseTopic> [0-7],
        error_code: i16 [2-7, ignorable],
        groups: Vec<OffsetFetchResponseGroup> [8+],
    }
    OffsetFetchResponseTopic {
        name: StrBytes [0-7],
        partitions: Vec<OffsetFetchResponsePartition> [0-7],
    }
    OffsetFetchResponsePartition {
        partition_index: i32 [0-7],
        committed_offset: i64 [0-7],
        committed_leader_epoch: i32 [5-7, ignorable] = -1,
        metadata: Option<StrBytes> [0-7],
        error_code: i16 [0-7],
    }
    OffsetFetchResponseGroup {
        group_id: StrBytes [8+],
        topics: Vec<OffsetFetchResponseTopics> [8+],
        error_code: i16 [8+],
    }
    OffsetFetchResponseTopics {
        name: StrBytes [8-9, ignorable],
        topic_id: Uuid [10+, ignorable],
        partitions: Vec<OffsetFetchResponsePartitions> [8+],
    }
    OffsetFetchResponsePartitions {
        partition_index: i32 [8+],
        committed_offset: i64 [8+],
        committed_leader_epoch: i32 [8+, ignorable] = -1,
        metadata: Option<StrBytes> [8+],
        error_code: i16 [8+],
    }
}
