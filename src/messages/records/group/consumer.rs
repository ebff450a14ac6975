//! Consumer groups (KIP-848).

use bytes::Bytes;
use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ConsumerGroupMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ConsumerGroupMetadataValue: 0-0, flexible 0 {
        epoch: i32 [0+],
        metadata_hash: i64 [0+, tag 0],
    }

    ConsumerGroupPartitionMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ConsumerGroupPartitionMetadataValue: 0-0, flexible 0 {
        topics: Vec<TopicMetadata> [0+],
    }
    TopicMetadata {
        topic_id: Uuid [0+],
        topic_name: StrBytes [0+],
        num_partitions: i32 [0+],
        partition_metadata: Vec<PartitionMetadata> [0+],
    }
    PartitionMetadata {
        partition: i32 [0+],
        racks: Vec<StrBytes> [0+],
    }

    ConsumerGroupMemberMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ConsumerGroupMemberMetadataValue: 0-0, flexible 0 {
        instance_id: Option<StrBytes> [0+],
        rack_id: Option<StrBytes> [0+],
        client_id: StrBytes [0+],
        client_host: StrBytes [0+],
        subscribed_topic_names: Vec<StrBytes> [0+],
        subscribed_topic_regex: Option<StrBytes> [0+],
        rebalance_timeout_ms: i32 [0+] = -1,
        server_assignor: Option<StrBytes> [0+],
        /// The default is not null but an empty struct: a member of the new protocol says `None`.
        classic_member_metadata: Option<ClassicMemberMetadata> [0+, tag 0] = Some(ClassicMemberMetadata::default()),
    }
    ClassicMemberMetadata {
        session_timeout_ms: i32 [0+],
        supported_protocols: Vec<ClassicProtocol> [0+],
    }
    ClassicProtocol {
        name: StrBytes [0+],
        metadata: Bytes [0+],
    }

    ConsumerGroupTargetAssignmentMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    ConsumerGroupTargetAssignmentMetadataValue: 0-0, flexible 0 {
        assignment_epoch: i32 [0+],
        assignment_timestamp: i64 [0+, tag 0, ignorable],
    }

    ConsumerGroupTargetAssignmentMemberKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ConsumerGroupTargetAssignmentMemberValue: 0-0, flexible 0 {
        topic_partitions: Vec<TopicPartition> [0+],
    }
    TopicPartition {
        topic_id: Uuid [0+],
        partitions: Vec<i32> [0+],
    }

    ConsumerGroupCurrentMemberAssignmentKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    ConsumerGroupCurrentMemberAssignmentValue: 0-0, flexible 0 {
        member_epoch: i32 [0+],
        previous_member_epoch: i32 [0+],
        state: i8 [0+],
        assigned_partitions: Vec<TopicPartitions> [0+],
        partitions_pending_revocation: Vec<TopicPartitions> [0+],
    }
    TopicPartitions {
        topic_id: Uuid [0+],
        partitions: Vec<i32> [0+],
        assignment_epochs: Option<Vec<i32>> [0+, tag 0] = Some(Vec::new()),
    }

    ConsumerGroupRegularExpressionKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        regular_expression: StrBytes [0+],
    }

    ConsumerGroupRegularExpressionValue: 0-0, flexible 0 {
        topics: Vec<StrBytes> [0+],
        version: i64 [0+],
        timestamp: i64 [0+],
    }
}
