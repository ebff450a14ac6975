//! The controller: decides what the metadata log says next, and (in `raft`) agrees on it with the other controllers.
//!
//! [`machine`] and the modules under it are pure: image, command, time and chance in; records and answer out.

mod brokers;
mod configs;
mod features;
mod isr;
pub mod machine;
mod placement;
mod producer_ids;
mod topics;

pub use brokers::Sessions;
pub use features::default_bootstrap;
pub use machine::{Answer, Command, Decision, Machine, Random, Refusal, Seeded};
