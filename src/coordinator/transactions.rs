//! The transaction coordinator on this broker: which partition of `__transaction_state` keeps a transactional id, the
//! runtime over those that are led here, and for each of them one who has markers written.
//!
//! Called by `api`; what is decided about a transaction is decided in [`transaction`](super::transaction).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::markers::Markers;
use super::runtime::{self, Answer, Runtime, Said, Unavailable};
use super::topic::{CoordinatorTopic, LookUp};
use super::transaction::{Config, Machine, Request, Response};
use crate::clock::Clock;
use crate::config::Settings;
use crate::config::features::TRANSACTION_VERSION;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex};
use crate::metadata::{Delta, Image, MetadataListener, Published, TRANSACTION_STATE};
use crate::record::Compression;
use crate::record::batch::NO_SEQUENCE;
use crate::record::compress::Codec;
use crate::replica::Partition;

mod sender;

pub use sender::ProducerIdSource;
use sender::Sender;

/// See the module.
pub struct TransactionCoordinator {
    topic: CoordinatorTopic,
    runtime: Arc<Runtime<Machine, Partition>>,
    markers: Arc<Markers>,
    metadata: Arc<Published>,
    /// Those who have markers written, by partition.
    senders: Mutex<BTreeMap<PartitionIndex, (LeaderEpoch, AbortHandle)>>,
    producer_ids: Arc<std::sync::OnceLock<ProducerIdSource>>,
    tasks: Handle,
}

impl TransactionCoordinator {
    /// The coordinator of a broker with these settings; it leads nothing until an image says so.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn start(
        settings: &Settings,
        clock: Clock,
        metadata: Arc<Published>,
        markers: Arc<Markers>,
        replicas: LookUp,
    ) -> TransactionCoordinator {
        let config = runtime::Config {
            codec: Codec::of(Compression::None),
            base_sequence: NO_SEQUENCE,
            commit_timeout: Duration::from_millis(
                u64::try_from(settings.int("request.timeout.ms")).unwrap_or(0),
            ),
            load_bytes: usize::try_from(settings.int("transaction.state.log.load.buffer.size"))
                .unwrap_or(1),
        };
        let partitions = settings.transaction_state_log_num_partitions();
        TransactionCoordinator {
            topic: CoordinatorTopic::new(
                TRANSACTION_STATE,
                settings.node_id(),
                partitions,
                replicas,
            ),
            runtime: Runtime::start(Machine::new(machine_config(settings)), config, clock),
            markers,
            metadata,
            senders: Mutex::default(),
            producer_ids: Arc::default(),
            tasks: Handle::current(),
        }
    }

    /// Where producer ids come from, once the broker has registered.
    pub fn set_producer_ids(&self, source: ProducerIdSource) {
        // Told once, when the broker starts.
        let _ = self.producer_ids.set(source);
    }

    /// The partition of `__transaction_state` that keeps the transactional id.
    pub fn partition_for(&self, transactional_id: &str) -> PartitionIndex {
        self.topic.partition_for(transactional_id)
    }

    /// Asks the coordinator of a transactional id. Whatever changes has changed, in order, when this returns.
    pub fn ask(&self, transactional_id: &str, request: Request) -> Said<Response> {
        let partition = self.partition_for(transactional_id);
        Said::of(self.runtime.request(partition, request))
    }

    /// Asks all partitions that are led here.
    pub fn ask_all(&self, request: &Request) -> Vec<Said<Response>> {
        let partitions = self.runtime.partitions();
        partitions
            .into_iter()
            .map(|partition| Said::of(self.runtime.request(partition, request.clone())))
            .collect()
    }

    fn send_markers_of(&self, led: Vec<super::topic::Led>, since: Offset) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let is_led = |index: &PartitionIndex| led.iter().any(|led| led.partition == *index);
        senders.retain(|index, (_, task)| {
            let keep = is_led(index);
            if !keep {
                task.abort();
            }
            keep
        });
        for led in led {
            if senders
                .get(&led.partition)
                .is_some_and(|(epoch, task)| *epoch >= led.epoch && !task.is_finished())
            {
                continue;
            }
            let sender = Sender {
                coordinator: Coordinator {
                    runtime: Arc::downgrade(&self.runtime),
                    partition: led.partition,
                    epoch: led.epoch,
                },
                markers: self.markers.clone(),
                metadata: self.metadata.clone(),
                since,
                producer_ids: self.producer_ids.clone(),
            };
            let task = self.tasks.spawn(sender.run(led.loading)).abort_handle();
            if let Some((_, before)) = senders.insert(led.partition, (led.epoch, task)) {
                before.abort();
            }
        }
    }
}

impl MetadataListener for TransactionCoordinator {
    /// Comes after the replicas have taken their roles.
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        let level = image.features().level(TRANSACTION_VERSION);
        self.runtime.machine().set_transaction_version(level);
        let deleted = delta.deleted.values();
        if deleted.into_iter().any(|it| &*it.name == TRANSACTION_STATE) {
            // One that was created anew at once begins at the same epochs.
            self.send_markers_of(Vec::new(), Offset(0));
        }
        if let Some(led) = self.topic.follow(&self.runtime, image, delta) {
            self.send_markers_of(led, image.provenance().end_offset);
        }
    }
}

impl Drop for TransactionCoordinator {
    fn drop(&mut self) {
        self.send_markers_of(Vec::new(), Offset(0));
    }
}

/// One partition of the coordinator in one epoch, as the one who sends its markers knows it.
struct Coordinator {
    runtime: std::sync::Weak<Runtime<Machine, Partition>>,
    partition: PartitionIndex,
    epoch: LeaderEpoch,
}

impl Coordinator {
    fn ask(&self, request: Request) -> Result<Answer<Response>, Unavailable> {
        let runtime = self.runtime.upgrade().ok_or(Unavailable::NotCoordinator)?;
        runtime.request_in(self.partition, self.epoch, request)
    }
}

fn machine_config(settings: &Settings) -> Config {
    let ms = |name| i64::from(settings.int(name));
    Config {
        max_timeout_ms: settings.transaction_max_timeout_ms(),
        expiration_ms: ms("transactional.id.expiration.ms"),
        expiration_interval_ms: ms("transaction.remove.expired.transaction.cleanup.interval.ms"),
        abort_interval_ms: ms("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
        two_phase_commit: settings.boolean("transaction.two.phase.commit.enable"),
    }
}
