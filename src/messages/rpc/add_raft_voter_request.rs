//! AddRaftVoterRequest.

use uuid::Uuid;

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    AddRaftVoterRequest: 0-1, flexible 0 {
        cluster_id: Option<StrBytes> [0+],
        timeout_ms: i32 [0+],
        voter_id: i32 [0+],
        voter_directory_id: Uuid [0+],
        listeners: Vec<Listener> [0+],
        ack_when_committed: bool [1+] = true,
    }
    Listener {
        name: StrBytes [0+],
        host: StrBytes [0+],
        port: u16 [0+],
    }
}
