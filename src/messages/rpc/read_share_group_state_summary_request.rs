//! ReadShareGroupStateSummaryRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ReadShareGroupStateSummaryRequest: 0-1, flexible 0 {
        group_id: StrBytes [0+],
        topics: Vec<ReadStateSummaryData> [0+],
    }
    ReadStateSummaryData {
        topic_id: Uuid [0+],
        partitions: Vec<PartitionData> [0+],
    }
    PartitionData {
        partition: i32 [0+],
        leader_epoch: i32 [0+],
    }
}
