//! The controller as a pure machine: a command and the newest image (records that are not yet committed included) make
//! records and an answer. Nothing is changed here but soft state; the caller appends the records, applies them, and
//! gives the answer once they are committed.
//!
//! Commands are Kafka's requests, so that an answer can go to whoever asked, on whatever way the request came.

use std::sync::Arc;

use crate::config::Settings;
use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, SteadyTime};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{NoOpRecord, ProducerIdsRecord};
use crate::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, ControllerRegistrationRequest,
    ControllerRegistrationResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
use crate::metadata::Image;

use super::brokers::Sessions;
use super::configs::{AlteredConfigs, ConfigChanges};

/// Records that one request of a user may lead to. (QuorumController.MAX_RECORDS_PER_USER_OP)
pub(super) const RECORDS_PER_REQUEST_MAX: usize = 10_000;

/// Something to be decided.
#[derive(Clone, Debug)]
pub enum Command {
    /// A leader has been elected. First of all it makes an empty log usable and ends what its predecessor left open.
    Activate {
        /// Whether the predecessor left a metadata transaction open. The image is then the one before it.
        in_transaction: bool,
        /// What an empty log begins with: the records of `bootstrap.checkpoint`, or
        /// [`default_bootstrap`](super::default_bootstrap).
        bootstrap: Vec<MetadataRecord>,
    },
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    CreatePartitions(CreatePartitionsRequest),
    AlterConfigs(ConfigChanges),
    UpdateFeatures {
        request: UpdateFeaturesRequest,
        /// The level of the quorum's own feature.
        kraft_version: i16,
    },
    AllocateProducerIds(AllocateProducerIdsRequest),
    RegisterBroker(BrokerRegistrationRequest),
    UnregisterBroker(UnregisterBrokerRequest),
    BrokerHeartbeat(BrokerHeartbeatRequest),
    AssignReplicasToDirs(AssignReplicasToDirsRequest),
    RegisterController(ControllerRegistrationRequest),
    /// Fences the brokers that have not been heard of for too long; due at [`Machine::next_deadline`].
    FenceStaleBrokers,
    /// Writes a record that says nothing, so that everybody sees the log move.
    NoOp,
}

/// What is told to whoever gave the command, by its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Done,
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    AlterConfigs(AlteredConfigs),
    UpdateFeatures(UpdateFeaturesResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
    RegisterBroker(BrokerRegistrationResponse),
    UnregisterBroker(UnregisterBrokerResponse),
    BrokerHeartbeat(BrokerHeartbeatResponse),
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
    RegisterController(ControllerRegistrationResponse),
}

macro_rules! carried {
    ($($kind:ident: $response:ty),+ $(,)?) => {
        $(
            /// The response, where the answer is to such a request.
            impl TryFrom<Answer> for $response {
                type Error = Answer;

                fn try_from(answer: Answer) -> Result<$response, Answer> {
                    match answer {
                        Answer::$kind(response) => Ok(response),
                        other => Err(other),
                    }
                }
            }
        )+
    };
}

carried! {
    CreateTopics: CreateTopicsResponse,
    DeleteTopics: DeleteTopicsResponse,
    CreatePartitions: CreatePartitionsResponse,
    AlterConfigs: AlteredConfigs,
    UpdateFeatures: UpdateFeaturesResponse,
}

/// What a command leads to. The records are appended as one batch: they count all together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub records: Vec<MetadataRecord>,
    pub answer: Answer,
}

impl Decision {
    pub(super) fn of(records: Vec<MetadataRecord>, answer: Answer) -> Decision {
        Decision { records, answer }
    }
}

/// Why something is not done: an error code, and the words that Kafka has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal {
            code,
            message: Some(message.into()),
        }
    }

    pub(super) fn silent(code: ErrorCode) -> Refusal {
        Refusal {
            code,
            message: None,
        }
    }
}

/// Numbers that nobody foresees, or that a test does.
pub trait Random {
    fn next_u64(&mut self) -> u64;

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.next_u64() % bound).expect("below a usize")
    }

    /// An id that is not reserved and that no shell tool takes for an option. (Uuid.randomUuid)
    fn uuid(&mut self) -> KafkaUuid {
        loop {
            let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
            let id = KafkaUuid(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    fn shuffle<T>(&mut self, items: &mut [T])
    where
        Self: Sized,
    {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Numbers that follow from a seed: two SplitMix64 sequences with different steps, mixed. A seed of 128 random bits
/// makes them good enough for topic ids.
#[derive(Clone, Debug)]
pub struct Seeded(u64, u64);

impl Seeded {
    pub fn new(seed: u128) -> Seeded {
        let bytes = seed.to_be_bytes();
        let half = |half: &[u8]| u64::from_be_bytes(half.try_into().expect("eight bytes"));
        Seeded(half(&bytes[..8]), half(&bytes[8..]))
    }
}

impl Random for Seeded {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.1 = self.1.wrapping_add(0xd1b5_4a32_d192_ed03);
        mixed(self.0) ^ mixed(self.1).rotate_left(32)
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// What a controller goes by, and its soft state: when it last heard of each broker.
#[derive(Debug)]
pub struct Machine {
    pub(super) cluster_id: Arc<str>,
    pub(super) settings: Arc<Settings>,
    pub(super) sessions: Sessions,
}

impl Machine {
    /// `settings`: of the node that runs the controller; they give the defaults of new topics and the session timeout.
    pub fn new(cluster_id: impl Into<Arc<str>>, settings: Arc<Settings>) -> Machine {
        Machine {
            cluster_id: cluster_id.into(),
            settings,
            sessions: Sessions::default(),
        }
    }

    /// When [`Command::FenceStaleBrokers`] is due; `None` while no broker is unfenced.
    pub fn next_deadline(&self) -> Option<SteadyTime> {
        self.sessions.next_deadline(self.session_timeout_ms())
    }

    /// Counts every broker as heard of now.
    pub(super) fn renew_sessions(&mut self, now: SteadyTime) {
        self.sessions.renew(now);
    }

    /// Decides over the newest image. Records of earlier decisions are in it, committed or not.
    pub fn decide(
        &mut self,
        image: &Image,
        command: &Command,
        now: SteadyTime,
        random: &mut impl Random,
    ) -> Decision {
        match command {
            Command::Activate {
                in_transaction,
                bootstrap,
            } => {
                self.sessions = self.sessions.activated(image, self.settings.node_id(), now);
                let min_isr = self.settings.int("min.insync.replicas");
                Decision::of(
                    super::features::activation(image, bootstrap, min_isr, *in_transaction),
                    Answer::Done,
                )
            }
            Command::CreateTopics(request) => self.create_topics(image, request, random),
            Command::DeleteTopics(request) => super::deletions::delete_topics(image, request),
            Command::CreatePartitions(request) => {
                super::partitions::create_partitions(image, request, random)
            }
            Command::AlterConfigs(changes) => self.alter_configs(image, changes),
            Command::UpdateFeatures {
                request,
                kraft_version,
            } => self.update_features(image, request, *kraft_version),
            Command::AllocateProducerIds(request) => super::producer_ids::allocate(image, request),
            Command::RegisterBroker(request) => self.register_broker(image, request, now),
            Command::UnregisterBroker(request) => self.unregister_broker(image, request),
            Command::BrokerHeartbeat(request) => self.broker_heartbeat(image, request, now),
            Command::AssignReplicasToDirs(request) => self.assign_replicas_to_dirs(image, request),
            Command::RegisterController(request) => {
                super::features::register_controller(image, request)
            }
            Command::FenceStaleBrokers => self.fence_stale_brokers(image, now),
            Command::NoOp => Decision::of(vec![NoOpRecord::default().into()], Answer::Done),
        }
    }
}

pub(super) fn producer_ids_record(
    broker: i32,
    epoch: i64,
    next_producer_id: i64,
) -> MetadataRecord {
    let record = ProducerIdsRecord {
        broker_id: broker,
        broker_epoch: epoch,
        next_producer_id,
        ..Default::default()
    };
    record.into()
}

#[cfg(test)]
mod tests;
