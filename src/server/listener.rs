//! Binds the listeners, accepts connections within their limits, and runs a task for each.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::admission::Connections;
use super::connection::{self, Limits};
use super::descriptors;
use super::frame::FrameBuffer;
use super::memory::RequestMemory;
use super::tls::{self, TlsStream};
use super::transport::Transport;
use crate::api::Session;
use crate::broker::{self, Broker};
use crate::config::{self, CurrentSettings, Listener, SecurityProtocol, Settings};
use crate::security::{KafkaPrincipal, SslError, SslListener, SslState};

/// Rest after an accept that failed for want of files or memory, which would fail again at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted, unless another number is set.
const BACKLOG: i32 = 4096;

/// A failure of the same kind is not told again within this.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How often the files of SSL listeners are looked at.
const STORES_LOOKED_AT_EVERY: Duration = Duration::from_secs(5);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("listener {name}: cannot listen on {address}: {source}")]
    Listen {
        name: String,
        address: String,
        source: io::Error,
    },
    #[error("listener {name}: {source}")]
    Ssl { name: String, source: SslError },
    #[error(transparent)]
    Settings(#[from] config::Error),
    #[error(transparent)]
    Broker(#[from] broker::StartError),
}

/// A running node: its broker and the sockets that lead to it.
pub struct Server {
    broker: Arc<Broker>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    accepting: JoinSet<()>,
}

impl Server {
    /// Binds the listeners first, so that a busy port is told before anything is opened; serves once the broker is
    /// ready. Port 0 takes a free one. Stores of SSL listeners may be named in the metadata log, so they are opened last.
    pub async fn start(settings: Settings) -> Result<Server, StartError> {
        settings.check_protection()?;
        let bound = settings
            .broker_listeners()
            .map(|listener| bind(listener, &settings))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses = bound
            .iter()
            .map(|bound| (bound.name.clone(), bound.address))
            .collect::<Vec<_>>();
        let broker = Broker::start(settings, &addresses).await?;
        let ssl = match open_ssl(&broker.current_settings().now()) {
            Ok(ssl) => ssl,
            Err(error) => {
                // It has served nobody, and why it ends is told.
                let _ = broker.stop().await;
                return Err(error);
            }
        };
        let mut accepting = JoinSet::new();
        let connections = Arc::new(Connections::new(broker.current_settings().clone()));
        accepting.spawn(connections.clone().follow_settings());
        if !ssl.is_empty() {
            let listeners = ssl.values().cloned().collect();
            accepting.spawn(refresh(listeners, broker.current_settings().clone()));
        }
        let limits = limits(broker.settings());
        for bound in bound {
            accepting.spawn(accept(
                ssl.get(&bound.name).cloned(),
                bound,
                broker.clone(),
                connections.clone(),
                limits.clone(),
            ));
        }
        Ok(Server {
            broker,
            addresses,
            accepting,
        })
    }

    /// The listeners' names and the addresses that they are bound to.
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Resolves when the node cannot go on, with the reason.
    pub async fn failed(&self) -> broker::Failure {
        self.broker.failed().await
    }

    /// Closes the sockets, then the broker: logs flushed, checkpoints written, marked as cleanly stopped.
    pub async fn stop(mut self) -> Result<(), broker::StopError> {
        self.accepting.shutdown().await;
        self.broker.stop().await
    }
}

struct Bound {
    name: Arc<str>,
    address: SocketAddr,
    listener: TcpListener,
}

type SslListeners = BTreeMap<Arc<str>, Arc<SslListener>>;

fn bind(listener: &Listener, settings: &Settings) -> Result<Bound, StartError> {
    let address = format!("{}:{}", listener.host, listener.port);
    let bound =
        listen(listener, settings).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listening) = bound.map_err(|source| StartError::Listen {
        name: listener.name.to_string(),
        address,
        source,
    })?;
    Ok(Bound {
        name: listener.name.as_str().into(),
        address,
        listener: listening,
    })
}

/// The listeners that speak SSL, by their names. Blocks.
fn open_ssl(settings: &Settings) -> Result<SslListeners, StartError> {
    let listeners = settings.broker_listeners();
    let ssl = listeners.filter(|listener| listener.protocol == SecurityProtocol::Ssl);
    let opened = ssl.map(|listener| {
        let name: Arc<str> = listener.name.as_str().into();
        let opened = SslListener::open(name.clone(), settings);
        let opened = opened.map_err(|source| StartError::Ssl {
            name: listener.name.clone(),
            source,
        })?;
        Ok((name, Arc::new(opened)))
    });
    opened.collect()
}

fn listen(listener: &Listener, settings: &Settings) -> io::Result<TcpListener> {
    let address = resolve(&listener.host, listener.port)?;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if let Some(bytes) = receive_buffer_size(settings.socket_receive_buffer_bytes()) {
        socket.set_recv_buffer_size(bytes)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog(settings))?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// `socket.listen.backlog.size`; where it is not set, room for the clients of a whole site that come back at once: each for
/// whom there is none waits for a second before it tries again.
fn backlog(settings: &Settings) -> i32 {
    let size = settings.socket_listen_backlog_size();
    match settings.location("socket.listen.backlog.size") {
        Some(_) => size,
        None => size.max(BACKLOG),
    }
}

/// The first address of a host; an empty host is every interface.
fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok(SocketAddr::from(([0, 0, 0, 0], port)));
    }
    let mut addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?;
    addresses
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
}

/// `socket.receive.buffer.bytes`. Kafka's default, which its sample files write down too, is left to the system like -1:
/// the system then gives a busy connection more, which takes 40 % off the CPU time of large batches.
fn receive_buffer_size(setting: i32) -> Option<usize> {
    const KAFKA_DEFAULT: i32 = 102_400;
    buffer_size(setting).filter(|_| setting != KAFKA_DEFAULT)
}

/// A socket buffer's setting; -1 leaves it to the system.
fn buffer_size(setting: i32) -> Option<usize> {
    usize::try_from(setting).ok()
}

fn limits(settings: &Settings) -> Limits {
    let idle_ms = u64::try_from(settings.connections_max_idle_ms()).ok();
    Limits {
        frame_bytes_max: usize::try_from(settings.socket_request_max_bytes()).unwrap_or(0),
        memory: RequestMemory::of(settings),
        idle_max: idle_ms.map(Duration::from_millis),
    }
}

/// Has SSL listeners read their stores again when those change, or their settings while the node runs.
async fn refresh(listeners: Vec<Arc<SslListener>>, settings: CurrentSettings) {
    let mut changes = settings.subscribe();
    loop {
        let changed = tokio::time::timeout(STORES_LOOKED_AT_EVERY, changes.changed()).await;
        if let Ok(Err(_)) = changed {
            return;
        }
        let (listeners, settings) = (listeners.clone(), settings.now());
        let work = move || {
            for listener in &listeners {
                listener.refresh(&settings);
            }
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            return;
        }
    }
}

/// Accepts until it is aborted; its connections end with it. `ssl`: where the listener speaks it.
async fn accept(
    ssl: Option<Arc<SslListener>>,
    bound: Bound,
    broker: Arc<Broker>,
    connections: Arc<Connections>,
    limits: Limits,
) {
    let mut tasks = JoinSet::new();
    let mut told: Option<Instant> = None;
    loop {
        let place = connections.place().await;
        let accepted = tokio::select! {
            accepted = bound.listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                    told = Some(Instant::now());
                    let connections = tasks.len();
                    warn!(
                        listener = &*bound.name,
                        connections,
                        "cannot accept: {}",
                        explained(&error)
                    );
                }
                if !is_of_one_connection(&error) {
                    // A connection that ends may leave what was wanting.
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_RETRY) => {}
                        Some(_) = tasks.join_next() => {}
                    }
                }
                continue;
            }
        };
        let Some(admitted) = connections.admit(client.ip().to_canonical(), place) else {
            debug!(listener = &*bound.name, client = %client, "closed: max.connections.per.ip reached");
            continue;
        };
        if let Err(error) = prepare(&stream, broker.settings()) {
            debug!(listener = &*bound.name, client = %client, "closed: {error}");
            continue;
        }
        let session = Session {
            connection_id: connections.next_id(),
            client_host: client.ip().to_canonical(),
            listener: bound.name.clone(),
            principal: KafkaPrincipal::anonymous(),
            client_software: None,
        };
        let (broker, limits) = (broker.clone(), limits.clone());
        match ssl.clone() {
            None => tasks.spawn(async move {
                let received = FrameBuffer::new(limits.frame_bytes_max);
                let transport = Transport::Plain(stream);
                connection::serve(transport, received, broker, session, limits).await;
                drop(admitted);
            }),
            Some(ssl) => tasks.spawn(async move {
                serve_ssl(stream, &ssl, broker, session, limits).await;
                drop(admitted);
            }),
        };
    }
}

/// The handshake, and then the connection.
async fn serve_ssl(
    stream: TcpStream,
    ssl: &SslListener,
    broker: Arc<Broker>,
    mut session: Session,
    limits: Limits,
) {
    let state = ssl.state();
    let mut received = FrameBuffer::new(limits.frame_bytes_max);
    // Boxed, so that a connection is no larger for it than its handshake was.
    let greeted = Box::pin(greet(stream, &state, &mut received, limits.idle_max)).await;
    let (id, client) = (session.connection_id, session.client_host);
    match greeted {
        Ok((stream, principal)) => {
            debug!(connection = id, %client, %principal, "SSL handshake");
            session.principal = principal;
            drop(state);
            let transport = Transport::Tls(Box::new(stream));
            connection::serve(transport, received, broker, session, limits).await;
        }
        Err(failed @ (tls::HandshakeFailed::Closed | tls::HandshakeFailed::Io(_))) => {
            debug!(connection = id, %client, "SSL handshake: {failed}");
        }
        Err(failed) => {
            let listener = ssl.name();
            info!(
                listener,
                connection = id,
                "Failed authentication with /{client} (SSL handshake failed): {failed}"
            );
        }
    }
}

async fn greet(
    stream: TcpStream,
    state: &SslState,
    received: &mut FrameBuffer,
    idle_max: Option<Duration>,
) -> Result<(TlsStream, KafkaPrincipal), tls::HandshakeFailed> {
    let time = idle_max.map_or(tls::HANDSHAKE_TIME_MAX, |max| {
        max.min(tls::HANDSHAKE_TIME_MAX)
    });
    let handshake = TlsStream::accept(stream, state.config(), received);
    let handshake = tokio::time::timeout(time, handshake).await;
    let stream = handshake.map_err(|_| tls::HandshakeFailed::TooSlow(time))??;
    let principal = state.principal(stream.peer_certificates())?;
    Ok((stream, principal))
}

/// Whether accepting has failed for what became of a connection before it was accepted, so that the next one may be
/// accepted at once. (accept(2))
fn is_of_one_connection(error: &io::Error) -> bool {
    const OF_ONE: [Errno; 10] = [
        Errno::CONNABORTED,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::NETDOWN,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    Errno::from_io_error(error).is_some_and(|errno| OF_ONE.contains(&errno))
}

/// What went wrong, and what to do about it.
fn explained(error: &io::Error) -> String {
    if error.raw_os_error() != Some(Errno::MFILE.raw_os_error()) {
        return error.to_string();
    }
    let limit = descriptors::limit().map_or("no limit".to_owned(), |limit| limit.to_string());
    format!("{error}: this process may have {limit} (`ulimit -n`, LimitNOFILE= of systemd)")
}

fn prepare(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&socket2::TcpKeepalive::new())?;
    if let Some(bytes) = buffer_size(settings.socket_send_buffer_bytes()) {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_not_of_one_connection() {
        let is_of_one = |errno: Errno| is_of_one_connection(&errno.into());
        assert!([Errno::CONNABORTED, Errno::PERM].into_iter().all(is_of_one));
        let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        assert!(!shortages.into_iter().any(is_of_one));
    }

    #[test]
    fn a_receive_buffer_is_set_where_it_is_not_the_one_of_kafka() {
        assert_eq!(receive_buffer_size(102_400), None);
        assert_eq!(receive_buffer_size(-1), None);
        assert_eq!(receive_buffer_size(65_536), Some(65_536));
    }
}
