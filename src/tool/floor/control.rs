//! What a client asks besides producing and fetching: versions, topics and their ends. Nobody measures this, so it is
//! written with the broker's own messages.

use std::io;

use bytes::Bytes;

use super::frames::VERSION;
use super::{Topic, Topics, malformed};
use crate::error_code::ErrorCode;
use crate::messages::api_versions_response::ApiVersion;
use crate::messages::create_topics_response::CreatableTopicResult;
use crate::messages::delete_topics_response::DeletableTopicResult;
use crate::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use crate::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse,
    DecodeError, DeleteTopicsRequest, DeleteTopicsResponse, FetchRequest, ListOffsetsRequest,
    ListOffsetsResponse, Message, MetadataRequest, MetadataResponse, ProduceRequest, Request,
    RequestHeader, ResponseHeader, Writer, text,
};
use crate::tool::client::EARLIEST;

/// The only broker there is.
const NODE: i32 = 1;
/// Partitions of a topic, at most: each is an open file.
const PARTITIONS_MAX: i32 = 10_000;

/// Answers one request, without its length; the answer goes behind what is in `out`.
pub(super) fn answer(request: &[u8], topics: &Topics, out: &mut Vec<u8>) -> io::Result<()> {
    let mut body = Bytes::copy_from_slice(request);
    let header = RequestHeader::read(&mut body).map_err(|_| malformed())?;
    let call = Call { header, body, out };
    match call.header.request_api_key {
        ApiVersionsRequest::KEY => call.answer(|_: ApiVersionsRequest| Ok(versions())),
        MetadataRequest::KEY => call.answer(|request| Ok(metadata(request, topics))),
        CreateTopicsRequest::KEY => call.answer(|request| create(request, topics)),
        DeleteTopicsRequest::KEY => call.answer(|request| Ok(delete(request, topics))),
        ListOffsetsRequest::KEY => call.answer(|request| Ok(offsets(request, topics))),
        _ => Err(malformed()),
    }
}

/// A request that is being answered.
struct Call<'a> {
    header: RequestHeader,
    body: Bytes,
    out: &'a mut Vec<u8>,
}

impl Call<'_> {
    fn answer<R: Request>(
        self,
        handle: impl FnOnce(R) -> io::Result<R::Response>,
    ) -> io::Result<()> {
        let version = self.header.request_api_version;
        let request = R::decode(self.body, version).map_err(unreadable)?;
        let response = handle(request)?;
        let header = ResponseHeader {
            correlation_id: self.header.correlation_id,
            ..ResponseHeader::default()
        };
        let mut out = Writer::new();
        out.put_i32(0);
        let written = header.write(&mut out, R::KEY, version);
        let written = written.and_then(|()| response.encode(&mut out, version));
        written.map_err(io::Error::other)?;
        out.patch_i32(0, i32::try_from(out.len() - 4).unwrap_or(i32::MAX));
        self.out.extend_from_slice(&out.into_bytes());
        Ok(())
    }
}

fn unreadable(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn versions() -> ApiVersionsResponse {
    fn all<R: Request>() -> ApiVersion {
        api(R::KEY, *R::VERSIONS.start(), *R::VERSIONS.end())
    }
    fn api(key: i16, min: i16, max: i16) -> ApiVersion {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    }
    ApiVersionsResponse::default().with_api_keys(vec![
        api(ProduceRequest::KEY, VERSION, VERSION),
        api(FetchRequest::KEY, VERSION, VERSION),
        all::<ListOffsetsRequest>(),
        all::<MetadataRequest>(),
        all::<ApiVersionsRequest>(),
        all::<CreateTopicsRequest>(),
        all::<DeleteTopicsRequest>(),
    ])
}

fn metadata(request: MetadataRequest, topics: &Topics) -> MetadataResponse {
    let wanted = |topic: &Topic| match &request.topics {
        None => true,
        Some(asked) => asked.iter().any(|asked| {
            let named = asked.name.as_ref();
            named.is_some_and(|name| name.as_str() == topic.name)
        }),
    };
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE))
            .with_replica_nodes(vec![BrokerId(NODE)])
            .with_isr_nodes(vec![BrokerId(NODE)])
    };
    let described = topics.all().into_iter().filter(|topic| wanted(topic));
    let described = described.map(|topic| {
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        MetadataResponseTopic::default()
            .with_name(Some(text(&topic.name).into()))
            .with_topic_id(topic.id)
            .with_partitions((0..partitions).map(partition).collect())
    });
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(text("127.0.0.1"))
        .with_port(i32::from(topics.port));
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(BrokerId(NODE))
        .with_topics(described.collect())
}

fn create(request: CreateTopicsRequest, topics: &Topics) -> io::Result<CreateTopicsResponse> {
    let mut created = Vec::new();
    for wanted in request.topics {
        let count = wanted.num_partitions.clamp(1, PARTITIONS_MAX);
        let topic = topics.create(wanted.name.as_str(), count as usize)?;
        let result = CreatableTopicResult::default()
            .with_name(wanted.name)
            .with_topic_id(topic.id)
            .with_num_partitions(count);
        created.push(result);
    }
    Ok(CreateTopicsResponse::default().with_topics(created))
}

fn delete(request: DeleteTopicsRequest, topics: &Topics) -> DeleteTopicsResponse {
    let result = |name: Option<_>| DeletableTopicResult::default().with_name(name);
    let names = request.topics.into_iter().map(|topic| topic.name);
    let deleted = names.map(|name| {
        if let Some(name) = &name {
            topics.delete(name.as_str());
        }
        result(name)
    });
    DeleteTopicsResponse::default().with_responses(deleted.collect())
}

fn offsets(request: ListOffsetsRequest, topics: &Topics) -> ListOffsetsResponse {
    let all = topics.all();
    let answered = request.topics.into_iter().map(|asked| {
        let topic = all.iter().find(|topic| topic.name == asked.name.as_str());
        let partitions = asked.partitions.into_iter().map(|partition| {
            let index = partition.partition_index;
            let end = topic
                .and_then(|topic| topic.partition(index))
                .map(|partition| partition.next_offset());
            let (code, offset) = match end {
                Some(_) if partition.timestamp == EARLIEST => (ErrorCode::None, 0),
                Some(end) => (ErrorCode::None, end),
                None => (ErrorCode::UnknownTopicOrPartition, -1),
            };
            ListOffsetsPartitionResponse {
                partition_index: index,
                error_code: code as i16,
                offset,
                leader_epoch: 0,
                ..ListOffsetsPartitionResponse::default()
            }
        });
        ListOffsetsTopicResponse {
            partitions: partitions.collect(),
            name: asked.name,
            ..ListOffsetsTopicResponse::default()
        }
    });
    ListOffsetsResponse {
        topics: answered.collect(),
        ..ListOffsetsResponse::default()
    }
}
