//! A running node: its parts put together. Handlers reach everything through it.
//!
//! `server` starts and stops it; nothing below `api` knows it.

pub mod lifecycle;
pub mod producer_ids;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Settings;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// What went wrong while a node stopped; it has stopped all the same.
#[derive(Debug, thiserror::Error)]
pub enum StopError {}

/// The parts of a node.
pub struct Broker {
    settings: Settings,
    clock: Clock,
}

impl Broker {
    /// Opens the node's directories and takes part in its cluster. `addresses`: the listeners and what they are
    /// bound to.
    pub async fn start(
        settings: Settings,
        _addresses: &[(Arc<str>, SocketAddr)],
    ) -> Result<Arc<Broker>, StartError> {
        Ok(Arc::new(Broker {
            settings,
            clock: Clock::system(),
        }))
    }

    pub async fn stop(&self) -> Result<(), StopError> {
        Ok(())
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}
