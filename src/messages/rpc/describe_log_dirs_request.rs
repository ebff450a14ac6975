//! DescribeLogDirsRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    DescribeLogDirsRequest: 1-5, flexible 2 {
        topics: Option<Vec<DescribableLogDirTopic>> [0+],
    }
    DescribableLogDirTopic {
        topic: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }
}
