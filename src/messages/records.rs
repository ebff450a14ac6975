//! The messages that stand in records: of the metadata log, of the internal topics, in control batches and in files.
//! Values of a coordinator's records are framed by `coordinator.rs`, those of the metadata log by `frame.rs`; neither
//! loses a record type, version or tagged field that it does not know.

pub mod control;
pub mod coordinator;
pub mod file;
pub mod frame;
pub mod group;
pub mod metadata;
pub mod remote_log;
pub mod share_state;
pub mod transaction;
