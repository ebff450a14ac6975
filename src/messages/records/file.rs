//! Other structured content: `quorum-state`, producer snapshots, and the principal in an Envelope request.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    QuorumState: 0-1, flexible 0 {
        cluster_id: StrBytes [0],
        leader_id: i32 [0+] = -1,
        leader_epoch: i32 [0+] = -1,
        voted_id: i32 [0+] = -1,
        voted_directory_id: Uuid [1+],
        applied_offset: i64 [0],
        current_voters: Option<Vec<QuorumVoter>> [0],
    }
    QuorumVoter {
        voter_id: i32 [0],
    }

    ProducerSnapshot: 1-1, flexible never {
        crc: u32 [0+],
        producer_entries: Vec<ProducerEntry> [0+],
    }
    ProducerEntry {
        producer_id: i64 [0+],
        epoch: i16 [0+],
        last_sequence: i32 [0+],
        last_offset: i64 [0+],
        offset_delta: i32 [0+],
        timestamp: i64 [0+],
        coordinator_epoch: i32 [0+],
        current_txn_first_offset: i64 [0+],
    }

    DefaultPrincipal: 0-0, flexible 0 {
        r#type: StrBytes [0+],
        name: StrBytes [0+],
        token_authenticated: bool [0+],
    }
}
