//! WriteTxnMarkersRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    WriteTxnMarkersRequest: 1-2, flexible 0 {
        markers: Vec<WritableTxnMarker> [0+],
    }
    WritableTxnMarker {
        producer_id: i64 [0+],
        producer_epoch: i16 [0+],
        transaction_result: bool [0+],
        topics: Vec<WritableTxnMarkerTopic> [0+],
        coordinator_epoch: i32 [0+],
        transaction_version: i8 [2+, ignorable],
    }
    WritableTxnMarkerTopic {
        name: StrBytes [0+],
        partition_indexes: Vec<i32> [0+],
    }
}
