//! OffsetCommitResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    OffsetCommitResponse: 2-10, flexible 8 {
        throttle_time_ms: i32 [3+, ignorable],
        topics: Vec<OffsetCommitResponseTopic> [0+],
    }
    OffsetCommitResponseTopic {
        name: StrBytes [0-9, ignorable],
        topic_id: Uuid [10+, ignorable],
        partitions: Vec<OffsetCommitResponsePartition> [0+],
    }
    OffsetCommitResponsePartition {
        partition_index: i32 [0+],
        error_code: i16 [0+],
    }
}
