//! InitProducerIdRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    InitProducerIdRequest: 0-6, flexible 2 {
        transactional_id: Option<StrBytes> [0+],
        transaction_timeout_ms: i32 [0+],
        producer_id: i64 [3+] = -1,
        producer_epoch: i16 [3+] = -1,
        enable2_pc: bool [6+],
        keep_prepared_txn: bool [6+],
    }
}
