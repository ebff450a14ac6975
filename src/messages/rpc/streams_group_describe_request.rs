//! StreamsGroupDescribeRequest.

use crate::messages::StrBytes;
use crate::messages::define::messages;

messages! {
    StreamsGroupDescribeRequest: 0-0, flexible 0 {
        group_ids: Vec<StrBytes> [0+],
        include_authorized_operations: bool [0+],
    }
}
