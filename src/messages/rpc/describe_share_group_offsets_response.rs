//! DescribeShareGroupOffsetsResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    DescribeShareGroupOffsetsResponse: 0-1, flexible 0 {
        throttle_time_ms: i32 [0+],
        groups: Vec<DescribeShareGroupOffsetsResponseGroup> [0+],
    }
    DescribeShareGroupOffsetsResponseGroup {
        group_id: StrBytes [0+],
        topics: Vec<DescribeShareGroupOffsetsResponseTopic> [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
    }
    DescribeShareGroupOffsetsResponseTopic {
        topic_name: StrBytes [0+],
        topic_id: Uuid [0+],
        partitions: Vec<DescribeShareGroupOffsetsResponsePartition> [0+],
    }
    DescribeShareGroupOffsetsResponsePartition {
        partition_index: i32 [0+],
        start_offset: i64 [0+],
        leader_epoch: i32 [0+],
        lag: i64 [1+, ignorable] = -1,
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
    }
}
