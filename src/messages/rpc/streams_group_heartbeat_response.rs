//! StreamsGroupHeartbeatResponse.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    StreamsGroupHeartbeatResponse: 0-0, flexible 0 {
        throttle_time_ms: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+],
        member_id: StrBytes [0+],
        member_epoch: i32 [0+],
        heartbeat_interval_ms: i32 [0+],
        acceptable_recovery_lag: i32 [0+],
        task_offset_interval_ms: i32 [0+],
        status: Option<Vec<Status>> [0+],
        active_tasks: Option<Vec<TaskIds>> [0+],
        standby_tasks: Option<Vec<TaskIds>> [0+],
        warmup_tasks: Option<Vec<TaskIds>> [0+],
        endpoint_information_epoch: i32 [0+],
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>> [0+],
    }
    Status {
        status_code: i8 [0+],
        status_detail: StrBytes [0+],
    }
    TaskIds {
        subtopology_id: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }
    EndpointToPartitions {
        user_endpoint: Endpoint [0+],
        active_partitions: Vec<TopicPartition> [0+],
        standby_partitions: Vec<TopicPartition> [0+],
    }
    Endpoint {
        host: StrBytes [0+],
        port: u16 [0+],
    }
    TopicPartition {
        topic: StrBytes [0+],
        partitions: Vec<i32> [0+],
    }
}
