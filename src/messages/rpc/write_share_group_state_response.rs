//! WriteShareGroupStateResponse.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    WriteShareGroupStateResponse: 0-1, flexible 0 {
        results: Vec<WriteStateResult> [0+],
    }
    WriteStateResult {
        topic_id: Uuid [0+],
        partitions: Vec<PartitionResult> [0+],
    }
    PartitionResult {
        partition: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
    }
}
