//! ListOffsetsRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ListOffsetsRequest: 1-11, flexible 6 {
        replica_id: i32 [0+],
        isolation_level: i8 [2+],
        topics: Vec<ListOffsetsTopic> [0+],
        timeout_ms: i32 [10+, ignorable],
    }
    ListOffsetsTopic {
        name: StrBytes [0+],
        partitions: Vec<ListOffsetsPartition> [0+],
    }
    ListOffsetsPartition {
        partition_index: i32 [0+],
        current_leader_epoch: i32 [4+, ignorable] = -1,
        timestamp: i64 [0+],
    }
}
