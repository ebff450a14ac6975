//! Replicas: the local copies of partitions and what makes one answer for its log.
//!
//! [`session`] remembers what clients fetch. Above `log`, which knows nothing of topics; below the APIs and the
//! coordinators, which reach a log only through here.

pub mod session;
mod waiting;

pub use waiting::Waiter;
