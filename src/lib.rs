//! Dohle: an Apache Kafka broker in one binary. `src/README.md` is the map.

pub mod clock;
pub mod config;
pub mod error_code;
pub mod ids;
pub mod messages;
pub mod metadata;
pub mod record;
pub mod replica;
