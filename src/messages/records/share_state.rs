//! `__share_group_state`: delivery state of share partitions (reference: internal-records.md, section 4).

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;
use crate::messages::records::coordinator::coordinator_records;

messages! {
    ShareSnapshotKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        topic_id: Uuid [0+],
        partition: i32 [0+],
    }

    ShareSnapshotValue: 0-0, flexible 0 {
        snapshot_epoch: i32 [0+],
        state_epoch: i32 [0+],
        leader_epoch: i32 [0+],
        start_offset: i64 [0+],
        delivery_complete_count: i32 [0+, tag 0] = -1,
        create_timestamp: i64 [0+],
        write_timestamp: i64 [0+],
        state_batches: Vec<StateBatch> [0+],
    }
    StateBatch {
        first_offset: i64 [0+],
        last_offset: i64 [0+],
        delivery_state: i8 [0+],
        delivery_count: i16 [0+],
    }

    ShareUpdateKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        topic_id: Uuid [0+],
        partition: i32 [0+],
    }

    ShareUpdateValue: 0-0, flexible 0 {
        snapshot_epoch: i32 [0+],
        leader_epoch: i32 [0+],
        start_offset: i64 [0+],
        delivery_complete_count: i32 [0+, tag 0] = -1,
        state_batches: Vec<StateBatch> [0+],
    }
}

coordinator_records! {
    /// One record of `__share_group_state`.
    ShareStateRecord {
        0 ShareSnapshot(ShareSnapshotKey, ShareSnapshotValue),
        1 ShareUpdate(ShareUpdateKey, ShareUpdateValue),
    }
}
