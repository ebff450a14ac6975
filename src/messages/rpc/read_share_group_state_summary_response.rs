//! ReadShareGroupStateSummaryResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ReadShareGroupStateSummaryResponse: 0-1, flexible 0 {
        results: Vec<ReadStateSummaryResult> [0+],
    }
    ReadStateSummaryResult {
        topic_id: Uuid [0+],
        partitions: Vec<PartitionResult> [0+],
    }
    PartitionResult {
        partition: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
        state_epoch: i32 [0+],
        leader_epoch: i32 [0+],
        start_offset: i64 [0+],
        delivery_complete_count: i32 [1+, ignorable] = -1,
    }
}
