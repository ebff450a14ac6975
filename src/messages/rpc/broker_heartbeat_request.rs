//! BrokerHeartbeatRequest.

use uuid::Uuid;

use crate::messages::define::messages;

messages! {
    BrokerHeartbeatRequest: 0-2, flexible 0 {
        broker_id: i32 [0+],
        broker_epoch: i64 [0+] = -1,
        current_metadata_offset: i64 [0+],
        want_fence: bool [0+],
        want_shut_down: bool [0+],
        offline_log_dirs: Vec<Uuid> [1+, tag 0],
        cordoned_log_dirs: Option<Vec<Uuid>> [2+, tag 1],
    }
}
