//! Sockets: accepts connections, reads frames, hands requests to `api` and writes the answers in order.
//!
//! Knows nothing of topics or groups. `main` and in-process tests start it; it owns the broker's listeners.

mod admission;
mod connection;
mod descriptors;
mod frame;
mod listener;
mod memory;
mod output;
mod tls;
mod transport;

pub use descriptors::raise_descriptor_limit;
pub use listener::{Server, StartError};
