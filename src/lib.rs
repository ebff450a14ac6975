//! Dohle: an Apache Kafka broker in one binary. `src/README.md` is the map.

pub mod api;
pub mod broker;
pub mod clock;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod error_code;
pub mod ids;
pub mod log;
pub mod loggers;
pub mod messages;
pub mod metadata;
pub mod record;
pub mod replica;
pub mod security;
pub mod server;
pub mod tool;
