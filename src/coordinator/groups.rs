//! The group coordinator on this broker: which partition of `__consumer_offsets` keeps a group, and the runtime over
//! those that are led here. It follows the metadata: partitions come and go, and deleted topics take their committed
//! offsets with them.
//!
//! Called by `api`; what is decided about a group is decided in [`group`](super::group).

use std::sync::Arc;

use super::group::{self, Machine, Request, Response};
use super::markers::Marker;
use super::runtime::{self, Runtime, Said};
use super::topic::{CoordinatorTopic, LookUp};
use crate::clock::Clock;
use crate::config::Settings;
use crate::ids::PartitionIndex;
use crate::metadata::{CONSUMER_OFFSETS, Delta, Image, MetadataListener};
use crate::record::Compression;
use crate::record::compress::Codec;
use crate::replica::Partition;

/// See the module.
pub struct GroupCoordinator {
    topic: CoordinatorTopic,
    runtime: Arc<Runtime<Machine, Partition>>,
}

impl GroupCoordinator {
    /// The coordinator of a broker with these settings; it leads nothing until an image says so.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn start(settings: &Settings, clock: Clock, replicas: LookUp) -> GroupCoordinator {
        let config = runtime::Config {
            codec: codec(settings.int("offsets.topic.compression.codec")),
            base_sequence: 0,
            commit_timeout: settings.offsets_commit_timeout(),
            load_bytes: usize::try_from(settings.int("offsets.load.buffer.size")).unwrap_or(1),
        };
        let partitions = settings.offsets_topic_num_partitions();
        GroupCoordinator {
            topic: CoordinatorTopic::new(
                CONSUMER_OFFSETS,
                settings.node_id(),
                partitions,
                replicas,
            ),
            runtime: Runtime::start(Machine::new(group_config(settings)), config, clock),
        }
    }

    pub fn config(&self) -> &group::Config {
        self.runtime.machine().config()
    }

    /// The partition of `__consumer_offsets` that keeps the group.
    pub fn partition_for(&self, group: &str) -> PartitionIndex {
        self.topic.partition_for(group)
    }

    /// Asks the coordinator of a group. Whatever changes has changed, in order, when this returns.
    pub fn ask(&self, group: &str, request: Request) -> Said<Response> {
        self.ask_partition(self.partition_for(group), request)
    }

    /// Asks all partitions that are led here.
    pub fn ask_all(&self, request: &Request) -> Vec<Said<Response>> {
        let partitions = self.runtime.partitions();
        partitions
            .into_iter()
            .map(|partition| self.ask_partition(partition, request.clone()))
            .collect()
    }

    /// Ends a transaction in a partition of `__consumer_offsets`: what was committed within counts now, or is dropped.
    pub(super) fn end_transaction(&self, partition: PartitionIndex, marker: &Marker) -> Said<()> {
        self.runtime.end_transaction(partition, marker)
    }

    fn ask_partition(&self, partition: PartitionIndex, request: Request) -> Said<Response> {
        Said::of(self.runtime.request(partition, request))
    }
}

impl MetadataListener for GroupCoordinator {
    /// Comes after the replicas have taken their roles.
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        self.topic.follow(&self.runtime, image, delta);
        let deleted: Vec<Arc<str>> = delta
            .deleted
            .values()
            .map(|topic| topic.name.clone())
            .collect();
        if !deleted.is_empty() {
            self.runtime
                .tell_all(&Request::TopicsDeleted(deleted.into()));
        }
    }
}

fn group_config(settings: &Settings) -> group::Config {
    let millis =
        |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    group::Config {
        initial_rebalance_delay_ms: millis(settings.group_initial_rebalance_delay()),
        min_session_timeout_ms: settings.group_min_session_timeout_ms(),
        max_session_timeout_ms: settings.group_max_session_timeout_ms(),
        max_size: usize::try_from(settings.group_max_size()).unwrap_or(1),
        offset_metadata_max_units: usize::try_from(settings.offset_metadata_max_bytes())
            .unwrap_or(0),
        retention_ms: i64::from(settings.offsets_retention_minutes()) * 60_000,
        retention_check_interval_ms: millis(settings.offsets_retention_check_interval()),
    }
}

/// By the number of `offsets.topic.compression.codec`.
fn codec(number: i32) -> Codec {
    Codec::of(match number {
        1 => Compression::Gzip,
        2 => Compression::Snappy,
        3 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => Compression::None,
    })
}
