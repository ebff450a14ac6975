//! DescribeLogDirsResponse.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    DescribeLogDirsResponse: 1-5, flexible 2 {
        throttle_time_ms: i32 [0+],
        error_code: i16 [3+, ignorable],
        results: Vec<DescribeLogDirsResult> [0+],
    }
    DescribeLogDirsResult {
        error_code: i16 [0+],
        log_dir: StrBytes [0+],
        topics: Vec<DescribeLogDirsTopic> [0+],
        total_bytes: i64 [4+, ignorable] = -1,
        usable_bytes: i64 [4+, ignorable] = -1,
        is_cordoned: bool [5+, ignorable],
    }
    DescribeLogDirsTopic {
        name: StrBytes [0+],
        partitions: Vec<DescribeLogDirsPartition> [0+],
    }
    DescribeLogDirsPartition {
        partition_index: i32 [0+],
        partition_size: i64 [0+],
        offset_lag: i64 [0+],
        is_future_key: bool [0+],
    }
}
