//! `__transaction_state`: what a transaction coordinator keeps (reference: internal-records.md, section 3).

use crate::messages::StrBytes;
use crate::messages::define::messages;
use crate::messages::records::coordinator::coordinator_records;

messages! {
    TransactionLogKey: 0-0, flexible never {
        transactional_id: StrBytes [0+],
    }

    TransactionLogValue: 0-1, flexible 1 {
        producer_id: i64 [0+],
        previous_producer_id: i64 [1+, tag 0] = -1,
        next_producer_id: i64 [1+, tag 1] = -1,
        producer_epoch: i16 [0+],
        next_producer_epoch: i16 [1+, tag 3] = -1,
        transaction_timeout_ms: i32 [0+],
        transaction_status: i8 [0+],
        transaction_partitions: Option<Vec<PartitionsSchema>> [0+],
        transaction_last_update_timestamp_ms: i64 [0+],
        transaction_start_timestamp_ms: i64 [0+],
        client_transaction_version: i16 [1+, tag 2],
    }
    PartitionsSchema {
        topic: StrBytes [0+],
        partition_ids: Vec<i32> [0+],
    }
}

coordinator_records! {
    /// One record of `__transaction_state`.
    TransactionRecord {
        0 TransactionLog(TransactionLogKey, TransactionLogValue),
    }
}
