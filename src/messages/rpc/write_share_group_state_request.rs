//! WriteShareGroupStateRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    WriteShareGroupStateRequest: 0-1, flexible 0 {
        group_id: StrBytes [0+],
        topics: Vec<WriteStateData> [0+],
    }
    WriteStateData {
        topic_id: Uuid [0+],
        partitions: Vec<PartitionData> [0+],
    }
    PartitionData {
        partition: i32 [0+],
        state_epoch: i32 [0+],
        leader_epoch: i32 [0+],
        start_offset: i64 [0+],
        delivery_complete_count: i32 [1+, ignorable] = -1,
        state_batches: Vec<StateBatch> [0+],
    }
    StateBatch {
        first_offset: i64 [0+],
        last_offset: i64 [0+],
        delivery_state: i8 [0+],
        delivery_count: i16 [0+],
    }
}
