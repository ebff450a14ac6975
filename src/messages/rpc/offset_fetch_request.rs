//! OffsetFetchRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    OffsetFetchRequest: 1-10, flexible 6 {
        group_id: StrBytes [0-7],
        topics: Option<Vec<OffsetFetchRequestTopic>> [0-7],
        groups: Vec<OffsetFetchRequestGroup> [8+],
        require_stable: bool [7+],
    }
    OffsetFetchRequestTopic {
        name: StrBytes [0-7],
        partition_indexes: Vec<i32> [0-7],
    }
    OffsetFetchRequestGroup {
        group_id: StrBytes [8+],
        member_id: Option<StrBytes> [9+, ignorable],
        member_epoch: i32 [9+, ignorable] = -1,
        topics: Option<Vec<OffsetFetchRequestTopics>> [8+],
    }
    OffsetFetchRequestTopics {
        name: StrBytes [8-9, ignorable],
        topic_id: Uuid [10+, ignorable],
        partition_indexes: Vec<i32> [8+],
    }
}
