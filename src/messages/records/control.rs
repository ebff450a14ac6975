//! The values of control records: transaction markers, and those of the metadata log and its snapshots, which begin with
//! their own version. The keys are in `record::control`.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    ControlRecordTypeSchema: 0-0, flexible never {
        r#type: i16 [0+],
    }

    EndTxnMarker: 0-0, flexible never {
        coordinator_epoch: i32 [0+],
    }

    LeaderChangeMessage: 0-1, flexible 0 {
        version: i16 [0+],
        leader_id: i32 [0+],
        voters: Vec<LeaderChangeVoter> [0+],
        granting_voters: Vec<LeaderChangeVoter> [0+],
    }
    LeaderChangeVoter {
        voter_id: i32 [0+],
        voter_directory_id: Uuid [1+],
    }

    SnapshotHeaderRecord: 0-0, flexible 0 {
        version: i16 [0+],
        last_contained_log_timestamp: i64 [0+],
    }

    SnapshotFooterRecord: 0-0, flexible 0 {
        version: i16 [0+],
    }

    KRaftVersionRecord: 0-0, flexible 0 {
        version: i16 [0+],
        k_raft_version: i16 [0+],
    }

    VotersRecord: 0-0, flexible 0 {
        version: i16 [0+],
        voters: Vec<Voter> [0+],
    }
    Voter {
        voter_id: i32 [0+],
        voter_directory_id: Uuid [0+],
        endpoints: Vec<VoterEndpoint> [0+],
        k_raft_version_feature: KRaftVersionFeature [0+],
    }
    VoterEndpoint {
        name: StrBytes [0+],
        host: StrBytes [0+],
        port: u16 [0+],
    }
    KRaftVersionFeature {
        min_supported_version: i16 [0+],
        max_supported_version: i16 [0+],
    }
}
