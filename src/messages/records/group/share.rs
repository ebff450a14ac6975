//! Share groups (KIP-932).

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ShareGroupMemberMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ShareGroupMemberMetadataValue: 0-0, flexible 0 {
        rack_id: Option<StrBytes> [0+],
        client_id: StrBytes [0+],
        client_host: StrBytes [0+],
        subscribed_topic_names: Vec<StrBytes> [0+],
    }

    ShareGroupMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ShareGroupMetadataValue: 0-0, flexible 0 {
        epoch: i32 [0+],
        metadata_hash: i64 [0+],
    }

    ShareGroupTargetAssignmentMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ShareGroupTargetAssignmentMetadataValue: 0-0, flexible 0 {
        assignment_epoch: i32 [0+],
        assignment_timestamp: i64 [0+, tag 0, ignorable],
    }

    ShareGroupTargetAssignmentMemberKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ShareGroupTargetAssignmentMemberValue: 0-0, flexible 0 {
        topic_partitions: Vec<TopicPartition> [0+],
    }
    TopicPartition {
        topic_id: Uuid [0+],
        partitions: Vec<i32> [0+],
    }

    ShareGroupCurrentMemberAssignmentKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ShareGroupCurrentMemberAssignmentValue: 0-0, flexible 0 {
        member_epoch: i32 [0+],
        previous_member_epoch: i32 [0+],
        state: i8 [0+],
        assigned_partitions: Vec<TopicPartitions> [0+],
    }
    TopicPartitions {
        topic_id: Uuid [0+],
        partitions: Vec<i32> [0+],
    }

    ShareGroupStatePartitionMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ShareGroupStatePartitionMetadataValue: 0-0, flexible 0 {
        initializing_topics: Vec<TopicPartitionsInfo> [0+],
        initialized_topics: Vec<TopicPartitionsInfo> [0+],
        deleting_topics: Vec<TopicInfo> [0+],
    }
    TopicPartitionsInfo {
        topic_id: Uuid [0+],
        topic_name: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }
    TopicInfo {
        topic_id: Uuid [0+],
        topic_name: StrBytes [0+],
    }
}
