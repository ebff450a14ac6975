//! ProduceRequest.

use bytes::Bytes;
use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ProduceRequest: 3-13, flexible 9 {
        transactional_id: Option<StrBytes> [0+],
        acks: i16 [0+],
        timeout_ms: i32 [0+],
        topic_data: Vec<TopicProduceData> [0+],
    }
    TopicProduceData {
        name: StrBytes [0-12, ignorable],
        topic_id: Uuid [13+, ignorable],
        partition_data: Vec<PartitionProduceData> [0+],
    }
    PartitionProduceData {
        index: i32 [0+],
        records: Option<Bytes> [0+],
    }
}
