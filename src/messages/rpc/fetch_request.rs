//! FetchRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    FetchRequest: 4-18, flexible 12 {
        cluster_id: Option<StrBytes> [12+, tag 0, ignorable],
        replica_id: i32 [0-14] = -1,
        replica_state: ReplicaState [15+, tag 1],
        max_wait_ms: i32 [0+],
        min_bytes: i32 [0+],
        max_bytes: i32 [0+, ignorable] = i32::MAX,
        isolation_level: i8 [0+, ignorable],
        session_id: i32 [7+, ignorable],
        session_epoch: i32 [7+, ignorable] = -1,
        topics: Vec<FetchTopic> [0+],
        forgotten_topics_data: Vec<ForgottenTopic> [7+],
        rack_id: StrBytes [11+, ignorable],
    }
    ReplicaState {
        replica_id: i32 [15+] = -1,
        replica_epoch: i64 [15+] = -1,
    }
    FetchTopic {
        topic: StrBytes [0-12, ignorable],
        topic_id: Uuid [13+, ignorable],
        partitions: Vec<FetchPartition> [0+],
    }
    FetchPartition {
        partition: i32 [0+],
        current_leader_epoch: i32 [9+, ignorable] = -1,
        fetch_offset: i64 [0+],
        last_fetched_epoch: i32 [12+] = -1,
        log_start_offset: i64 [5+, ignorable] = -1,
        partition_max_bytes: i32 [0+],
        replica_directory_id: Uuid [17+, tag 0, ignorable],
        high_watermark: i64 [18+, tag 1, ignorable] = i64::MAX,
    }
    ForgottenTopic {
        topic: StrBytes [7-12, ignorable],
        topic_id: Uuid [13+, ignorable],
        partitions: Vec<i32> [7+],
    }
}
