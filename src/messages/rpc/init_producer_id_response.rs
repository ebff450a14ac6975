//! InitProducerIdResponse.

use crate::messages::define::messages;

messages! {
    InitProducerIdResponse: 0-6, flexible 2 {
        throttle_time_ms: i32 [0+, ignorable],
        error_code: i16 [0+],
        producer_id: i64 [0+] = -1,
        producer_epoch: i16 [0+],
        ongoing_txn_producer_id: i64 [6+] = -1,
        ongoing_txn_producer_epoch: i16 [6+] = -1,
    }
}
