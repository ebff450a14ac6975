//! SSL listeners through their sockets: records whole, certificates asked for, what is no TLS, and new certificates.

#![expect(
    clippy::unwrap_used,
    reason = "what makes certificates and connections is part of the tests"
)]

use std::fs;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dohle::clock::Clock;
use dohle::messages::create_topics_request::CreatableTopic;
use dohle::messages::fetch_request::{FetchPartition, FetchTopic};
use dohle::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use dohle::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use dohle::messages::produce_request::{PartitionProduceData, TopicProduceData};
use dohle::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FetchResponse,
    IncrementalAlterConfigsRequest, ProduceRequest, Records, text,
};
use dohle::record::{BatchBuilder, batches};
use protocol_tests::{Connection, Node, within};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// An authority, with a certificate for the node and one for a client.
struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Authority {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    fn identity(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn connector(
        &self,
        client: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let config =
            ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
        let config = match client {
            None => config.with_no_client_auth(),
            Some(client) => {
                let chain = CertificateDer::from_pem_slice(client.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes());
                let chain = vec![chain.unwrap()];
                config.with_client_auth_cert(chain, key.unwrap()).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// ApiVersions 0 with the correlation id 7.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

impl Identity {
    /// As a key store.
    fn store(&self) -> NamedTempFile {
        let store = NamedTempFile::new().unwrap();
        self.write(&store);
        store
    }

    fn write(&self, store: &NamedTempFile) {
        let Identity { certificate, key } = self;
        fs::write(store.path(), format!("{certificate}{key}")).unwrap();
    }

    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()
    }
}

/// A node with one SSL listener, its key store in a file.
async fn start(authority: &Authority, settings: &[(&str, &str)]) -> (Node, NamedTempFile) {
    let store = authority.identity("node").store();
    let path = store.path().display().to_string();
    let mut all = vec![
        ("listeners", "SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        (
            "listener.security.protocol.map",
            "SSL:SSL,CONTROLLER:PLAINTEXT",
        ),
        ("inter.broker.listener.name", "SSL"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &path),
    ];
    all.extend_from_slice(settings);
    (Node::start_with(&all).await, store)
}

async fn connect(node: &Node, connector: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(node.address()).await?;
    connector.connect(localhost(), stream).await
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// Keeps what is written until something is to be read, and sends it then, so many bytes at a time.
struct HeldBack {
    stream: TcpStream,
    held: Vec<u8>,
    piece: usize,
}

impl AsyncRead for HeldBack {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let HeldBack {
            stream,
            held,
            piece,
        } = &mut *self;
        while !held.is_empty() {
            let piece = &held[..held.len().min(*piece)];
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, piece))?;
            held.drain(..sent);
        }
        Pin::new(stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HeldBack {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.held.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn served(node: &Node, connector: &TlsConnector) -> CertificateDer<'static> {
    let stream = connect(node, connector).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// Gives the SSL listener another key store.
async fn give(node: &Node, connector: &TlsConnector, path: &str) -> AlterConfigsResourceResponse {
    let config = AlterableConfig::default()
        .with_name(text("listener.name.ssl.ssl.keystore.location"))
        .with_value(Some(text(path)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let mut connection = Connection::over(connect(node, connector).await.unwrap());
    connection.call(&request, 1).await.responses.remove(0)
}

/// Likewise one that it takes.
async fn give_store(node: &Node, connector: &TlsConnector, store: &NamedTempFile) {
    let path = store.path().display().to_string();
    let given = give(node, connector, &path).await;
    assert_eq!(given.error_code, 0, "{:?}", given.error_message);
}

async fn is_served(connection: &mut Connection) -> bool {
    let answer = connection.call(&ApiVersionsRequest::default(), 0).await;
    answer.error_code == 0 && !answer.api_keys.is_empty()
}

async fn create_topic(connection: &mut Connection) {
    let topic = CreatableTopic::default()
        .with_name(text("t").into())
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    assert_eq!(connection.call(&request, 7).await.topics[0].error_code, 0);
}

async fn produce(connection: &mut Connection, records: Bytes) -> i64 {
    let partition_data = vec![PartitionProduceData {
        records: Some(records),
        ..Default::default()
    }];
    let topic_data = vec![TopicProduceData {
        name: text("t"),
        partition_data,
        ..Default::default()
    }];
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data,
        ..Default::default()
    };
    let mut answer = connection.call(&request, 12).await;
    let partition = answer.responses.remove(0).partition_responses.remove(0);
    assert_eq!(partition.error_code, 0);
    partition.base_offset
}

fn batch(value: &[u8]) -> Bytes {
    let mut batch = BatchBuilder::new();
    batch.append(Clock::system().now(), None, Some(value));
    batch.build().bytes
}

fn fetch_request(fetch_offset: i64, bytes: i32) -> FetchRequest {
    let partitions = vec![FetchPartition {
        fetch_offset,
        partition_max_bytes: bytes,
        ..Default::default()
    }];
    let topics = vec![FetchTopic {
        topic: text("t"),
        partitions,
        ..Default::default()
    }];
    FetchRequest {
        min_bytes: 1,
        max_bytes: bytes,
        topics,
        ..Default::default()
    }
}

async fn fetch(connection: &mut Connection, fetch_offset: i64, bytes: i32) -> Bytes {
    let request = fetch_request(fetch_offset, bytes);
    records(connection.call(&request, 12).await)
}

fn records(mut answer: FetchResponse) -> Bytes {
    match answer.responses.remove(0).partitions.remove(0).records {
        Some(Records::Bytes(records)) => records,
        other => panic!("no records: {other:?}"),
    }
}

#[tokio::test]
async fn small_and_large_records_are_read_as_written() {
    let authority = Authority::new();
    let (node, _store) = start(&authority, &[]).await;
    for version in BOTH {
        let connector = authority.connector(None, &[version]);
        let mut connection = Connection::over(connect(&node, &connector).await.unwrap());
        if *version == &version::TLS12 {
            create_topic(&mut connection).await;
        }
        for bytes in [1, 100, 16_384, 20_000, 131_072, 1_000_000] {
            let value: Vec<u8> = (0..bytes).map(|n: u32| (n / 3) as u8).collect();
            let offset = produce(&mut connection, batch(&value)).await;
            let read = batches(fetch(&mut connection, offset, 1 << 20).await);
            let batch = read.into_iter().next().unwrap().unwrap();
            batch.check_crc().unwrap();
            let record = batch.records().unwrap().next().unwrap().unwrap();
            assert_eq!(record.value.unwrap(), value);
        }
        let all = fetch(&mut connection, 0, 16 << 20).await;
        assert!(all.len() > 1_100_000);
        assert!(batches(all).all(|batch| batch.unwrap().check_crc().is_ok()));
    }
    node.stop().await;
}

#[tokio::test]
async fn requests_may_come_in_pieces_and_with_the_end_of_the_handshake() {
    let authority = Authority::new();
    let (node, _store) = start(&authority, &[]).await;
    for version in BOTH {
        for piece in [7, 1_000, usize::MAX] {
            let stream = TcpStream::connect(node.address()).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let stream = HeldBack {
                stream,
                held: Vec::new(),
                piece,
            };
            let connector = authority.connector(None, &[version]);
            let stream = connector.connect(localhost(), stream).await.unwrap();
            let mut connection = Connection::over(stream);
            if piece == 7 && *version == &version::TLS12 {
                create_topic(&mut connection).await;
            }
            let records = batch(&vec![7; 20_000]);
            let offset = produce(&mut connection, records.clone()).await;
            let read = fetch(&mut connection, offset, 1 << 20).await;
            assert_eq!(read[61..], records[61..]);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn who_reads_late_gets_each_answer_whole_and_in_order() {
    const ANSWERS: usize = 24;
    let authority = Authority::new();
    let (node, _store) = start(&authority, &[]).await;
    for version in BOTH {
        let connector = authority.connector(None, &[version]);
        let mut connection = Connection::over(connect(&node, &connector).await.unwrap());
        if *version == &version::TLS12 {
            create_topic(&mut connection).await;
        }
        let mut offsets = Vec::new();
        for byte in [1, 2] {
            offsets.push(produce(&mut connection, batch(&vec![byte; 900_000])).await);
        }
        // More than sockets take: what is encrypted has to wait.
        for n in 0..ANSWERS {
            let request = fetch_request(offsets[n % 2], 1);
            connection.send(&request, 12).await;
        }
        for n in 0..ANSWERS {
            let read = batches(records(connection.receive::<FetchRequest>(12).await));
            let batch = read.into_iter().next().unwrap().unwrap();
            batch.check_crc().unwrap();
            assert_eq!(batch.header.base_offset.0, offsets[n % 2]);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn keys_may_change_and_a_goodbye_is_answered() {
    let authority = Authority::new();
    let (node, _store) = start(&authority, &[]).await;
    let connector = authority.connector(None, &[&version::TLS13]);
    let mut stream = connect(&node, &connector).await.unwrap();
    for _ in 0..3 {
        stream.get_mut().1.refresh_traffic_keys().unwrap();
        stream.write_all(&API_VERSIONS).await.unwrap();
        let length = stream.read_u32().await.unwrap();
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[..4], [0, 0, 0, 7]);
    }
    // The socket stays open.
    stream.get_mut().1.send_close_notify();
    stream.flush().await.unwrap();
    within("the end", async {
        let mut rest = Vec::new();
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn clients_without_a_certificate_are_refused_where_one_is_required() {
    let authority = Authority::new();
    let (other, client) = (Authority::new(), authority.identity("client"));
    let trusted = [
        ("ssl.client.auth", "required"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.certificates", &authority.certificate),
    ];
    let (node, _store) = start(&authority, &trusted).await;
    for version in BOTH {
        for (with, served) in [
            (None, false),
            (Some(&other.identity("client")), false),
            (Some(&client), true),
        ] {
            let connector = authority.connector(with, &[version]);
            let mut answered = false;
            // With TLS 1.3 a client learns it only when it reads.
            if let Ok(mut stream) = connect(&node, &connector).await {
                let mut answer = [0; 8];
                answered = stream.write_all(&API_VERSIONS).await.is_ok()
                    && stream.read_exact(&mut answer).await.is_ok()
                    && answer[4..] == [0, 0, 0, 7];
            }
            assert_eq!(answered, served);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_closed_and_who_is_slow_holds_nobody() {
    let authority = Authority::new();
    let (node, _store) = start(&authority, &[]).await;
    let mut slow = Vec::new();
    for begun in [&[][..], &[22, 3, 1], &[22, 3, 1, 2, 0, 1, 0]] {
        let mut stream = TcpStream::connect(node.address()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        slow.push(stream);
    }
    let mut plain = node.connect().await;
    plain.send(&ApiVersionsRequest::default(), 0).await;
    assert!(plain.is_closed().await);
    let mut absurd = TcpStream::connect(node.address()).await.unwrap();
    absurd.write_all(&[22, 3, 3, 0xff, 0xff, 1]).await.unwrap();
    let mut alert = Vec::new();
    let end = absurd.read_to_end(&mut alert).await;
    assert!(end.is_ok_and(|bytes| bytes < 100) || alert.is_empty());
    let connector = authority.connector(None, BOTH);
    let mut connection = Connection::over(connect(&node, &connector).await.unwrap());
    assert!(is_served(&mut connection).await);
    drop(slow);
    node.stop().await;
}

#[tokio::test]
async fn tls_on_a_plaintext_listener_is_closed() {
    let node = Node::start().await;
    let connector = Authority::new().connector(None, BOTH);
    let refused = connect(&node, &connector).await.unwrap_err();
    assert!(matches!(
        refused.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    ));
    assert!(is_served(&mut node.connect().await).await);
    node.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_served_once_the_setting_is_given_again() {
    let authority = Authority::new();
    let (node, store) = start(&authority, &[]).await;
    let connector = authority.connector(None, BOTH);
    let later = authority.identity("later");
    later.write(&store);
    give_store(&node, &connector, &store).await;
    within("the new certificate", async {
        while served(&node, &connector).await != later.der() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let refused = give(&node, &connector, "/nowhere.pem").await;
    assert_eq!(refused.error_code, 42, "{:?}", refused.error_message);
    node.stop().await;
}

#[tokio::test]
async fn a_store_that_was_given_counts_after_a_restart_and_the_one_before_may_be_gone() {
    let authority = Authority::new();
    let (node, store) = start(&authority, &[]).await;
    let connector = authority.connector(None, BOTH);
    let later = authority.identity("later");
    let other_store = later.store();
    give_store(&node, &connector, &other_store).await;
    drop(store);
    let node = node.restart().await;
    assert_eq!(served(&node, &connector).await, later.der());
    node.stop().await;
}
