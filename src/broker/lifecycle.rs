//! The broker's standing with the controller: it registers, is unfenced once it can serve, is heard of again and again,
//! and asks to go before it stops. (BrokerLifecycleManager, ControllerRegistrationManager; KIP-631)
//!
//! In a combined process the controller is a call away; what is said is the same as over the wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};

use crate::config::features::FEATURES;
use crate::config::{Listener, Role, Settings};
use crate::controller::{self, Answer, Command, Controller};
use crate::error_code::ErrorCode;
use crate::ids::{BrokerEpoch, DirectoryId, KafkaUuid, NodeId};
use crate::messages::broker_registration_request::{self, Feature};
use crate::messages::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerId, BrokerRegistrationRequest,
    ControllerRegistrationRequest, controller_registration_request, text,
};
use crate::metadata::storage::host_name;
use crate::metadata::{Endpoint, Published};
use crate::replica::DirectoryState;

/// Before a registration or heartbeat that was refused is tried again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// Between two questions whether the broker may stop.
const SHUTDOWN_BACKOFF: Duration = Duration::from_millis(5);
/// How long a controlled shutdown may take. (BrokerServer.shutdown)
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(300);

/// Why the broker has no place in its cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the controller refuses this broker: {}", .0.name())]
    Refused(ErrorCode),
    #[error("the controller did not register this broker within {0:?}")]
    TimedOut(Duration),
    #[error(transparent)]
    Controller(#[from] controller::Error),
}

/// What a broker says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    pub node_id: NodeId,
    pub cluster_id: Arc<str>,
    pub endpoints: Vec<Endpoint>,
    /// Those of the controller in this process; empty when it is a broker alone.
    pub controller_endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    /// The log directories: those that are online are registered, of the others the heartbeats tell.
    pub directories: watch::Receiver<DirectoryState>,
    /// What `.kafka_cleanshutdown` said when the broker started.
    pub previous_epoch: Option<BrokerEpoch>,
    pub heartbeat_interval: Duration,
    pub registration_timeout: Duration,
}

impl Identity {
    /// `addresses`: what the listeners are bound to, by name.
    pub fn of(
        settings: &Settings,
        cluster_id: impl Into<Arc<str>>,
        addresses: &[(Arc<str>, SocketAddr)],
        directories: watch::Receiver<DirectoryState>,
        previous_epoch: Option<BrokerEpoch>,
    ) -> Identity {
        let ms = |name| Duration::from_millis(u64::try_from(settings.int(name)).unwrap_or(0));
        let endpoint = |listener: &Listener| endpoint(listener, addresses);
        let controller_endpoints = match settings.has_role(Role::Controller) {
            true => settings
                .advertised_controller_listeners()
                .map(endpoint)
                .collect(),
            false => Vec::new(),
        };
        Identity {
            node_id: settings.node_id(),
            cluster_id: cluster_id.into(),
            endpoints: settings
                .advertised_broker_listeners()
                .map(endpoint)
                .collect(),
            controller_endpoints,
            rack: settings.rack().map(str::to_owned),
            directories,
            previous_epoch,
            heartbeat_interval: ms("broker.heartbeat.interval.ms"),
            registration_timeout: ms("initial.broker.registration.timeout.ms"),
        }
    }
}

/// An empty host stands for this machine's name, port 0 for the one that is bound.
fn endpoint(listener: &Listener, addresses: &[(Arc<str>, SocketAddr)]) -> Endpoint {
    let bound = addresses.iter().find(|(name, _)| **name == *listener.name);
    Endpoint {
        name: listener.name.as_str().into(),
        host: match listener.host.is_empty() {
            true => host_name().into(),
            false => listener.host.as_str().into(),
        },
        port: match (listener.port, bound) {
            (0, Some((_, address))) => address.port(),
            (port, _) => port,
        },
        security_protocol: listener.protocol.id(),
    }
}

/// A broker that has registered. Dropping it leaves the broker to be fenced when its session expires.
pub struct Lifecycle {
    controller: Arc<Controller>,
    published: Arc<Published>,
    identity: Identity,
    incarnation_id: KafkaUuid,
    epoch: BrokerEpoch,
    fenced: watch::Sender<bool>,
    /// The failed directories that the controller has answered for.
    told: watch::Sender<Vec<DirectoryId>>,
    heartbeats: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Lifecycle {
    /// Registers the broker, and the controller of this process with it. The broker is fenced until
    /// [`Lifecycle::unfence`]; what it is to hold is in the published image by then.
    pub async fn register(
        controller: Arc<Controller>,
        published: Arc<Published>,
        identity: Identity,
    ) -> Result<Arc<Lifecycle>, Error> {
        let incarnation_id = KafkaUuid::random();
        let deadline = Instant::now() + identity.registration_timeout;
        let registered = async {
            loop {
                match register(&controller, &identity, incarnation_id).await {
                    Ok(epoch) => return Ok(epoch),
                    // The session of an earlier process still stands, or another controller is being elected.
                    Err(Error::Refused(ErrorCode::DuplicateBrokerRegistration))
                    | Err(Error::Controller(
                        controller::Error::NotController | controller::Error::Busy,
                    )) => {}
                    Err(error) => return Err(error),
                }
                sleep(RETRY_BACKOFF).await;
            }
        };
        let epoch = timeout_at(deadline, registered)
            .await
            .map_err(|_| Error::TimedOut(identity.registration_timeout))??;
        info!("registered broker {} with epoch {epoch}", identity.node_id);
        Ok(Arc::new(Lifecycle {
            controller,
            published,
            identity,
            incarnation_id,
            epoch,
            fenced: watch::Sender::new(true),
            told: watch::Sender::default(),
            heartbeats: std::sync::Mutex::default(),
        }))
    }

    /// The offset of the broker's registration: what its requests to the controller carry.
    pub fn epoch(&self) -> BrokerEpoch {
        self.epoch
    }

    /// Distinct for each start of the process.
    pub fn incarnation_id(&self) -> KafkaUuid {
        self.incarnation_id
    }

    pub fn node_id(&self) -> NodeId {
        self.identity.node_id
    }

    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Tells the controller that the broker can serve, waits until clients are told of it, and goes on with
    /// heartbeats.
    pub async fn unfence(self: &Arc<Lifecycle>) -> Result<(), Error> {
        while self.heartbeat(false).await?.is_fenced {
            sleep(RETRY_BACKOFF).await;
        }
        let heartbeats = tokio::spawn(heartbeats(
            Arc::downgrade(self),
            self.identity.heartbeat_interval,
        ));
        let earlier = self.lock_heartbeats().replace(heartbeats);
        debug_assert!(earlier.is_none(), "a broker is unfenced once");
        Ok(())
    }

    /// Whether the controller has fenced the broker, as of the last heartbeat; tells of changes.
    pub fn fenced(&self) -> watch::Receiver<bool> {
        self.fenced.subscribe()
    }

    /// Resolves with a log directory that failed so long ago without the controller having taken note of it, which goes
    /// on believing in what lies there. (BrokerLifecycleManager.OfflineDirBrokerFailureEvent; KIP-858)
    pub async fn untold(&self, timeout: Duration) -> DirectoryId {
        let (mut directories, mut told) =
            (self.identity.directories.clone(), self.told.subscribe());
        let mut deadlines: HashMap<DirectoryId, Instant> = HashMap::new();
        loop {
            let offline = directories.borrow_and_update().offline.clone();
            let known = told.borrow_and_update().clone();
            for directory in offline {
                match known.contains(&directory) {
                    true => drop(deadlines.remove(&directory)),
                    false => drop(
                        deadlines
                            .entry(directory)
                            .or_insert(Instant::now() + timeout),
                    ),
                }
            }
            let first = deadlines.iter().min_by_key(|(_, deadline)| **deadline);
            let first = first.map(|(directory, deadline)| (*directory, *deadline));
            let due = async {
                match first {
                    Some((directory, deadline)) => {
                        sleep_until(deadline).await;
                        directory
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = directories.changed() => {}
                Ok(()) = told.changed() => {}
                directory = due => return directory,
            }
        }
    }

    /// Hands the broker's leaderships over and waits until the controller lets it go. Whoever calls stops serving and
    /// closes the logs afterwards.
    pub async fn shut_down(&self) -> Result<(), Error> {
        if let Some(heartbeats) = self.lock_heartbeats().take() {
            heartbeats.abort();
        }
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        let released = async {
            while !self.heartbeat(true).await?.should_shut_down {
                sleep(SHUTDOWN_BACKOFF).await;
            }
            Ok(())
        };
        timeout_at(deadline, released)
            .await
            .map_err(|_| Error::TimedOut(SHUTDOWN_TIMEOUT))?
    }

    async fn heartbeat(&self, want_shut_down: bool) -> Result<BrokerHeartbeatResponse, Error> {
        let directories = self.identity.directories.borrow().clone();
        let request = BrokerHeartbeatRequest {
            broker_id: self.identity.node_id.0,
            broker_epoch: self.epoch.0,
            current_metadata_offset: self.published.peek().provenance().end_offset.0 - 1,
            want_fence: false,
            want_shut_down,
            offline_log_dirs: uuids(&directories.offline),
            cordoned_log_dirs: Some(uuids(&directories.cordoned)),
            ..Default::default()
        };
        match self
            .controller
            .submit(Command::BrokerHeartbeat(request))
            .await?
        {
            Answer::BrokerHeartbeat(response) if response.error_code == ErrorCode::None.code() => {
                self.fenced.send_if_modified(|fenced| {
                    std::mem::replace(fenced, response.is_fenced) != response.is_fenced
                });
                self.told.send_if_modified(|told| {
                    std::mem::replace(told, directories.offline.clone()) != directories.offline
                });
                Ok(response)
            }
            Answer::BrokerHeartbeat(response) => {
                Err(Error::Refused(ErrorCode::from_code(response.error_code)))
            }
            other => unreachable!("a heartbeat is answered by {other:?}"),
        }
    }

    fn lock_heartbeats(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.heartbeats
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Keeps the broker's session alive until it is gone.
async fn heartbeats(lifecycle: std::sync::Weak<Lifecycle>, interval: Duration) {
    let mut wait = interval;
    let Some(mut directories) = lifecycle
        .upgrade()
        .map(|lifecycle| lifecycle.identity.directories.clone())
    else {
        return;
    };
    // Changes from here on are told at once. The last heartbeat may have missed an earlier one.
    let mut may_change = true;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            changed = directories.changed(), if may_change => may_change = changed.is_ok(),
        }
        let Some(lifecycle) = lifecycle.upgrade() else {
            return;
        };
        let Ok(answered) = timeout(interval, lifecycle.heartbeat(false)).await else {
            // The controller has heard of the broker. Its answer stands behind what is being applied, such as a topic of
            // thousands of partitions; the session must not end meanwhile.
            wait = Duration::ZERO;
            continue;
        };
        wait = match answered {
            Ok(response) => {
                if response.is_fenced {
                    debug!("broker {} is fenced", lifecycle.identity.node_id);
                }
                interval
            }
            Err(Error::Controller(controller::Error::Stopped)) => return,
            Err(error) => {
                warn!(
                    "heartbeat of broker {}: {error}",
                    lifecycle.identity.node_id
                );
                RETRY_BACKOFF.max(interval / 4)
            }
        };
    }
}

async fn register(
    controller: &Controller,
    identity: &Identity,
    incarnation_id: KafkaUuid,
) -> Result<BrokerEpoch, Error> {
    // Both go into the log with one flush.
    let of_controller = (!identity.controller_endpoints.is_empty()).then(|| {
        controller.submit(Command::RegisterController(controller_request(
            identity,
            incarnation_id,
        )))
    });
    let of_broker = controller.submit(Command::RegisterBroker(broker_request(
        identity,
        incarnation_id,
    )));
    if let Some(of_controller) = of_controller {
        match of_controller.await? {
            // Below metadata.version 3.7-IV0 there are no such registrations.
            Answer::RegisterController(response)
                if response.error_code != ErrorCode::None.code() =>
            {
                debug!(
                    "the controller is not registered: {}",
                    ErrorCode::from_code(response.error_code).name()
                );
            }
            _ => {}
        }
    }
    match of_broker.await? {
        Answer::RegisterBroker(response) if response.error_code == ErrorCode::None.code() => {
            Ok(BrokerEpoch(response.broker_epoch))
        }
        Answer::RegisterBroker(response) => {
            Err(Error::Refused(ErrorCode::from_code(response.error_code)))
        }
        other => unreachable!("a registration is answered by {other:?}"),
    }
}

fn uuids(ids: &[DirectoryId]) -> Vec<uuid::Uuid> {
    ids.iter().map(|id| id.0).collect()
}

fn broker_request(identity: &Identity, incarnation_id: KafkaUuid) -> BrokerRegistrationRequest {
    let listeners = identity.endpoints.iter().map(|endpoint| {
        broker_registration_request::Listener::default()
            .with_name(text(&endpoint.name))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port)
            .with_security_protocol(endpoint.security_protocol)
    });
    let features = FEATURES.iter().map(|feature| {
        Feature::default()
            .with_name(text(feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    BrokerRegistrationRequest::default()
        .with_broker_id(BrokerId(identity.node_id.0))
        .with_cluster_id(text(&identity.cluster_id))
        .with_incarnation_id(incarnation_id.0)
        .with_listeners(listeners.collect())
        .with_features(features.collect())
        .with_rack(identity.rack.as_ref().map(text))
        .with_log_dirs(uuids(&identity.directories.borrow().online))
        .with_previous_broker_epoch(identity.previous_epoch.map_or(-1, |epoch| epoch.0))
}

fn controller_request(
    identity: &Identity,
    incarnation_id: KafkaUuid,
) -> ControllerRegistrationRequest {
    let listeners = identity.controller_endpoints.iter().map(|endpoint| {
        controller_registration_request::Listener::default()
            .with_name(text(&endpoint.name))
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port)
            .with_security_protocol(endpoint.security_protocol)
    });
    let features = FEATURES.iter().map(|feature| {
        controller_registration_request::Feature::default()
            .with_name(text(feature.name))
            .with_min_supported_version(feature.min)
            .with_max_supported_version(feature.max)
    });
    ControllerRegistrationRequest::default()
        .with_controller_id(identity.node_id.0)
        .with_incarnation_id(incarnation_id.0)
        .with_listeners(listeners.collect())
        .with_features(features.collect())
}

#[cfg(test)]
mod tests;
