//! What the controller takes from the settings.

use std::time::Duration;

use super::raft::consensus;
use super::raft::journal::JournalConfig;
use super::snapshots;
use crate::config::Settings;
use crate::metadata::control::{Voter, VoterEndpoint, Voters};

/// How this node's controller runs.
pub struct Options {
    pub(super) consensus: consensus::Options,
    pub(super) snapshots: snapshots::Policy,
}

impl Options {
    pub fn of(settings: &Settings) -> Options {
        let ms = |name: &str| Duration::from_millis(u64::try_from(settings.int(name)).unwrap_or(0));
        let bytes = |value: i32| u32::try_from(value).unwrap_or(u32::MAX);
        Options {
            consensus: consensus::Options {
                node_id: settings.node_id(),
                log_dir: settings.metadata_log_dir().to_owned(),
                voters: voters(settings),
                journal: JournalConfig {
                    segment_bytes: bytes(settings.int("metadata.log.segment.bytes")),
                    segment_ms: settings.long("metadata.log.segment.ms"),
                    batch_bytes_max: bytes(
                        settings.int("internal.metadata.max.batch.size.in.bytes"),
                    ),
                    delete_delay_ms: settings.long("internal.metadata.delete.delay.millis"),
                    storage: crate::log::Storage::default(),
                },
                election_timeout: ms("controller.quorum.election.timeout.ms"),
                fetch_timeout: ms("controller.quorum.fetch.timeout.ms"),
            },
            snapshots: snapshots::Policy {
                record_bytes_max: u64::try_from(
                    settings.long("metadata.log.max.record.bytes.between.snapshots"),
                )
                .unwrap_or(u64::MAX),
                interval_ms: settings.long("metadata.log.max.snapshot.interval.ms"),
                retention_bytes: settings.long("metadata.max.retention.bytes"),
                retention_ms: settings.long("metadata.max.retention.ms"),
            },
        }
    }
}

/// `controller.quorum.voters`, whose directories are not known. Their listener has the name of the first of
/// `controller.listener.names`. (VoterSet.fromInetSocketAddresses)
fn voters(settings: &Settings) -> Voters {
    let listener = settings
        .list("controller.listener.names")
        .first()
        .cloned()
        .unwrap_or_default();
    let voter = |voter: &crate::config::Voter| {
        let endpoint = VoterEndpoint {
            name: listener.clone(),
            host: voter.host.clone(),
            port: voter.port,
        };
        (
            voter.id,
            Voter {
                endpoints: vec![endpoint],
                ..Voter::default()
            },
        )
    };
    settings.voters().iter().map(voter).collect()
}
