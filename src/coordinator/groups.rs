//! The group coordinator on this broker: which partition of `__consumer_offsets` keeps a group, and the runtime over
//! those that are led here. It follows the metadata: partitions come and go, and deleted topics take their committed
//! offsets with them.
//!
//! Called by `api`; what is decided about a group is decided in [`group`](super::group).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::group::{self, Machine, Request, Response, client_error};
use super::partition_for;
use super::runtime::{self, Answer, Runtime};
use crate::clock::Clock;
use crate::config::Settings;
use crate::error_code::ErrorCode;
use crate::ids::{NodeId, PartitionIndex, TopicId};
use crate::metadata::{CONSUMER_OFFSETS, Delta, Image, MetadataListener};
use crate::record::Compression;
use crate::record::compress::Codec;
use crate::replica::Partition;

/// Finds a replica on this broker.
pub type LookUp = Box<dyn Fn(TopicId, PartitionIndex) -> Option<Arc<Partition>> + Send + Sync>;

/// What a coordinator says, or the error that it cannot; now or when it can be told.
pub enum Said {
    Now(Result<Response, ErrorCode>),
    Later(Pin<Box<dyn Future<Output = Result<Response, ErrorCode>> + Send>>),
}

/// See the module.
pub struct GroupCoordinator {
    node: NodeId,
    /// How many partitions there are; the setting as long as the topic is not there.
    partitions: AtomicI32,
    /// Whether an image has been seen.
    started: AtomicBool,
    replicas: LookUp,
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
            commit_timeout: settings.offsets_commit_timeout(),
        };
        GroupCoordinator {
            node: settings.node_id(),
            partitions: AtomicI32::new(settings.offsets_topic_num_partitions()),
            started: AtomicBool::new(false),
            replicas,
            runtime: Runtime::start(Machine::new(group_config(settings)), config, clock),
        }
    }

    pub fn config(&self) -> &group::Config {
        self.runtime.machine().config()
    }

    /// The partition of `__consumer_offsets` that keeps the group.
    pub fn partition_for(&self, group: &str) -> PartitionIndex {
        PartitionIndex(partition_for(
            group,
            self.partitions.load(Ordering::Acquire),
        ))
    }

    /// Asks the coordinator of a group. Whatever changes has changed, in order, when this returns.
    pub fn ask(&self, group: &str, request: Request) -> Said {
        self.ask_partition(self.partition_for(group), request)
    }

    /// Asks all partitions that are led here.
    pub fn ask_all(&self, request: &Request) -> Vec<Said> {
        let partitions = self.runtime.partitions();
        partitions
            .into_iter()
            .map(|partition| self.ask_partition(partition, request.clone()))
            .collect()
    }

    fn ask_partition(&self, partition: PartitionIndex, request: Request) -> Said {
        match self.runtime.request(partition, request) {
            Ok(Answer::Now(response)) => Said::Now(Ok(response)),
            Ok(Answer::Later(response)) => {
                Said::Later(Box::pin(
                    async move { response.await.map_err(client_error) },
                ))
            }
            Err(unavailable) => Said::Now(Err(unavailable.code())),
        }
    }

    fn resign_all(&self) {
        self.runtime
            .partitions()
            .into_iter()
            .for_each(|index| self.runtime.resign(index));
    }

    /// Takes up and lays down partitions until they are those that the image gives to this broker.
    fn settle(&self, image: &Image) {
        let Some(topic) = image.topics().by_name(CONSUMER_OFFSETS) else {
            self.resign_all();
            return;
        };
        for (index, partition) in topic.indexed() {
            let led = (partition.leader == Some(self.node))
                .then(|| (self.replicas)(topic.id, index))
                .flatten();
            match led {
                Some(replica) => drop(self.runtime.lead(index, partition.leader_epoch, replica)),
                None => self.runtime.resign(index),
            }
        }
    }
}

impl MetadataListener for GroupCoordinator {
    /// Comes after the replicas have taken their roles.
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        let is_first = !self.started.swap(true, Ordering::AcqRel);
        if let Some(topic) = image.topics().by_name(CONSUMER_OFFSETS) {
            // Where a group is kept may not change while the broker runs; more partitions count after a restart.
            if is_first
                || delta
                    .topics
                    .get(&topic.id)
                    .is_some_and(|changed| changed.created)
            {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                self.partitions.store(count, Ordering::Release);
            }
        }
        let is_deleted = delta
            .deleted
            .values()
            .any(|topic| &*topic.name == CONSUMER_OFFSETS);
        if is_deleted {
            // Also when it was created anew at once: its partitions begin at the same epochs with other logs.
            self.resign_all();
        }
        let is_changed = delta
            .topics
            .values()
            .any(|topic| &*topic.name == CONSUMER_OFFSETS);
        if is_first || is_changed || is_deleted {
            self.settle(image);
        }
        let deleted: Vec<Arc<str>> = delta
            .deleted
            .values()
            .map(|topic| topic.name.clone())
            .collect();
        if !deleted.is_empty() {
            self.ask_all(&Request::TopicsDeleted(deleted.into()));
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
