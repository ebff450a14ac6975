//! Answers that a coordinator gives: at once, or when what they say is committed.

use std::net::IpAddr;

use super::{Context, Reply};
use crate::coordinator::group::{Client, Response};
use crate::coordinator::runtime::Said;
use crate::error_code::ErrorCode;
use crate::ids::KafkaUuid;

/// What a coordinator said, or why it could not.
pub(super) type Spoken = Result<Response, ErrorCode>;

/// The reply to a request that asked one thing.
pub(super) fn reply<S: 'static, R: Send + 'static>(
    said: Said<S>,
    then: impl FnOnce(Result<S, ErrorCode>) -> R + Send + 'static,
) -> Reply<R> {
    match said {
        Said::Now(spoken) => Reply::Now(then(spoken)),
        Said::Later(spoken) => Reply::later(async move { then(spoken.await) }),
    }
}

/// The reply to a request that asked several things, told in the same order.
pub(super) fn reply_all<S: Send + 'static, R: Send + 'static>(
    said: Vec<Said<S>>,
    then: impl FnOnce(Vec<Result<S, ErrorCode>>) -> R + Send + 'static,
) -> Reply<R> {
    if said.iter().all(|said| matches!(said, Said::Now(_))) {
        let now = |said| match said {
            Said::Now(spoken) => Some(spoken),
            Said::Later(_) => None,
        };
        return Reply::Now(then(said.into_iter().filter_map(now).collect()));
    }
    Reply::later(async move {
        let mut spoken = Vec::with_capacity(said.len());
        for said in said {
            spoken.push(match said {
                Said::Now(spoken) => spoken,
                Said::Later(later) => later.await,
            });
        }
        then(spoken)
    })
}

/// The client as a group's records name it.
pub(super) fn client(ctx: &Context<'_>) -> Client {
    Client {
        id: ctx.header.client_id.clone().unwrap_or_default(),
        host: java_address(ctx.session.client_host).into(),
        version: ctx.version(),
        uuid: KafkaUuid::random().0,
    }
}

/// An address as `java.net.InetAddress.toString` prints one that was not looked up.
fn java_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("/{address}"),
        IpAddr::V6(address) => {
            let groups: Vec<String> = address
                .segments()
                .iter()
                .map(|group| format!("{group:x}"))
                .collect();
            format!("/{}", groups.join(":"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_java_does() {
        let print = |text: &str| java_address(text.parse().unwrap());
        assert_eq!(print("127.0.0.1"), "/127.0.0.1");
        assert_eq!(print("::ffff:10.0.0.1"), "/10.0.0.1");
        assert_eq!(print("fe80::1:2"), "/fe80:0:0:0:0:0:1:2");
    }
}
