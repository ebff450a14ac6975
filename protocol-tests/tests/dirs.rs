//! Requests about logs and where they lie, answered as Kafka 4.3.0 answered them. What Kafka takes out of hash maps comes
//! in any order, and bytes of a disk are its own: both are put aside before answers are compared.

use bytes::Bytes;
use dohle::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteRecordsResponse, DescribeProducersRequest,
    DescribeProducersResponse, ListOffsetsRequest, ListOffsetsResponse, Message,
    OffsetForLeaderEpochRequest, ProduceRequest, Request, ResponseHeader,
};
use protocol_tests::{Connection, Node};

const LOGS: &str = include_str!("../fixtures/dirs/dirs.tsv");

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
        let mut frame = connection.receive_frame().await.expect("an answer");
        ResponseHeader::read(&mut frame, R::KEY, self.version).expect("a header");
        let [theirs, ours] = [self.response.clone(), frame].map(|body| {
            let mut response = R::Response::decode_exact(body, self.version).expect("a response");
            arrange(&mut response);
            format!("{response:#?}")
        });
        assert_eq!(ours, theirs, "{}", self.line);
    }
}

fn unhex(text: &str) -> Bytes {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}

#[tokio::test]
async fn records_epochs_and_producers_are_answered_as_by_kafka() {
    let mut node = Node::start().await;
    let mut connection = node.connect().await;
    for line in LOGS.lines().filter(|line| !line.starts_with('#')) {
        if line == "restart" {
            drop(connection);
            node = node.restart().await;
            connection = node.connect().await;
            continue;
        }
        let (asked, to) = (Asked::parse(line), &mut connection);
        match asked.api {
            "CreateTopics" => asked.check::<CreateTopicsRequest>(to, |_| {}).await,
            "Produce" => asked.check::<ProduceRequest>(to, |_| {}).await,
            "ListOffsets" => {
                let sort = |response: &mut ListOffsetsResponse| {
                    for topic in &mut response.topics {
                        topic
                            .partitions
                            .sort_by_key(|partition| partition.partition_index);
                    }
                };
                asked.check::<ListOffsetsRequest>(to, sort).await;
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
                asked.check::<DeleteRecordsRequest>(to, sort).await;
            }
            "OffsetForLeaderEpoch" => {
                asked.check::<OffsetForLeaderEpochRequest>(to, |_| {}).await;
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
                asked.check::<DescribeProducersRequest>(to, sort).await;
            }
            other => panic!("{other} is not asked"),
        }
    }
    node.stop().await;
}
