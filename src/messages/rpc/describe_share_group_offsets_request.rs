//! DescribeShareGroupOffsetsRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    DescribeShareGroupOffsetsRequest: 0-1, flexible 0 {
        groups: Vec<DescribeShareGroupOffsetsRequestGroup> [0+],
    }
    DescribeShareGroupOffsetsRequestGroup {
        group_id: StrBytes [0+],
        topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>> [0+],
    }
    DescribeShareGroupOffsetsRequestTopic {
        topic_name: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }
}
