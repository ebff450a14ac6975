//! Produce requests: all before the partitions is encoded once, and put in front of each request with its correlation id.

use crate::ids::PartitionIndex;
use crate::messages::{
    EncodeError, ProduceRequest, Request, RequestHeader, StrBytes, Writer, is_flexible, text,
};

/// Where the correlation id stands: after the length, the key and the version.
const CORRELATION_ID_AT: usize = 8;

/// The requests of one producer to one topic.
pub(super) struct Requests {
    head: Vec<u8>,
    version: i16,
    flexible: bool,
}

/// What a Produce request says before its topics.
pub(super) struct Terms {
    pub transactional_id: Option<StrBytes>,
    pub acks: i16,
    pub timeout_ms: i32,
}

/// What a Produce request says of its topic.
pub(super) struct Topic<'a> {
    pub name: &'a str,
    pub id: uuid::Uuid,
}

impl Requests {
    pub(super) fn new(
        client_id: &str,
        version: i16,
        topic: &Topic<'_>,
        terms: &Terms,
    ) -> Result<Requests, EncodeError> {
        let header = RequestHeader {
            request_api_key: ProduceRequest::KEY,
            request_api_version: version,
            client_id: Some(text(client_id)),
            ..RequestHeader::default()
        };
        let flexible = is_flexible(ProduceRequest::KEY, version);
        let mut out = Writer::new();
        out.put_i32(0);
        header.write(&mut out)?;
        put_text(&mut out, flexible, terms.transactional_id.as_ref());
        out.put_i16(terms.acks);
        out.put_i32(terms.timeout_ms);
        put_count(&mut out, flexible, 1);
        if version >= 13 {
            out.put_slice(topic.id.as_bytes());
        } else {
            put_text(&mut out, flexible, Some(&text(topic.name)));
        }
        Ok(Requests {
            head: out.into_bytes().to_vec(),
            version,
            flexible,
        })
    }

    pub(super) fn version(&self) -> i16 {
        self.version
    }

    pub(super) fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// Begins a request with that many partitions, each of which is announced by [`Requests::partition`].
    pub(super) fn begin(&self, out: &mut Writer, correlation_id: i32, partitions: usize) -> Begun {
        let (at, before) = (out.buffer().len(), out.len());
        out.put_slice(&self.head);
        out.patch_i32(at + CORRELATION_ID_AT, correlation_id);
        put_count(out, self.flexible, partitions);
        Begun { at, before }
    }

    /// Puts what stands before the records of a partition.
    pub(super) fn partition(&self, out: &mut Writer, index: PartitionIndex) {
        out.put_i32(index.0);
    }

    /// Puts what stands behind the records of a partition.
    pub(super) fn end_partition(&self, out: &mut Writer) {
        self.no_tags(out);
    }

    /// Ends the request; its length is known now.
    pub(super) fn end(&self, out: &mut Writer, begun: Begun) {
        self.no_tags(out);
        self.no_tags(out);
        let length = out.len() - begun.before - 4;
        out.patch_i32(begun.at, i32::try_from(length).unwrap_or(i32::MAX));
    }

    fn no_tags(&self, out: &mut Writer) {
        if self.flexible {
            out.put_uvarint(0);
        }
    }
}

/// A request that is being written: where it begins in the buffer, and what was written before it.
#[must_use]
pub(super) struct Begun {
    at: usize,
    before: usize,
}

fn put_count(out: &mut Writer, flexible: bool, count: usize) {
    if flexible {
        out.put_uvarint(u32::try_from(count + 1).unwrap_or(u32::MAX));
    } else {
        out.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

fn put_text(out: &mut Writer, flexible: bool, text: Option<&StrBytes>) {
    match (text, flexible) {
        (None, true) => out.put_uvarint(0),
        (None, false) => out.put_i16(-1),
        (Some(text), true) => out.put_uvarint(u32::try_from(text.len() + 1).unwrap_or(u32::MAX)),
        (Some(text), false) => out.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX)),
    }
    if let Some(text) = text {
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ids::Timestamp;
    use crate::messages::Message;
    use crate::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use crate::record::{BatchHeader, Producer};
    use crate::tool::bench::batches::{Outline, Template};
    use crate::tool::bench::workload::Workload;

    /// The same request from the schema.
    fn encoded(version: i16, id: uuid::Uuid, batch: &Bytes) -> Bytes {
        let partition = |index| PartitionProduceData {
            index,
            records: Some(batch.clone()),
            ..PartitionProduceData::default()
        };
        let topic = TopicProduceData {
            name: text("topic"),
            topic_id: id,
            partition_data: vec![partition(3), partition(9)],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            transactional_id: Some(text("a producer")),
            acks: -1,
            timeout_ms: 4000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let header = RequestHeader {
            request_api_key: ProduceRequest::KEY,
            request_api_version: version,
            correlation_id: 77,
            client_id: Some(text("client")),
            ..RequestHeader::default()
        };
        let mut out = Writer::new();
        header.write(&mut out).unwrap();
        request.encode(&mut out, version).unwrap();
        out.into_bytes()
    }

    #[test]
    fn requests_are_those_of_the_schema_in_each_version() {
        let template = Template::new(
            &Workload {
                message_size: 6000,
                ..Workload::default()
            },
            None,
        );
        let outline = Outline {
            count: 1,
            timestamp: Timestamp(5),
            producer: Producer::NONE,
            transactional: true,
            entries: &[],
        };
        let id = uuid::Uuid::from_u128(0x1234_5678);
        let terms = Terms {
            transactional_id: Some(text("a producer")),
            acks: -1,
            timeout_ms: 4000,
        };
        for version in ProduceRequest::VERSIONS {
            let topic = Topic { name: "topic", id };
            let requests = Requests::new("client", version, &topic, &terms).unwrap();
            let mut out = Writer::new();
            out.put_slice(b"an earlier one");
            let begun = requests.begin(&mut out, 77, 2);
            for index in [3, 9] {
                requests.partition(&mut out, PartitionIndex(index));
                template.write(&mut out, requests.is_flexible(), &outline);
                requests.end_partition(&mut out);
            }
            requests.end(&mut out, begun);
            let bytes = out.into_bytes().slice(14..);

            let mut batch = Writer::new();
            template.write(&mut batch, false, &outline);
            let batch = batch.into_bytes().slice(4..);
            assert_eq!(BatchHeader::parse(&batch).unwrap().record_count, 1);
            let expected = encoded(version, id, &batch);
            assert_eq!(&bytes[..4], (expected.len() as i32).to_be_bytes());
            assert_eq!(bytes.slice(4..), expected, "version {version}");
        }
    }
}
