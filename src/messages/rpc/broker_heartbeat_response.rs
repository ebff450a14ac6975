//! BrokerHeartbeatResponse.

use crate::messages::define::messages;

messages! {
    BrokerHeartbeatResponse: 0-2, flexible 0 {
        throttle_time_ms: i32 [0+],
        error_code: i16 [0+],
        is_caught_up: bool [0+],
        is_fenced: bool [0+] = true,
        should_shut_down: bool [0+],
    }
}
