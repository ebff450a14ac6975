//! ListOffsetsResponse.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ListOffsetsResponse: 1-11, flexible 6 {
        throttle_time_ms: i32 [2+, ignorable],
        topics: Vec<ListOffsetsTopicResponse> [0+],
    }
    ListOffsetsTopicResponse {
        name: StrBytes [0+],
        partitions: Vec<ListOffsetsPartitionResponse> [0+],
    }
    ListOffsetsPartitionResponse {
        partition_index: i32 [0+],
        error_code: i16 [0+],
        timestamp: i64 [0+] = -1,
        offset: i64 [0+] = -1,
        leader_epoch: i32 [4+] = -1,
    }
}
