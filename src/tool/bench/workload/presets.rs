//! The loads by which this project measures itself and others, by name.

use std::time::Duration;

use clap::ValueEnum;

use super::{Spread, Workload};

/// A load that is known by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Preset {
    /// Batches of 512 records of 1 kB, 4 producers, 16 partitions, acks=1
    Bulk,
    /// Batches of 16 records of 1 kB, 8 producers with 5 requests in flight, 16 partitions, acks=1
    B16k,
    /// The same with acks=all
    AcksAll,
    /// The same with acks=all from idempotent producers: what Kafka's own producer does
    Idempotent,
    /// One record of 100 bytes a request, 8 producers with 64 requests in flight
    Small,
    /// Batches for 50 partitions a request, 2 producers, 100 partitions
    Wide,
    /// One record of 1 kB a request, one request at a time, acks=all
    Sync,
    /// 1,000 requests of 10 records of 1 kB a second from 4 producers, acks=all: latency
    Paced,
    /// 500 records of 1 kB a second, acks=all, and a consumer that waits for them: end-to-end latency
    E2e,
    /// 4 consumers of 4 partitions each read 64 MB again and again, 1 MB a partition and request
    Read,
    /// 8 consumers of one partition each, 16 KB a request
    ReadSmall,
}

impl Preset {
    pub fn name(self) -> String {
        let name = self.to_possible_value();
        name.map_or_else(String::new, |name| name.get_name().to_owned())
    }

    /// What most have in common: batches of 16 records of 1 kB from producers with partitions of their own.
    fn base(self) -> Workload {
        Workload {
            name: self.name(),
            partitions_per_topic: 16,
            message_size: 1000,
            producers_per_topic: 8,
            spread: Spread::Share,
            batch_records: Some(16),
            acks: 1,
            linger: Duration::ZERO,
            subscriptions_per_topic: 0,
            duration: Duration::from_secs(8),
            ..Workload::default()
        }
    }

    pub fn workload(self) -> Workload {
        let base = self.base();
        match self {
            Preset::Bulk => Workload {
                producers_per_topic: 4,
                batch_records: Some(512),
                max_in_flight: 4,
                ..base
            },
            Preset::B16k => base,
            Preset::AcksAll => Workload { acks: -1, ..base },
            Preset::Idempotent => Workload {
                acks: -1,
                idempotent: true,
                ..base
            },
            Preset::Small => Workload {
                message_size: 100,
                batch_records: Some(1),
                max_in_flight: 64,
                ..base
            },
            Preset::Wide => Workload {
                partitions_per_topic: 100,
                message_size: 250,
                producers_per_topic: 2,
                batch_records: Some(4),
                partitions_per_request: 50,
                max_in_flight: 4,
                ..base
            },
            Preset::Sync => Workload {
                partitions_per_topic: 1,
                producers_per_topic: 1,
                batch_records: Some(1),
                max_in_flight: 1,
                acks: -1,
                ..base
            },
            Preset::Paced => Workload {
                producers_per_topic: 4,
                producer_rate: 10_000.0,
                burst: 10,
                batch_records: Some(10),
                acks: -1,
                ..base
            },
            Preset::E2e => Workload {
                partitions_per_topic: 1,
                producers_per_topic: 1,
                producer_rate: 500.0,
                batch_records: Some(1),
                acks: -1,
                subscriptions_per_topic: 1,
                ..base
            },
            Preset::Read => reading(base, 4, 1 << 20),
            Preset::ReadSmall => reading(base, 8, 16 << 10),
        }
    }
}

/// 64 MB in 16 partitions, or 8 where each has a consumer, in batches of 64 kB.
fn reading(base: Workload, consumers: u32, max_partition_fetch_bytes: i32) -> Workload {
    Workload {
        partitions_per_topic: if consumers == 8 { 8 } else { 16 },
        producers_per_topic: 1,
        batch_records: Some(64),
        consumer_backlog_bytes: 1024 * 64 * 1000,
        pause_producers: true,
        subscriptions_per_topic: 1,
        consumers_per_subscription: consumers,
        max_partition_fetch_bytes,
        fetch_max_wait: Duration::ZERO,
        read_repeatedly: true,
        ..base
    }
}
