//! OffsetCommitRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    OffsetCommitRequest: 2-10, flexible 8 {
        group_id: StrBytes [0+],
        generation_id_or_member_epoch: i32 [0+, ignorable] = -1,
        member_id: StrBytes [0+, ignorable],
        group_instance_id: Option<StrBytes> [7+],
        retention_time_ms: i64 [0-4, ignorable] = -1,
        topics: Vec<OffsetCommitRequestTopic> [0+],
    }
    OffsetCommitRequestTopic {
        name: StrBytes [0-9, ignorable],
        topic_id: Uuid [10+, ignorable],
        partitions: Vec<OffsetCommitRequestPartition> [0+],
    }
    OffsetCommitRequestPartition {
        partition_index: i32 [0+],
        committed_offset: i64 [0+],
        committed_leader_epoch: i32 [6+, ignorable] = -1,
        committed_metadata: Option<StrBytes> [0+],
    }
}
