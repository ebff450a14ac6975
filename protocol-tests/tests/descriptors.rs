//! A node that has no descriptor left. In a process of its own, whose limit the test lowers.

use std::fs::File;
use std::os::fd::AsRawFd;

use dohle::messages::ApiVersionsRequest;
use protocol_tests::{Connection, Node, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;

async fn is_served(connection: &mut Connection) {
    let served = async { drop(connection.call(&ApiVersionsRequest::default(), 0).await) };
    within("an answer", served).await;
}

/// Lets the process open nothing more while it closes nothing; returns the limit of before.
fn take_all_descriptors() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let lowest_free = File::open("/dev/null").expect("one is left").as_raw_fd();
    let lowered = Rlimit {
        current: u64::try_from(lowest_free).ok(),
        ..before
    };
    setrlimit(Resource::Nofile, lowered).expect("a limit may be lowered");
    before
}

#[tokio::test]
async fn who_cannot_be_accepted_is_served_once_another_has_left() {
    let node = Node::start().await;
    let mut first = node.connect().await;
    is_served(&mut first).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    let before = take_all_descriptors();
    let stream = socket.connect(node.address()).await;
    let mut second = Connection::over(stream.expect("the node listens"));
    second.send(&ApiVersionsRequest::default(), 0).await;
    // When this is answered accepting has failed.
    is_served(&mut first).await;
    drop(first);
    let served = async { drop(second.receive::<ApiVersionsRequest>(0).await) };
    within("an answer", served).await;
    setrlimit(Resource::Nofile, before).expect("what it was");
    node.stop().await;
}
