//! Classic groups and committed offsets of every kind of group.

use bytes::Bytes;
use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    LegacyOffsetCommitKey: 0-0, flexible never {
        group: StrBytes [0+],
        topic: StrBytes [0+],
        partition: i32 [0+],
    }

    LegacyOffsetCommitValue: 0-0, flexible never {
        offset: i64 [0+],
        metadata: StrBytes [0+],
        commit_timestamp: i64 [0+],
    }

    OffsetCommitKey: 0-0, flexible never {
        group: StrBytes [0+],
        topic: StrBytes [0+],
        partition: i32 [0+],
    }

    OffsetCommitValue: 0-4, flexible 4 {
        offset: i64 [0+],
        leader_epoch: i32 [3+, ignorable] = -1,
        metadata: StrBytes [0+],
        commit_timestamp: i64 [0+],
        expire_timestamp: i64 [1, ignorable] = -1,
        topic_id: Uuid [4+, tag 0, ignorable],
    }

    GroupMetadataKey: 0-0, flexible never {
        group: StrBytes [0+],
    }

    GroupMetadataValue: 0-4, flexible 4 {
        protocol_type: StrBytes [0+],
        generation: i32 [0+],
        protocol: Option<StrBytes> [0+],
        leader: Option<StrBytes> [0+],
        current_state_timestamp: i64 [2+, ignorable] = -1,
        members: Vec<MemberMetadata> [0+],
    }
    MemberMetadata {
        member_id: StrBytes [0+],
        group_instance_id: Option<StrBytes> [3+, ignorable],
        client_id: StrBytes [0+],
        client_host: StrBytes [0+],
        rebalance_timeout: i32 [1+, ignorable] = -1,
        session_timeout: i32 [0+],
        subscription: Bytes [0+],
        assignment: Bytes [0+],
    }
}
