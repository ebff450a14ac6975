//! `quorum-state`: what a controller must not forget between two starts, its vote and the leader that it knows. Kafka's
//! JSON, replaced as a whole and brought to the device before anything is answered that rests on it.
//! (org.apache.kafka.raft.FileQuorumStateStore)

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ids::{DirectoryId, KafkaUuid, LeaderEpoch, NodeId};

/// `None` where Kafka writes -1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QuorumState {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) leader_id: Option<NodeId>,
    /// Whom this node has voted for in `epoch`, and the directory of that node when it is known.
    pub(crate) voted: Option<(NodeId, DirectoryId)>,
}

/// Which of Kafka's two layouts is written: 0 without kraft.version, with the ids of the voters; 1 from
/// kraft.version 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    V0 { voters: Vec<i32> },
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V0 {
    #[serde(default)]
    cluster_id: String,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(default)]
    applied_offset: i64,
    #[serde(default)]
    current_voters: Option<Vec<V0Voter>>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V0Voter {
    voter_id: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: String,
    #[serde(rename = "data_version")]
    data_version: i16,
}

/// What either layout has and we need.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Any {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    #[serde(default)]
    voted_directory_id: Option<String>,
    #[serde(rename = "data_version")]
    data_version: i16,
}

pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("quorum-state")
}

/// Reads the state; `None` when there is no file or an empty one, as before the first election.
pub(crate) fn read(directory: &Path) -> io::Result<Option<QuorumState>> {
    let path = path(directory);
    let text = match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => return Ok(None),
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let malformed = |reason: String| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: {reason}", path.display()),
        )
    };
    let any: Any = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if !(0..=1).contains(&any.data_version) {
        return Err(malformed(format!(
            "data_version {} is not known",
            any.data_version
        )));
    }
    let directory_id = match &any.voted_directory_id {
        Some(id) => KafkaUuid::parse(id)
            .ok_or_else(|| malformed(format!("votedDirectoryId {id:?} is no id")))?,
        None => KafkaUuid::ZERO,
    };
    Ok(Some(QuorumState {
        epoch: LeaderEpoch(any.leader_epoch),
        leader_id: (any.leader_id >= 0).then_some(NodeId(any.leader_id)),
        voted: (any.voted_id >= 0).then_some((NodeId(any.voted_id), directory_id)),
    }))
}

/// Replaces the state; it is on the device when this returns.
pub(crate) fn write(directory: &Path, state: &QuorumState, layout: &Layout) -> io::Result<()> {
    let leader_id = state.leader_id.map_or(-1, |id| id.0);
    let (voted_id, voted_directory_id) = state
        .voted
        .map_or((-1, KafkaUuid::ZERO), |(id, directory)| (id.0, directory));
    let text = match layout {
        Layout::V0 { voters } => serde_json::to_string(&V0 {
            cluster_id: String::new(),
            leader_id,
            leader_epoch: state.epoch.0,
            voted_id,
            applied_offset: 0,
            current_voters: Some(
                voters
                    .iter()
                    .map(|&voter_id| V0Voter { voter_id })
                    .collect(),
            ),
            data_version: 0,
        })?,
        Layout::V1 => serde_json::to_string(&V1 {
            leader_id,
            leader_epoch: state.epoch.0,
            voted_id,
            voted_directory_id: voted_directory_id.to_string(),
            data_version: 1,
        })?,
    };
    let path = path(directory);
    let temporary = directory.join("quorum-state.tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both texts were written by Kafka 4.3.0.
    const STATIC: &str = r#"{"clusterId":"","leaderId":1,"leaderEpoch":1,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
    const STANDALONE: &str = r#"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;

    #[test]
    fn kafkas_bytes_are_read_and_written() {
        let directory = tempfile::tempdir().unwrap();
        for (text, epoch, layout) in [
            (STATIC, 1, Layout::V0 { voters: vec![1] }),
            (STANDALONE, 2, Layout::V1),
        ] {
            fs::write(path(directory.path()), text).unwrap();
            let state = read(directory.path()).unwrap().unwrap();
            assert_eq!(
                state,
                QuorumState {
                    epoch: LeaderEpoch(epoch),
                    leader_id: Some(NodeId(1)),
                    voted: None
                }
            );
            write(directory.path(), &state, &layout).unwrap();
            assert_eq!(fs::read_to_string(path(directory.path())).unwrap(), text);
        }
    }

    #[test]
    fn a_vote_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), None);
        let id = KafkaUuid::random();
        let state = QuorumState {
            epoch: LeaderEpoch(7),
            leader_id: None,
            voted: Some((NodeId(3), id)),
        };
        write(directory.path(), &state, &Layout::V1).unwrap();
        assert_eq!(read(directory.path()).unwrap(), Some(state));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(
            path(directory.path()),
            r#"{"leaderId":1,"leaderEpoch":1,"votedId":-1,"data_version":2}"#,
        )
        .unwrap();
        assert!(
            read(directory.path())
                .unwrap_err()
                .to_string()
                .contains("data_version 2")
        );
    }
}
