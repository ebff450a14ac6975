//! Requests about logs and where they lie, answered as Kafka 4.3.0 answered them. What Kafka takes out of hash maps comes
//! in any order, and bytes of a disk are its own: both are put aside before answers are compared.

use std::path::Path;

use bytes::Bytes;
use dohle::ids::{PartitionIndex, Timestamp};
use dohle::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeProducersRequest, DescribeProducersResponse, FetchRequest,
    ListOffsetsRequest, ListOffsetsResponse, Message, MetadataRequest, MetadataResponse,
    OffsetForLeaderEpochRequest, ProduceRequest, Request, ResponseHeader, text,
};
use dohle::metadata::Image;
use protocol_tests::{Connection, Node};

const LOGS: &str = include_str!("../fixtures/dirs/dirs.tsv");
const JBOD: &str = include_str!("../fixtures/dirs/jbod.tsv");
const OFFLINE: &str = include_str!("../fixtures/dirs/offline.tsv");
const CORDONED: &str = include_str!("../fixtures/dirs/cordoned.tsv");

/// One request of a fixture with its answer.
struct Asked<'a> {
    line: &'a str,
    api: &'a str,
    version: i16,
    request: Bytes,
    response: Bytes,
}

impl Asked<'_> {
    fn parse(line: &str) -> Asked<'_> {
        let [api, version, request, response]: [&str; 4] = line
            .split('\t')
            .collect::<Vec<_>>()
            .try_into()
            .expect("four fields");
        Asked {
            line,
            api,
            version: version.parse().expect("a version"),
            request: unhex(request),
            response: unhex(response),
        }
    }

    /// Asks, and compares what a client of that version sees once `arrange` was done to both answers.
    async fn check<R: Request>(
        &self,
        connection: &mut Connection,
        arrange: impl Fn(&mut R::Response),
    ) {
        connection
            .send_body(R::KEY, self.version, &self.request)
            .await;
        self.compare::<R>(connection, arrange).await;
    }

    async fn compare<R: Request>(
        &self,
        connection: &mut Connection,
        arrange: impl Fn(&mut R::Response),
    ) {
        let mut frame = connection.receive_frame().await.expect("an answer");
        ResponseHeader::read(&mut frame, R::KEY, self.version).expect("a header");
        let [theirs, ours] = [self.response.clone(), frame].map(|body| {
            let mut response = R::Response::decode_exact(body, self.version).expect("a response");
            arrange(&mut response);
            format!("{response:#?}")
        });
        assert_eq!(ours, theirs, "{}", self.line);
    }

    /// Asks a node whose log directories lie in `data`, as those that were asked lay in /data.
    async fn check_in(&self, connection: &mut Connection, data: &Path) {
        let data = data.to_str().expect("a path");
        match self.api {
            "DescribeLogDirs" => {
                let arrange = |response: &mut DescribeLogDirsResponse| {
                    for directory in &mut response.results {
                        directory.log_dir = text(directory.log_dir.replace(data, "/data"));
                        directory.total_bytes = directory.total_bytes.signum();
                        directory.usable_bytes = directory.usable_bytes.signum();
                        directory.topics.sort_by(|a, b| a.name.cmp(&b.name));
                        for topic in &mut directory.topics {
                            topic
                                .partitions
                                .sort_by_key(|partition| partition.partition_index);
                        }
                    }
                };
                self.check::<DescribeLogDirsRequest>(connection, arrange)
                    .await;
            }
            "AlterReplicaLogDirs" => {
                let request = self.request.clone();
                let mut request =
                    AlterReplicaLogDirsRequest::decode(request, self.version).expect("a request");
                for directory in &mut request.dirs {
                    directory.path = text(directory.path.replace("/data", data));
                }
                connection.send(&request, self.version).await;
                let sort = |response: &mut AlterReplicaLogDirsResponse| {
                    for topic in &mut response.results {
                        topic
                            .partitions
                            .sort_by_key(|partition| partition.partition_index);
                    }
                };
                self.compare::<AlterReplicaLogDirsRequest>(connection, sort)
                    .await;
            }
            "Metadata" => {
                let arrange = |response: &mut MetadataResponse| {
                    response.cluster_id = None;
                    response.brokers.clear();
                };
                self.check::<MetadataRequest>(connection, arrange).await;
            }
            _ => self.check_record(connection).await,
        }
    }

    async fn check_record(&self, to: &mut Connection) {
        match self.api {
            "CreateTopics" => self.check::<CreateTopicsRequest>(to, |_| {}).await,
            "CreatePartitions" => self.check::<CreatePartitionsRequest>(to, |_| {}).await,
            "Produce" => self.check::<ProduceRequest>(to, |_| {}).await,
            "Fetch" => self.check::<FetchRequest>(to, |_| {}).await,
            "ListOffsets" => {
                let sort = |response: &mut ListOffsetsResponse| {
                    for topic in &mut response.topics {
                        topic
                            .partitions
                            .sort_by_key(|partition| partition.partition_index);
                    }
                };
                self.check::<ListOffsetsRequest>(to, sort).await;
            }
            "DeleteRecords" => {
                let sort = |response: &mut DeleteRecordsResponse| {
                    response.topics.sort_by(|a, b| a.name.cmp(&b.name));
                    for topic in &mut response.topics {
                        topic
                            .partitions
                            .sort_by_key(|partition| partition.partition_index);
                    }
                };
                self.check::<DeleteRecordsRequest>(to, sort).await;
            }
            "OffsetForLeaderEpoch" => {
                self.check::<OffsetForLeaderEpochRequest>(to, |_| {}).await;
            }
            "DescribeProducers" => {
                let sort = |response: &mut DescribeProducersResponse| {
                    let topics = response.topics.iter_mut();
                    for partition in topics.flat_map(|topic| &mut topic.partitions) {
                        partition
                            .active_producers
                            .sort_by_key(|producer| producer.producer_id.0);
                    }
                };
                self.check::<DescribeProducersRequest>(to, sort).await;
            }
            other => panic!("{other} is not asked"),
        }
    }
}

fn unhex(text: &str) -> Bytes {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

fn lines(fixture: &str) -> impl Iterator<Item = &str> {
    fixture.lines().filter(|line| !line.starts_with('#'))
}

#[tokio::test]
async fn records_epochs_and_producers_are_answered_as_by_kafka() {
    let mut node = Node::start().await;
    let mut connection = node.connect().await;
    for line in lines(LOGS) {
        if line == "restart" {
            drop(connection);
            node = node.restart().await;
            connection = node.connect().await;
            continue;
        }
        Asked::parse(line).check_record(&mut connection).await;
    }
    node.stop().await;
}

fn log_dirs(data: &Path) -> String {
    let directories = ["a", "b", "c"].map(|name| data.join(name).display().to_string());
    directories.join(",")
}

/// A node with the log directories a, b and c.
async fn with_three_directories(overrides: &[(&str, &str)]) -> Node {
    let data = tempfile::tempdir().expect("a folder for the data");
    let log_dirs = log_dirs(data.path());
    let overrides = [&[("log.dirs", &*log_dirs)][..], overrides].concat();
    Node::start_in(data, &overrides).await
}

#[tokio::test]
async fn several_log_directories_are_described_as_by_kafka() {
    let node = with_three_directories(&[]).await;
    let data = node.data().to_owned();
    let mut connection = node.connect().await;
    let mut under_way = node.broker().replicas().moves_under_way();
    for line in lines(JBOD) {
        if line == "moved" {
            let ended = under_way.wait_for(|count| *count == 0).await;
            ended.expect("the node goes on");
            continue;
        }
        Asked::parse(line).check_in(&mut connection, &data).await;
    }
    node.stop().await;
}

/// A directory fails while the node runs, is broken when it starts, and is repaired.
#[tokio::test]
async fn an_offline_directory_is_answered_as_by_kafka() {
    let mut node = with_three_directories(&[]).await;
    let data = node.data().to_owned();
    let [lost, away] = ["b", "away"].map(|name| data.join(name));
    let mut connection = node.connect().await;
    for line in lines(OFFLINE) {
        match line {
            "fail" => {
                std::fs::rename(&lost, &away).expect("it can be moved");
                let partition = (node.broker().image().topics().by_name("t"))
                    .and_then(|t| node.broker().replicas().get(t.id, PartitionIndex(1)).ok())
                    .expect("t-1 is there");
                let rolled = partition.log().roll(Timestamp(0));
                rolled.expect_err("the directory is gone");
                let is_told = |image: &Image| {
                    let t = image.topics().by_name("t").expect("it is there");
                    let partition = t.partition(PartitionIndex(1)).expect("it is there");
                    partition.leader.is_none()
                };
                node.broker().metadata().wait_for(is_told).await;
            }
            "break" => {
                std::fs::write(&lost, "").expect("its name is free");
                node = node.restart().await;
                connection = node.connect().await;
            }
            "repair" => {
                std::fs::remove_file(&lost).expect("nobody uses it");
                std::fs::rename(&away, &lost).expect("its name is free");
                node = node.restart().await;
                connection = node.connect().await;
            }
            _ => Asked::parse(line).check_in(&mut connection, &data).await,
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn cordoned_directories_are_answered_as_by_kafka() {
    let mut node = with_three_directories(&[]).await;
    let data = node.data().to_owned();
    let mut connection = node.connect().await;
    for line in lines(CORDONED) {
        if let Some(cordoned) = line.strip_prefix("cordon ") {
            let cordoned = cordoned.replace("/data", data.to_str().expect("a path"));
            let cordoned = [("cordoned.log.dirs", &*cordoned)];
            node = node.restart_with(&cordoned).await;
            connection = node.connect().await;
            continue;
        }
        Asked::parse(line).check_in(&mut connection, &data).await;
    }
    node.stop().await;
}

/// A log that lies twice is refused, but for one that was just put into the place of another.
#[tokio::test]
async fn a_log_in_two_directories_stops_the_start_unless_it_replaces_the_other() {
    let node = with_three_directories(&[]).await;
    let mut connection = node.connect().await;
    for line in lines(JBOD).take(4) {
        Asked::parse(line)
            .check_in(&mut connection, node.data())
            .await;
    }
    let (one, other) = (node.data().join("a/t-0"), node.data().join("c/t-0"));
    let overrides =
        [("log.dirs", &*log_dirs(node.data()))].map(|(name, dirs)| (name, dirs.to_owned()));
    let data = node.stop_and_keep().await;
    std::fs::create_dir(&other).expect("a directory");
    for file in std::fs::read_dir(&one).expect("a log") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), other.join(file.file_name())).expect("a copy");
    }
    let settings = || {
        dohle::config::Settings::on_free_ports(data.path())
            .with(
                &overrides
                    .clone()
                    .map(|(name, dirs)| (name.to_owned(), dirs)),
            )
            .expect("valid settings")
    };
    let refused = dohle::server::Server::start(settings()).await;
    let refused = refused
        .err()
        .expect("nobody knows which counts")
        .to_string();
    assert!(
        refused.contains("Duplicate log directories for t-0 are found in both"),
        "{refused}"
    );
    std::fs::write(other.join("replaces-other-directory"), "").expect("a mark");
    let server = dohle::server::Server::start(settings())
        .await
        .expect("c has it");
    assert!(!one.exists() && !other.join("replaces-other-directory").exists());
    server.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn the_failure_of_the_metadata_logs_directory_ends_the_node() {
    let node = with_three_directories(&[]).await;
    let mut connection = node.connect().await;
    for line in lines(JBOD).take(6) {
        Asked::parse(line)
            .check_in(&mut connection, node.data())
            .await;
    }
    std::fs::rename(node.data().join("a"), node.data().join("away")).expect("it can be moved");
    let partition = (node.broker().image().topics().by_name("t"))
        .and_then(|t| node.broker().replicas().get(t.id, PartitionIndex(0)).ok())
        .expect("t-0 is there");
    let rolled = partition.log().roll(Timestamp(0));
    rolled.expect_err("the directory is gone");
    let failure = node.broker().failed().await.to_string();
    assert!(failure.contains("metadata log"), "{failure}");
}
