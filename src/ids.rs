//! The numbers that the protocol and the log are made of, each a type of its own, so that an offset cannot
//! stand where an epoch belongs. The wire's bare integers become these in `api/`, and bare again there.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// `node.id` of a broker or controller; -1 is "none".
    NodeId(i32)
}
number! {
    /// Position of a record in its partition, from 0.
    Offset(i64)
}
number! {
    /// Orders the leaders of one partition; -1 is "unknown".
    LeaderEpoch(i32)
}
number! {
    /// Orders the states (ISR, replicas, leader) of one partition.
    PartitionEpoch(i32)
}
number! {
    /// Orders the registrations of one broker: the offset of its registration record.
    BrokerEpoch(i64)
}
number! {
    /// An idempotent or transactional producer; -1 is "none".
    ProducerId(i64)
}
number! {
    /// Orders the incarnations of one producer id; -1 is "none".
    ProducerEpoch(i16)
}
number! {
    /// Index of a partition within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// Milliseconds since 1970; -1 is "none".
    Timestamp(i64)
}
number! {
    /// Milliseconds of a clock that only goes on. It says nothing outside of its process.
    SteadyTime(i64)
}

impl Offset {
    pub const ZERO: Offset = Offset(0);
}

impl Add<i64> for Offset {
    type Output = Offset;
    fn add(self, records: i64) -> Offset {
        Offset(self.0 + records)
    }
}

impl AddAssign<i64> for Offset {
    fn add_assign(&mut self, records: i64) {
        self.0 += records;
    }
}

impl Sub for Offset {
    type Output = i64;
    fn sub(self, other: Offset) -> i64 {
        self.0 - other.0
    }
}

impl LeaderEpoch {
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);
}

impl ProducerId {
    pub const NONE: ProducerId = ProducerId(-1);
}

impl ProducerEpoch {
    pub const NONE: ProducerEpoch = ProducerEpoch(-1);
}

impl Timestamp {
    pub const NONE: Timestamp = Timestamp(-1);

    /// This instant plus a duration in milliseconds; saturates.
    pub fn plus_ms(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }
}

/// The two times of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub steady: SteadyTime,
}

impl SteadyTime {
    /// When every wait that has been going on since before the process began is over.
    pub const START: SteadyTime = SteadyTime(0);

    /// This instant plus a duration in milliseconds; saturates.
    pub fn plus_ms(self, ms: i64) -> SteadyTime {
        SteadyTime(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` until this instant.
    pub fn since(self, earlier: SteadyTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A 128-bit id (topic, directory, cluster, incarnation) in Kafka's text form: URL-safe base64 without padding,
/// 22 characters. (org.apache.kafka.common.Uuid)
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KafkaUuid(pub Uuid);

/// The id of a topic; stays when a topic of the same name is created anew under another id.
pub type TopicId = KafkaUuid;
/// The id of a log directory (`directory.id` of its `meta.properties`).
pub type DirectoryId = KafkaUuid;

impl KafkaUuid {
    pub const ZERO: KafkaUuid = KafkaUuid(Uuid::nil());
    /// The id of `__cluster_metadata`, and of the directory "not assigned".
    pub const ONE: KafkaUuid = KafkaUuid(Uuid::from_u128(1));
    /// The directory "lost".
    pub const TWO: KafkaUuid = KafkaUuid(Uuid::from_u128(2));

    /// A new random id, never a reserved one (below 100) and never one that begins with `-`, which a shell tool
    /// would take for an option. (Uuid.randomUuid)
    pub fn random() -> KafkaUuid {
        loop {
            let id = KafkaUuid(Uuid::new_v4());
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// Parses the text form; `None` when it is not 16 bytes of URL-safe base64.
    pub fn parse(text: &str) -> Option<KafkaUuid> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        Some(KafkaUuid(Uuid::from_slice(&bytes).ok()?))
    }
}

impl fmt::Display for KafkaUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for KafkaUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition by the name of its topic. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: PartitionIndex,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition: PartitionIndex(partition),
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        assert_eq!(KafkaUuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(
            KafkaUuid::parse("AAAAAAAAAAAAAAAAAAAAAg"),
            Some(KafkaUuid::TWO)
        );
        assert_eq!(KafkaUuid::parse("short"), None);
        let id = KafkaUuid::random();
        assert_eq!(KafkaUuid::parse(&id.to_string()), Some(id));
    }
}
