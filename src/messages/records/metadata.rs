//! The records of `__cluster_metadata` and of its snapshots (reference: internal-records.md, section 5). Their frame is
//! in `frame.rs`. Who uses them: `metadata::Image` and `controller::machine`.

use bytes::Bytes;
use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    RegisterBrokerRecord: 0-4, flexible 0 {
        broker_id: i32 [0+],
        is_migrating_zk_broker: bool [2+],
        incarnation_id: Uuid [0+],
        broker_epoch: i64 [0+],
        end_points: Vec<BrokerEndpoint> [0+],
        features: Vec<BrokerFeature> [0+],
        rack: Option<StrBytes> [0+],
        fenced: bool [0+] = true,
        in_controlled_shutdown: bool [1+],
        log_dirs: Vec<Uuid> [3+, tag 0],
        cordoned_log_dirs: Option<Vec<Uuid>> [4+, tag 1],
    }
    BrokerEndpoint {
        name: StrBytes [0+],
        host: StrBytes [0+],
        port: u16 [0+],
        security_protocol: i16 [0+],
    }
    BrokerFeature {
        name: StrBytes [0+],
        min_supported_version: i16 [0+],
        max_supported_version: i16 [0+],
    }

    UnregisterBrokerRecord: 0-0, flexible 0 {
        broker_id: i32 [0+],
        broker_epoch: i64 [0+],
    }

    TopicRecord: 0-0, flexible 0 {
        name: StrBytes [0+],
        topic_id: Uuid [0+],
    }

    PartitionRecord: 0-2, flexible 0 {
        partition_id: i32 [0+] = -1,
        topic_id: Uuid [0+],
        replicas: Vec<i32> [0+],
        isr: Vec<i32> [0+],
        removing_replicas: Vec<i32> [0+],
        adding_replicas: Vec<i32> [0+],
        leader: i32 [0+] = -1,
        leader_recovery_state: i8 [0+, tag 0],
        leader_epoch: i32 [0+] = -1,
        partition_epoch: i32 [0+] = -1,
        directories: Vec<Uuid> [1+],
        eligible_leader_replicas: Option<Vec<i32>> [2+, tag 1],
        last_known_elr: Option<Vec<i32>> [2+, tag 2],
    }

    ConfigRecord: 0-0, flexible 0 {
        resource_type: i8 [0+],
        resource_name: StrBytes [0+],
        name: StrBytes [0+],
        value: Option<StrBytes> [0+],
    }

    PartitionChangeRecord: 0-2, flexible 0 {
        partition_id: i32 [0+] = -1,
        topic_id: Uuid [0+],
        isr: Option<Vec<i32>> [0+, tag 0],
        leader: i32 [0+, tag 1] = -2,
        replicas: Option<Vec<i32>> [0+, tag 2],
        removing_replicas: Option<Vec<i32>> [0+, tag 3],
        adding_replicas: Option<Vec<i32>> [0+, tag 4],
        leader_recovery_state: i8 [0+, tag 5] = -1,
        directories: Option<Vec<Uuid>> [1+, tag 8],
        eligible_leader_replicas: Option<Vec<i32>> [2+, tag 6],
        last_known_elr: Option<Vec<i32>> [2+, tag 7],
    }

    FenceBrokerRecord: 0-0, flexible 0 {
        id: i32 [0+],
        epoch: i64 [0+],
    }

    UnfenceBrokerRecord: 0-0, flexible 0 {
        id: i32 [0+],
        epoch: i64 [0+],
    }

    RemoveTopicRecord: 0-0, flexible 0 {
        topic_id: Uuid [0+],
    }

    DelegationTokenRecord: 0-0, flexible 0 {
        owner: StrBytes [0+],
        requester: StrBytes [0+],
        renewers: Vec<StrBytes> [0+],
        issue_timestamp: i64 [0+],
        max_timestamp: i64 [0+],
        expiration_timestamp: i64 [0+],
        token_id: StrBytes [0+],
    }

    UserScramCredentialRecord: 0-0, flexible 0 {
        name: StrBytes [0+],
        mechanism: i8 [0+],
        salt: Bytes [0+],
        stored_key: Bytes [0+],
        server_key: Bytes [0+],
        iterations: i32 [0+],
    }

    FeatureLevelRecord: 0-0, flexible 0 {
        name: StrBytes [0+],
        feature_level: i16 [0+],
    }

    ClientQuotaRecord: 0-0, flexible 0 {
        entity: Vec<EntityData> [0+],
        key: StrBytes [0+],
        value: f64 [0+],
        remove: bool [0+],
    }
    EntityData {
        entity_type: StrBytes [0+],
        entity_name: Option<StrBytes> [0+],
    }

    ProducerIdsRecord: 0-0, flexible 0 {
        broker_id: i32 [0+],
        broker_epoch: i64 [0+] = -1,
        next_producer_id: i64 [0+],
    }

    BrokerRegistrationChangeRecord: 0-3, flexible 0 {
        broker_id: i32 [0+],
        broker_epoch: i64 [0+],
        fenced: i8 [0+, tag 0],
        in_controlled_shutdown: i8 [1+, tag 1],
        log_dirs: Vec<Uuid> [2+, tag 2],
        cordoned_log_dirs: Option<Vec<Uuid>> [3+, tag 3],
    }

    AccessControlEntryRecord: 0-0, flexible 0 {
        id: Uuid [0+],
        resource_type: i8 [0+],
        resource_name: StrBytes [0+],
        pattern_type: i8 [0+],
        principal: StrBytes [0+],
        host: StrBytes [0+],
        operation: i8 [0+],
        permission_type: i8 [0+],
    }

    RemoveAccessControlEntryRecord: 0-0, flexible 0 {
        id: Uuid [0+],
    }

    NoOpRecord: 0-0, flexible 0 {}

    ZkMigrationStateRecord: 0-0, flexible 0 {
        zk_migration_state: i8 [0+],
    }

    RemoveUserScramCredentialRecord: 0-0, flexible 0 {
        name: StrBytes [0+],
        mechanism: i8 [0+],
    }

    BeginTransactionRecord: 0-0, flexible 0 {
        name: Option<StrBytes> [0+, tag 0],
    }

    EndTransactionRecord: 0-0, flexible 0 {}

    AbortTransactionRecord: 0-0, flexible 0 {
        reason: Option<StrBytes> [0+, tag 0],
    }

    RemoveDelegationTokenRecord: 0-0, flexible 0 {
        token_id: StrBytes [0+],
    }

    RegisterControllerRecord: 0-0, flexible 0 {
        controller_id: i32 [0+],
        incarnation_id: Uuid [0+],
        zk_migration_ready: bool [0+],
        end_points: Vec<ControllerEndpoint> [0+],
        features: Vec<ControllerFeature> [0+],
    }
    ControllerEndpoint {
        name: StrBytes [0+],
        host: StrBytes [0+],
        port: u16 [0+],
        security_protocol: i16 [0+],
    }
    ControllerFeature {
        name: StrBytes [0+],
        min_supported_version: i16 [0+],
        max_supported_version: i16 [0+],
    }

    ClearElrRecord: 0-0, flexible 0 {
        topic_name: StrBytes [0+],
    }
}
