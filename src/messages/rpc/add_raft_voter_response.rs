//! AddRaftVoterResponse.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    AddRaftVoterResponse: 0-1, flexible 0 {
        throttle_time_ms: i32 [0+],
        error_code: i16 [0+],
        error_message: Option<StrBytes> [0+, ignorable],
    }
}
