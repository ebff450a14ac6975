//! ShareFetchRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ShareFetchRequest: 1-2, flexible 0 {
        group_id: Option<StrBytes> [0+],
        member_id: Option<StrBytes> [0+],
        share_session_epoch: i32 [0+],
        max_wait_ms: i32 [0+],
        min_bytes: i32 [0+],
        max_bytes: i32 [0+] = i32::MAX,
        max_records: i32 [0+],
        batch_size: i32 [0+],
        share_acquire_mode: i8 [2+, ignorable],
        is_renew_ack: bool [2+],
        topics: Vec<FetchTopic> [0+],
        forgotten_topics_data: Vec<ForgottenTopic> [0+],
    }
    FetchTopic {
        topic_id: Uuid [0+],
        partitions: Vec<FetchPartition> [0+],
    }
    FetchPartition {
        partition_index: i32 [0+],
        partition_max_bytes: i32 [0],
        acknowledgement_batches: Vec<AcknowledgementBatch> [0+],
    }
    AcknowledgementBatch {
        first_offset: i64 [0+],
        last_offset: i64 [0+],
        acknowledge_types: Vec<i8> [0+],
    }
    ForgottenTopic {
        topic_id: Uuid [0+],
        partitions: Vec<i32> [0+],
    }
}
