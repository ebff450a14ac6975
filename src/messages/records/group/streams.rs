//! Streams groups (KIP-1071).

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    StreamsGroupMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    StreamsGroupMetadataValue: 0-0, flexible 0 {
        epoch: i32 [0+],
        metadata_hash: i64 [0+],
        validated_topology_epoch: i32 [0+, tag 0] = -1,
        last_assignment_configs: Option<Vec<LastAssignmentConfig>> [0+, tag 1] = Some(Vec::new()),
    }
    LastAssignmentConfig {
        key: StrBytes [0+],
        value: StrBytes [0+],
    }

    StreamsGroupMemberMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    StreamsGroupMemberMetadataValue: 0-0, flexible 0 {
        instance_id: Option<StrBytes> [0+],
        rack_id: Option<StrBytes> [0+],
        client_id: StrBytes [0+],
        client_host: StrBytes [0+],
        rebalance_timeout_ms: i32 [0+] = -1,
        topology_epoch: i32 [0+],
        process_id: StrBytes [0+],
        user_endpoint: Option<Endpoint> [0+],
        client_tags: Vec<KeyValue> [0+],
    }
    Endpoint {
        host: StrBytes [0+],
        port: u16 [0+],
    }
    KeyValue {
        key: StrBytes [0+],
        value: StrBytes [0+],
    }

    StreamsGroupTargetAssignmentMetadataKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    StreamsGroupTargetAssignmentMetadataValue: 0-0, flexible 0 {
        assignment_epoch: i32 [0+],
        assignment_timestamp: i64 [0+, tag 0, ignorable],
    }

    StreamsGroupTargetAssignmentMemberKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    StreamsGroupTargetAssignmentMemberValue: 0-0, flexible 0 {
        active_tasks: Vec<TaskIds> [0+],
        standby_tasks: Vec<TaskIds> [0+],
        warmup_tasks: Vec<TaskIds> [0+],
    }
    TaskIds {
        subtopology_id: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }

    StreamsGroupCurrentMemberAssignmentKey: 0-0, flexible never {
        group_id: StrBytes [0+],
        member_id: StrBytes [0+],
    }

    StreamsGroupCurrentMemberAssignmentValue: 0-0, flexible 0 {
        member_epoch: i32 [0+],
        previous_member_epoch: i32 [0+],
        state: i8 [0+],
        active_tasks: Vec<AssignedTaskIds> [0+],
        standby_tasks: Vec<AssignedTaskIds> [0+],
        warmup_tasks: Vec<AssignedTaskIds> [0+],
        active_tasks_pending_revocation: Vec<AssignedTaskIds> [0+],
        standby_tasks_pending_revocation: Vec<AssignedTaskIds> [0+],
        warmup_tasks_pending_revocation: Vec<AssignedTaskIds> [0+],
    }
    AssignedTaskIds {
        subtopology_id: StrBytes [0+],
        partitions: Vec<i32> [0+],
        assignment_epochs: Option<Vec<i32>> [0+, tag 0] = Some(Vec::new()),
    }

    StreamsGroupTopologyKey: 0-0, flexible never {
        group_id: StrBytes [0+],
    }

    StreamsGroupTopologyValue: 0-0, flexible 0 {
        epoch: i32 [0+],
        subtopologies: Vec<Subtopology> [0+],
    }
    Subtopology {
        subtopology_id: StrBytes [0+],
        source_topics: Vec<StrBytes> [0+],
        source_topic_regex: Vec<StrBytes> [0+],
        state_changelog_topics: Vec<TopicInfo> [0+],
        repartition_sink_topics: Vec<StrBytes> [0+],
        repartition_source_topics: Vec<TopicInfo> [0+],
        copartition_groups: Vec<CopartitionGroup> [0+],
    }
    TopicInfo {
        name: StrBytes [0+],
        partitions: i32 [0+],
        replication_factor: i16 [0+],
        topic_configs: Vec<TopicConfig> [0+],
    }
    CopartitionGroup {
        source_topics: Vec<i16> [0+],
        source_topic_regex: Vec<i16> [0+],
        repartition_source_topics: Vec<i16> [0+],
    }
    TopicConfig {
        key: StrBytes [0+],
        value: StrBytes [0+],
    }
}
