//! The settings that the program reads, as methods: name and type of each are checked by the compiler.

use std::time::Duration;

use super::broker_keys::BROKER_KEYS;
use super::key::{self, Kind};
use super::settings::Settings;
use super::value::Value;

/// One line for each setting that is read in the program: its type, the method's name, the setting. `_ms` types are
/// milliseconds given as a Duration; what is negative counts as zero.
macro_rules! getters {
    ($($(#[$doc:meta])* $kind:ident $method:ident $name:literal;)*) => {
        impl Settings {
            $(getters!(@ $kind $(#[$doc])* #[doc = concat!("`", $name, "`")] $method $name);)*
        }
    };
    (@ boolean $($rest:tt)*) => { getters!(@ Boolean bool, *, $($rest)*); };
    (@ short $($rest:tt)*) => { getters!(@ Short i16, *, $($rest)*); };
    (@ int $($rest:tt)*) => { getters!(@ Int i32, *, $($rest)*); };
    (@ long $($rest:tt)*) => { getters!(@ Long i64, *, $($rest)*); };
    (@ int_ms $($rest:tt)*) => { getters!(@ Int Duration, millis, $($rest)*); };
    (@ long_ms $($rest:tt)*) => { getters!(@ Long Duration, millis, $($rest)*); };
    (@ $kind:ident $type:ty, $read:tt, $(#[$doc:meta])* $method:ident $name:literal) => {
        $(#[$doc])*
        pub fn $method(&self) -> $type {
            const AT: usize = key::index_of(BROKER_KEYS, Kind::$kind, $name);
            match &self.values[AT] {
                Some(Value::$kind(value)) => getters!(@@ $read value),
                other => unreachable!("{} is {other:?}", $name),
            }
        }
    };
    (@@ * $value:ident) => { *$value };
    (@@ millis $value:ident) => { Duration::from_millis(u64::try_from(*$value).unwrap_or(0)) };
}

getters! {
    boolean auto_create_topics_enable "auto.create.topics.enable";
    boolean delete_topic_enable "delete.topic.enable";
    boolean controlled_shutdown_enable "controlled.shutdown.enable";
    boolean unstable_api_versions_enable "unstable.api.versions.enable";
    int num_partitions "num.partitions";
    int default_replication_factor "default.replication.factor";
    int min_insync_replicas "min.insync.replicas";
    int socket_request_max_bytes "socket.request.max.bytes";
    int socket_send_buffer_bytes "socket.send.buffer.bytes";
    int socket_receive_buffer_bytes "socket.receive.buffer.bytes";
    int socket_listen_backlog_size "socket.listen.backlog.size";
    long queued_max_request_bytes "queued.max.request.bytes";
    int max_connections "max.connections";
    int max_connections_per_ip "max.connections.per.ip";
    /// Negative: for ever.
    long connections_max_idle_ms "connections.max.idle.ms";
    int fetch_max_bytes "fetch.max.bytes";
    int max_incremental_fetch_session_cache_slots "max.incremental.fetch.session.cache.slots";
    int max_request_partition_size_limit "max.request.partition.size.limit";
    int message_max_bytes "message.max.bytes";
    int num_recovery_threads_per_data_dir "num.recovery.threads.per.data.dir";
    int num_network_threads "num.network.threads";
    int num_io_threads "num.io.threads";
    int background_threads "background.threads";
    long_ms log_retention_check_interval "log.retention.check.interval.ms";
    int_ms log_flush_offset_checkpoint_interval "log.flush.offset.checkpoint.interval.ms";
    int_ms log_flush_start_offset_checkpoint_interval "log.flush.start.offset.checkpoint.interval.ms";
    long_ms replica_high_watermark_checkpoint_interval "replica.high.watermark.checkpoint.interval.ms";
    int_ms producer_id_expiration "producer.id.expiration.ms";
    int_ms broker_heartbeat_interval "broker.heartbeat.interval.ms";
    int_ms broker_session_timeout "broker.session.timeout.ms";
    int_ms controller_quorum_election_timeout "controller.quorum.election.timeout.ms";
    int_ms controller_quorum_fetch_timeout "controller.quorum.fetch.timeout.ms";
    int_ms controller_quorum_request_timeout "controller.quorum.request.timeout.ms";
    int metadata_log_segment_bytes "metadata.log.segment.bytes";
    long metadata_log_max_record_bytes_between_snapshots "metadata.log.max.record.bytes.between.snapshots";
    long_ms metadata_log_max_snapshot_interval "metadata.log.max.snapshot.interval.ms";
    int_ms metadata_max_idle_interval "metadata.max.idle.interval.ms";
    int group_min_session_timeout_ms "group.min.session.timeout.ms";
    int group_max_session_timeout_ms "group.max.session.timeout.ms";
    int_ms group_initial_rebalance_delay "group.initial.rebalance.delay.ms";
    int group_max_size "group.max.size";
    int offset_metadata_max_bytes "offset.metadata.max.bytes";
    int_ms offsets_commit_timeout "offsets.commit.timeout.ms";
    long_ms offsets_retention_check_interval "offsets.retention.check.interval.ms";
    int offsets_retention_minutes "offsets.retention.minutes";
    int offsets_topic_num_partitions "offsets.topic.num.partitions";
    short offsets_topic_replication_factor "offsets.topic.replication.factor";
    int offsets_topic_segment_bytes "offsets.topic.segment.bytes";
    int transaction_state_log_num_partitions "transaction.state.log.num.partitions";
    short transaction_state_log_replication_factor "transaction.state.log.replication.factor";
    int transaction_state_log_min_isr "transaction.state.log.min.isr";
    int transaction_state_log_segment_bytes "transaction.state.log.segment.bytes";
    int transaction_max_timeout_ms "transaction.max.timeout.ms";
}
