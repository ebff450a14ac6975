//! Brokers come, are heard of, and go: registration, heartbeats, fencing, controlled shutdown.
//! (ClusterControlManager, BrokerHeartbeatManager; KIP-631)

use std::collections::{BTreeMap, BTreeSet};

use crate::error_code::ErrorCode;
use crate::ids::{BrokerEpoch, DirectoryId, KafkaUuid, NodeId, SteadyTime};
use crate::messages::records::frame::MetadataRecord;
use crate::messages::records::metadata::{BrokerRegistrationChangeRecord, UnregisterBrokerRecord};
use crate::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest,
    BrokerRegistrationResponse, StrBytes, UnregisterBrokerRequest, UnregisterBrokerResponse,
};
use crate::metadata::record::broker_record;
use crate::metadata::{Broker, Endpoint, FeatureRange, Image};

use super::features::check_supported;
use super::isr::{self, Event};
use super::machine::{Answer, Decision, Machine, Refusal};

/// When each broker was last heard of. Lost at a failover without harm: brokers then have a session's time to be heard
/// of again.
#[derive(Clone, Debug, Default)]
pub struct Sessions(BTreeMap<NodeId, Session>);

#[derive(Clone, Debug)]
struct Session {
    epoch: BrokerEpoch,
    contact: SteadyTime,
    /// The last offset of the metadata log that the broker has applied; -1 before it said.
    metadata_offset: i64,
    /// The offset of the registration; the broker is caught up once it has applied it.
    registered_at: i64,
    /// Where the log ended when the broker's controlled shutdown began.
    shutdown_at: Option<i64>,
}

impl Session {
    fn new(epoch: BrokerEpoch, contact: SteadyTime, registered_at: i64) -> Session {
        Session {
            epoch,
            contact,
            metadata_offset: -1,
            registered_at,
            shutdown_at: None,
        }
    }
}

impl Sessions {
    /// The sessions of a new leader: every unfenced broker has just been heard of. Not so the broker of this very
    /// process, when it has not registered since the process began: its earlier incarnation is surely gone, and the new
    /// one need not wait for the session of the old to expire.
    pub(super) fn activated(&self, image: &Image, own: NodeId, now: SteadyTime) -> Sessions {
        let is_running = |broker: &Broker| broker.id != own || self.0.contains_key(&own);
        let unfenced = image
            .brokers()
            .iter()
            .filter(|broker| !broker.fenced && is_running(broker));
        let session =
            |broker: &Broker| (broker.id, Session::new(broker.epoch, now, broker.epoch.0));
        Sessions(unfenced.map(|broker| session(broker)).collect())
    }

    pub(super) fn renew(&mut self, now: SteadyTime) {
        for session in self.0.values_mut() {
            session.contact = now;
        }
    }

    pub(super) fn next_deadline(&self, timeout_ms: i64) -> Option<SteadyTime> {
        self.0
            .values()
            .map(|session| session.contact.plus_ms(timeout_ms))
            .min()
    }

    fn is_valid(&self, broker: &Broker, timeout_ms: i64, now: SteadyTime) -> bool {
        let session = self
            .0
            .get(&broker.id)
            .filter(|session| session.epoch == broker.epoch);
        session.is_some_and(|session| session.contact.plus_ms(timeout_ms) > now)
    }

    /// The lowest offset that an active broker has applied; none bounds nothing.
    fn lowest_active_offset(&self, image: &Image) -> i64 {
        let active = self
            .0
            .iter()
            .filter(|(id, _)| image.brokers().is_active(**id));
        active
            .map(|(_, session)| session.metadata_offset)
            .min()
            .unwrap_or(i64::MAX)
    }
}

/// Whether this is the broker's present registration. (ClusterControlManager.checkBrokerEpoch)
pub(super) fn check_epoch(image: &Image, id: i32, epoch: i64) -> Result<(), ErrorCode> {
    match image.brokers().get(NodeId(id)) {
        Some(broker) if broker.epoch == BrokerEpoch(epoch) => Ok(()),
        _ => Err(ErrorCode::StaleBrokerEpoch),
    }
}

/// What a broker is to be after its heartbeat. (BrokerControlState)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl State {
    fn of(broker: &Broker) -> State {
        match (broker.in_controlled_shutdown, broker.fenced) {
            (_, true) => State::Fenced,
            (true, false) => State::ControlledShutdown,
            (false, false) => State::Unfenced,
        }
    }
}

impl Machine {
    pub(super) fn session_timeout_ms(&self) -> i64 {
        self.settings.int("broker.session.timeout.ms").into()
    }

    pub(super) fn register_broker(
        &mut self,
        image: &Image,
        request: &BrokerRegistrationRequest,
        now: SteadyTime,
    ) -> Decision {
        let response = BrokerRegistrationResponse::default();
        if let Err(refusal) = self.check_registration(image, request, now) {
            let response = response
                .with_error_code(refusal.code as i16)
                .with_broker_epoch(-1);
            return Decision::of(Vec::new(), Answer::RegisterBroker(response));
        }
        let next_offset = image.provenance().end_offset.0;
        let mut broker = registration(request);
        let mut records = Vec::new();
        match image.brokers().get(broker.id) {
            // The same process says something else about itself.
            Some(existing) if existing.incarnation_id == broker.incarnation_id => {
                broker.epoch = existing.epoch;
                broker.fenced = existing.fenced;
                broker.in_controlled_shutdown = existing.in_controlled_shutdown;
            }
            existing => {
                records = self.end_incarnation(image, existing.map(|broker| &**broker), request);
                broker.epoch = BrokerEpoch(next_offset);
                let registered_at = next_offset + i64::try_from(records.len()).unwrap_or(i64::MAX);
                self.sessions
                    .0
                    .insert(broker.id, Session::new(broker.epoch, now, registered_at));
            }
        }
        records.push(broker_record(&broker).into());
        let response = response.with_broker_epoch(broker.epoch.0);
        Decision::of(records, Answer::RegisterBroker(response))
    }

    fn check_registration(
        &self,
        image: &Image,
        request: &BrokerRegistrationRequest,
        now: SteadyTime,
    ) -> Result<(), Refusal> {
        if *request.cluster_id != *self.cluster_id {
            return Err(Refusal::silent(ErrorCode::InconsistentClusterId));
        }
        let id = NodeId(request.broker_id.0);
        if let Some(existing) = image.brokers().get(id)
            && existing.incarnation_id != KafkaUuid(request.incarnation_id)
            && self
                .sessions
                .is_valid(existing, self.session_timeout_ms(), now)
        {
            return Err(Refusal::silent(ErrorCode::DuplicateBrokerRegistration));
        }
        if request.is_migrating_zk_broker {
            return Err(Refusal::silent(ErrorCode::BrokerIdNotRegistered));
        }
        let distinct: BTreeSet<_> = request
            .log_dirs
            .iter()
            .map(|directory| KafkaUuid(*directory))
            .collect();
        let is_taken = |broker: &Broker| {
            broker.id != id && broker.log_dirs.iter().any(|dir| distinct.contains(dir))
        };
        let has_reserved = distinct
            .iter()
            .any(|directory| directory.0.as_u128() < RESERVED_DIRECTORIES);
        let is_wrong =
            distinct.is_empty() || has_reserved || distinct.len() != request.log_dirs.len();
        let directories_count = image.features().metadata_version().directory_assignment();
        if directories_count && (is_wrong || image.brokers().iter().any(|broker| is_taken(broker)))
        {
            return Err(Refusal::silent(ErrorCode::InvalidRegistration));
        }
        check_supported(image.features(), &features(request))
    }

    /// The partitions of a broker that has started anew. With eligible leader replicas it matters how it went down: only
    /// a broker that names its last epoch is known to have written all to its disk.
    fn end_incarnation(
        &self,
        image: &Image,
        existing: Option<&Broker>,
        request: &BrokerRegistrationRequest,
    ) -> Vec<MetadataRecord> {
        let features = image.features();
        if !features.metadata_version().eligible_leader_replicas() {
            return Vec::new();
        }
        let id = NodeId(request.broker_id.0);
        let stored = existing.map(|broker| broker.epoch.0);
        let is_clean =
            !features.eligible_leader_replicas() || stored == Some(request.previous_broker_epoch);
        let event = if is_clean {
            Event::Removed(id)
        } else {
            Event::UncleanShutdown(id)
        };
        isr::changes(image, &self.settings, event)
    }

    pub(super) fn unregister_broker(
        &mut self,
        image: &Image,
        request: &UnregisterBrokerRequest,
    ) -> Decision {
        let id = NodeId(request.broker_id.0);
        let response = UnregisterBrokerResponse::default();
        let Some(broker) = image.brokers().get(id) else {
            let message = format!("Broker ID {id} is not currently registered");
            let response = response
                .with_error_code(ErrorCode::BrokerIdNotRegistered as i16)
                .with_error_message(Some(StrBytes::from_string(message)));
            return Decision::of(Vec::new(), Answer::UnregisterBroker(response));
        };
        let mut records = isr::changes(image, &self.settings, Event::Removed(id));
        let record = UnregisterBrokerRecord {
            broker_id: id.0,
            broker_epoch: broker.epoch.0,
            ..Default::default()
        };
        records.push(record.into());
        self.sessions.0.remove(&id);
        Decision::of(records, Answer::UnregisterBroker(response))
    }

    pub(super) fn broker_heartbeat(
        &mut self,
        image: &Image,
        request: &BrokerHeartbeatRequest,
        now: SteadyTime,
    ) -> Decision {
        let broker = match image.brokers().get(NodeId(request.broker_id)) {
            Some(broker) if broker.epoch == BrokerEpoch(request.broker_epoch) => broker,
            _ => {
                let error_code = ErrorCode::StaleBrokerEpoch as i16;
                let response = BrokerHeartbeatResponse {
                    error_code,
                    ..Default::default()
                };
                return Decision::of(Vec::new(), Answer::BrokerHeartbeat(response));
            }
        };
        let next = self.next_state(image, broker, request);
        let mut records = match next {
            next if next == State::of(broker) => Vec::new(),
            State::Unfenced => self.unfence(image, broker),
            State::ControlledShutdown => self.begin_shutdown(image, broker),
            State::Fenced | State::ShutdownNow => self.fence(image, broker),
        };
        self.take_directories(image, broker, request, &mut records);
        let ends_at =
            image.provenance().end_offset.0 + i64::try_from(records.len()).unwrap_or(i64::MAX);
        let session = self.sessions.0.entry(broker.id);
        let session = session.or_insert_with(|| Session::new(broker.epoch, now, broker.epoch.0));
        session.epoch = broker.epoch;
        session.contact = now;
        session.metadata_offset = request.current_metadata_offset;
        if next == State::ControlledShutdown {
            session.shutdown_at.get_or_insert(ends_at - 1);
        }
        let response = BrokerHeartbeatResponse {
            is_caught_up: request.current_metadata_offset >= session.registered_at,
            is_fenced: matches!(next, State::Fenced | State::ShutdownNow),
            should_shut_down: next == State::ShutdownNow,
            ..Default::default()
        };
        Decision::of(records, Answer::BrokerHeartbeat(response))
    }

    /// BrokerHeartbeatManager.calculateNextBrokerState
    fn next_state(
        &self,
        image: &Image,
        broker: &Broker,
        request: &BrokerHeartbeatRequest,
    ) -> State {
        let session = self
            .sessions
            .0
            .get(&broker.id)
            .filter(|session| session.epoch == broker.epoch);
        let registered_at = session.map_or(broker.epoch.0, |session| session.registered_at);
        let leads = || isr::has_leaderships(image, broker.id);
        match State::of(broker) {
            State::Fenced if request.want_shut_down => State::ShutdownNow,
            State::Fenced if request.want_fence => State::Fenced,
            State::Fenced if request.current_metadata_offset >= registered_at => State::Unfenced,
            State::Fenced => State::Fenced,
            State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
            State::Unfenced if request.want_fence => State::Fenced,
            State::Unfenced if request.want_shut_down && leads() => State::ControlledShutdown,
            State::Unfenced if request.want_shut_down => State::ShutdownNow,
            State::Unfenced => State::Unfenced,
            _ if leads() => State::ControlledShutdown,
            // Those who go on have to know that the partitions moved before this broker stops answering.
            _ => {
                let began = session
                    .and_then(|session| session.shutdown_at)
                    .unwrap_or(i64::MAX);
                match began <= self.sessions.lowest_active_offset(image) {
                    true => State::ShutdownNow,
                    false => State::ControlledShutdown,
                }
            }
        }
    }

    fn fence(&self, image: &Image, broker: &Broker) -> Vec<MetadataRecord> {
        let mut records = isr::changes(image, &self.settings, Event::Removed(broker.id));
        records.push(
            BrokerRegistrationChangeRecord {
                fenced: 1,
                ..change_of(broker)
            }
            .into(),
        );
        records
    }

    fn unfence(&self, image: &Image, broker: &Broker) -> Vec<MetadataRecord> {
        let mut records = vec![
            BrokerRegistrationChangeRecord {
                fenced: -1,
                ..change_of(broker)
            }
            .into(),
        ];
        records.extend(isr::changes(image, &self.settings, Event::Added(broker.id)));
        records
    }

    fn begin_shutdown(&self, image: &Image, broker: &Broker) -> Vec<MetadataRecord> {
        let mut records = vec![
            BrokerRegistrationChangeRecord {
                in_controlled_shutdown: 1,
                ..change_of(broker)
            }
            .into(),
        ];
        records.extend(isr::changes(
            image,
            &self.settings,
            Event::Removed(broker.id),
        ));
        records
    }

    /// Directories that failed or were cordoned since the last heartbeat.
    fn take_directories(
        &self,
        image: &Image,
        broker: &Broker,
        request: &BrokerHeartbeatRequest,
        records: &mut Vec<MetadataRecord>,
    ) {
        let version = image.features().metadata_version();
        let offline: BTreeSet<DirectoryId> = request
            .offline_log_dirs
            .iter()
            .map(|dir| KafkaUuid(*dir))
            .collect();
        let (lost, left): (Vec<_>, Vec<_>) = broker
            .log_dirs
            .iter()
            .copied()
            .partition(|dir| offline.contains(dir));
        if version.directory_assignment() && !lost.is_empty() {
            for directory in lost {
                records.extend(isr::changes(
                    image,
                    &self.settings,
                    Event::DirectoryLost(broker.id, directory),
                ));
            }
            let log_dirs = left.iter().map(|dir| dir.0).collect();
            records.push(
                BrokerRegistrationChangeRecord {
                    log_dirs,
                    ..change_of(broker)
                }
                .into(),
            );
        }
        let known: Option<Vec<_>> = broker
            .cordoned_log_dirs
            .as_ref()
            .map(|dirs| dirs.iter().map(|dir| dir.0).collect());
        if version.cordoned_log_dirs()
            && request.cordoned_log_dirs.is_some()
            && request.cordoned_log_dirs != known
        {
            let cordoned_log_dirs = request.cordoned_log_dirs.clone();
            records.push(
                BrokerRegistrationChangeRecord {
                    cordoned_log_dirs,
                    ..change_of(broker)
                }
                .into(),
            );
        }
    }

    /// Fences the broker that has been silent the longest, when it has been for too long. One at a time: each finds
    /// the partitions as the one before left them.
    pub(super) fn fence_stale_brokers(&mut self, image: &Image, now: SteadyTime) -> Decision {
        let timeout_ms = self.session_timeout_ms();
        let stalest = self
            .sessions
            .0
            .iter()
            .min_by_key(|(_, session)| session.contact);
        let Some(id) = stalest
            .filter(|(_, session)| session.contact.plus_ms(timeout_ms) <= now)
            .map(|(id, _)| *id)
        else {
            return Decision::of(Vec::new(), Answer::Done);
        };
        self.sessions.0.remove(&id);
        let unfenced = image.brokers().get(id).filter(|broker| !broker.fenced);
        let records = unfenced.map_or_else(Vec::new, |broker| self.fence(image, broker));
        Decision::of(records, Answer::Done)
    }
}

/// Directory ids below mean something else than a directory. (DirectoryId.RESERVED)
const RESERVED_DIRECTORIES: u128 = 100;

fn change_of(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch.0,
        ..Default::default()
    }
}

fn features(request: &BrokerRegistrationRequest) -> Vec<FeatureRange> {
    let features = request.features.iter().map(|feature| FeatureRange {
        name: (*feature.name).into(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    });
    features.collect()
}

/// A new registration: fenced until the broker has caught up.
fn registration(request: &BrokerRegistrationRequest) -> Broker {
    let endpoints = request.listeners.iter().map(|listener| Endpoint {
        name: (*listener.name).into(),
        host: (*listener.host).into(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    });
    Broker {
        id: NodeId(request.broker_id.0),
        epoch: BrokerEpoch(-1),
        incarnation_id: KafkaUuid(request.incarnation_id),
        endpoints: endpoints.collect(),
        features: features(request),
        rack: request.rack.as_deref().map(Into::into),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: request
            .log_dirs
            .iter()
            .map(|directory| KafkaUuid(*directory))
            .collect(),
        cordoned_log_dirs: None,
    }
}
