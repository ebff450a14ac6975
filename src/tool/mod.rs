//! The command-line tools: one file each, and the client that they share.

pub mod client;
