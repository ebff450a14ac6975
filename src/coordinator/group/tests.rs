//! The scripts of `testdata/` (`script_tests`). Member ids end in the number of the request that made them: `a-1` stands
//! for `a-00000000-0000-0000-0000-000000000001`.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::coordinator::script_tests::{Arguments, Scripted, World, run_all};
use crate::messages::text;

mod print;
mod requests;

const UUID_PREFIX: &str = "-00000000-0000-0000-0000-";

#[test]
fn scripts() {
    run_all::<Machine>();
}

impl<'a> Arguments<'a> {
    fn version(&self, default: i16) -> i16 {
        self.short("v", default)
    }

    fn text(&self, name: &str) -> StrBytes {
        text(self.get(name).unwrap_or_default())
    }

    fn group(&self) -> &'a str {
        self.get("group").unwrap_or("g")
    }

    /// `a:x,b:y`
    fn pairs(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let pairs = self
            .get(name)
            .unwrap_or_default()
            .split(',')
            .filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.rsplit_once(':').unwrap_or((pair, "")))
            .collect()
    }

    fn member(&self) -> StrBytes {
        text(member_id(self.get("member").unwrap_or_default()))
    }

    fn instance(&self) -> Option<StrBytes> {
        self.get("instance").map(text)
    }
}

/// `a-1` as it is in full.
fn member_id(short: &str) -> String {
    match short
        .rsplit_once('-')
        .and_then(|(name, number)| Some((name, number.parse::<u64>().ok()?)))
    {
        Some((name, number)) => format!("{name}{UUID_PREFIX}{number:012}"),
        None => short.to_owned(),
    }
}

impl Scripted for Machine {
    const FOLDER: &'static str = "group/testdata";

    fn scripted() -> Machine {
        Machine::new(Config {
            initial_rebalance_delay_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            max_size: usize::MAX,
            offset_metadata_max_units: 8,
            retention_ms: 86_400_000,
            retention_check_interval_ms: 600_000,
        })
    }

    fn request(world: &World<Machine>, name: &str, arguments: &Arguments<'_>) -> Request {
        requests::request(world, name, arguments)
    }

    fn obey(world: &mut World<Machine>, name: &str, arguments: &Arguments<'_>) -> bool {
        let producer_id = ProducerId(arguments.number("producer", 1));
        match name {
            "config" => configure(&mut world.machine.config, arguments),
            "transactional" => transactional(world, arguments, producer_id),
            "end" => world.end_transaction(producer_id, arguments.get("commit").is_some()),
            "other" => world.append(other(arguments), ProducerId::NONE),
            _ => return false,
        }
        true
    }

    fn print_record(record: &Record) -> String {
        print::record(record)
    }

    fn print_response(response: &Response) -> String {
        print::response(response)
    }

    fn shorten(line: &str) -> String {
        let mut parts = line.split(UUID_PREFIX);
        let mut line = parts.next().unwrap().to_owned();
        for part in parts {
            let _ = write!(line, "-{}", part.trim_start_matches('0'));
        }
        line
    }
}

fn configure(config: &mut Config, arguments: &Arguments<'_>) {
    config.initial_rebalance_delay_ms =
        arguments.number("delay", config.initial_rebalance_delay_ms);
    if let Some(size) = arguments.get("max-size") {
        config.max_size = size.parse().unwrap();
    }
}

/// Offsets of an open transaction, as found in the log of a Kafka.
fn transactional(world: &mut World<Machine>, arguments: &Arguments<'_>, producer_id: ProducerId) {
    for (partition, offset) in arguments.pairs("offsets") {
        let (topic, partition) = partition.rsplit_once('/').unwrap();
        let value = records::OffsetValue {
            offset: offset.parse().unwrap(),
            leader_epoch: -1,
            metadata: Box::from(""),
            commit_timestamp: Timestamp(world.wall),
            expire_timestamp: None,
            topic_id: crate::ids::KafkaUuid::ZERO,
        };
        let partition = partition.parse().unwrap();
        let key = records::OffsetKey {
            group: Arc::from(arguments.group()),
            topic: Arc::from(topic),
            partition,
        };
        world.append(
            Record::Offset {
                key,
                value: Some(value),
            },
            producer_id,
        );
    }
}

/// A record of a group of another protocol: `type` is its number, `id` what follows the group id in its key.
fn other(arguments: &Arguments<'_>) -> Record {
    let mut key = i16::try_from(arguments.number("type", 3))
        .unwrap()
        .to_be_bytes()
        .to_vec();
    for text in std::iter::once(arguments.group()).chain(arguments.get("id")) {
        key.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        key.extend(text.as_bytes());
    }
    let value = arguments
        .get("tombstone")
        .is_none()
        .then_some(Bytes::from_static(b"value"));
    Machine::decode(key.into(), value).unwrap().unwrap()
}
