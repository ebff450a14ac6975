//! WriteTxnMarkersResponse.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    WriteTxnMarkersResponse: 1-2, flexible 0 {
        markers: Vec<WritableTxnMarkerResult> [0+],
    }
    WritableTxnMarkerResult {
        producer_id: i64 [0+],
        topics: Vec<WritableTxnMarkerTopicResult> [0+],
    }
    WritableTxnMarkerTopicResult {
        name: StrBytes [0+],
        partitions: Vec<WritableTxnMarkerPartitionResult> [0+],
    }
    WritableTxnMarkerPartitionResult {
        partition_index: i32 [0+],
        error_code: i16 [0+],
    }
}
