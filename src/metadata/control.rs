//! The control batches of the metadata log and its snapshots: LeaderChange, KRaftVersion, Voters, and a snapshot's header
//! and footer; and what they tell of the quorum. Who votes is no part of the image: `controller::raft` asks.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ids::{DirectoryId, KafkaUuid, LeaderEpoch, NodeId, Offset, Timestamp};
use crate::messages::records::control as records;
use crate::messages::records::control::{
    KRaftVersionFeature, KRaftVersionRecord, LeaderChangeMessage, LeaderChangeVoter, VotersRecord,
};
use crate::messages::{Message, text};
use crate::record::control::ControlType;
use crate::record::{Batch, BatchBuilder, Corrupt};

/// The only version that Kafka 4.3 writes of these values.
const VERSION: i16 = 0;

/// Why a control batch of the metadata log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("control batch at offset {offset}: {source}")]
    Corrupt { offset: Offset, source: Corrupt },
    #[error("control record at offset {offset}: {source}")]
    Value {
        offset: Offset,
        source: crate::messages::DecodeError,
    },
    #[error("control record at offset {offset} is none of the metadata log's")]
    Kind { offset: Offset },
}

/// Where a controller is and what it supports: what a Voters record says of it beside its id. Of a voter from
/// `controller.quorum.voters` no directory is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    pub directory_id: DirectoryId,
    pub endpoints: Vec<VoterEndpoint>,
    /// Lowest and highest kraft.version.
    pub kraft_versions: (i16, i16),
}

/// A listener of a voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
}

/// All voters, by node id.
pub type Voters = BTreeMap<NodeId, Voter>;

/// What the control records up to some offset say of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// 0: the voters come from `controller.quorum.voters`; 1: from Voters records.
    pub kraft_version: i16,
    pub voters: Voters,
    /// Whether the log or a snapshot that other controllers can fetch has the voters. False for those of the settings
    /// and for those that `storage format` wrote into the 0-0 checkpoint.
    pub recorded: bool,
}

impl Quorum {
    /// The quorum of `controller.quorum.voters`.
    pub fn fixed(voters: Voters) -> Quorum {
        Quorum {
            kraft_version: 0,
            voters,
            recorded: false,
        }
    }

    pub fn voter_ids(&self) -> Vec<i32> {
        self.voters.keys().map(|id| id.0).collect()
    }

    /// Takes what a batch says.
    pub fn apply(&mut self, batch: &ControlBatch) {
        if let Some(version) = batch.kraft_version {
            self.kraft_version = version;
        }
        if let Some(voters) = &batch.voters {
            self.voters = voters.clone();
            self.recorded = true;
        }
    }
}

/// What one control batch says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlBatch {
    pub leader_id: Option<i32>,
    pub kraft_version: Option<i16>,
    pub voters: Option<Voters>,
    /// Of a snapshot's header.
    pub last_contained_log_timestamp: Option<Timestamp>,
    pub is_footer: bool,
}

/// Reads a control batch of the metadata log or of a snapshot.
pub fn parse(batch: &Batch) -> Result<ControlBatch, Error> {
    let mut parsed = ControlBatch::default();
    let base = batch.header.base_offset;
    let mut reader = batch.reader().map_err(|source| Error::Corrupt {
        offset: base,
        source,
    })?;
    while let Some(record) = reader.next().map_err(|source| Error::Corrupt {
        offset: base,
        source,
    })? {
        let offset = record.offset;
        let kind = record
            .key
            .and_then(ControlType::of_key)
            .ok_or(Error::Kind { offset })?;
        let value = Bytes::copy_from_slice(record.value.ok_or(Error::Kind { offset })?);
        let failed = |source| Error::Value { offset, source };
        match kind {
            ControlType::LeaderChange => {
                parsed.leader_id = Some(
                    LeaderChangeMessage::decode(value, VERSION)
                        .map_err(failed)?
                        .leader_id,
                );
            }
            ControlType::KRaftVersion => {
                parsed.kraft_version = Some(
                    KRaftVersionRecord::decode(value, VERSION)
                        .map_err(failed)?
                        .k_raft_version,
                );
            }
            ControlType::KRaftVoters => {
                parsed.voters = Some(voters_of(
                    &VotersRecord::decode(value, VERSION).map_err(failed)?,
                ));
            }
            ControlType::SnapshotHeader => {
                let header =
                    records::SnapshotHeaderRecord::decode(value, VERSION).map_err(failed)?;
                parsed.last_contained_log_timestamp =
                    Some(Timestamp(header.last_contained_log_timestamp));
            }
            ControlType::SnapshotFooter => parsed.is_footer = true,
            ControlType::Abort | ControlType::Commit => return Err(Error::Kind { offset }),
        }
    }
    Ok(parsed)
}

/// Where a batch is to stand in the log.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub base_offset: Offset,
    pub epoch: LeaderEpoch,
    pub now: Timestamp,
}

impl At {
    fn builder(self) -> BatchBuilder {
        BatchBuilder::new()
            .base_offset(self.base_offset)
            .leader_epoch(self.epoch)
            .control(true)
    }
}

/// The batch with which a leader begins its epoch. Voters that no other controller could learn of go with it.
/// (LeaderState.appendStartOfEpochControlRecords)
pub fn leader_change(at: At, leader_id: i32, granting: &[i32], quorum: &Quorum) -> Batch {
    let voter = |&voter_id: &i32| LeaderChangeVoter {
        voter_id,
        ..Default::default()
    };
    let message = LeaderChangeMessage {
        version: VERSION,
        leader_id,
        voters: quorum.voter_ids().iter().map(voter).collect(),
        granting_voters: granting.iter().map(voter).collect(),
        ..Default::default()
    };
    let mut builder = at.builder();
    append(&mut builder, at.now, ControlType::LeaderChange, &message);
    if quorum.kraft_version > 0 && !quorum.recorded {
        append_quorum(&mut builder, at.now, quorum);
    }
    builder.build()
}

/// The batch of a change of the voters.
pub fn voters(at: At, voters: &Voters) -> Batch {
    let mut builder = at.builder();
    append(
        &mut builder,
        at.now,
        ControlType::KRaftVoters,
        &voters_record(voters),
    );
    builder.build()
}

/// KRaftVersion and Voters, as they stand behind a LeaderChange record and behind a snapshot's header.
pub fn append_quorum(to: &mut BatchBuilder, now: Timestamp, quorum: &Quorum) {
    let version = KRaftVersionRecord {
        version: VERSION,
        k_raft_version: quorum.kraft_version,
        ..Default::default()
    };
    append(to, now, ControlType::KRaftVersion, &version);
    append(
        to,
        now,
        ControlType::KRaftVoters,
        &voters_record(&quorum.voters),
    );
}

pub fn append(to: &mut BatchBuilder, now: Timestamp, kind: ControlType, value: &impl Message) {
    let value = value
        .to_bytes(VERSION)
        .expect("every field stands in version 0");
    to.append(now, Some(&kind.key()), Some(&value));
}

fn voters_record(voters: &Voters) -> VotersRecord {
    let record = |(id, voter): (&NodeId, &Voter)| records::Voter {
        voter_id: id.0,
        voter_directory_id: voter.directory_id.0,
        endpoints: voter
            .endpoints
            .iter()
            .map(|endpoint| records::VoterEndpoint {
                name: text(&endpoint.name),
                host: text(&endpoint.host),
                port: endpoint.port,
                ..Default::default()
            })
            .collect(),
        k_raft_version_feature: KRaftVersionFeature {
            min_supported_version: voter.kraft_versions.0,
            max_supported_version: voter.kraft_versions.1,
            ..Default::default()
        },
        ..Default::default()
    };
    VotersRecord {
        version: VERSION,
        voters: voters.iter().map(record).collect(),
        ..Default::default()
    }
}

fn voters_of(record: &VotersRecord) -> Voters {
    let voter = |voter: &records::Voter| {
        let endpoints = voter.endpoints.iter().map(|endpoint| VoterEndpoint {
            name: endpoint.name.to_string(),
            host: endpoint.host.to_string(),
            port: endpoint.port,
        });
        let feature = &voter.k_raft_version_feature;
        let value = Voter {
            directory_id: KafkaUuid(voter.voter_directory_id),
            endpoints: endpoints.collect(),
            kraft_versions: (feature.min_supported_version, feature.max_supported_version),
        };
        (NodeId(voter.voter_id), value)
    };
    record.voters.iter().map(voter).collect()
}
