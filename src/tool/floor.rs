//! `dohle floor`: the least that a broker can do, to hold brokers against. It receives Produce requests, checks each batch's
//! CRC, writes it to a file and answers; it answers Fetch requests by `sendfile`. No replicas, settings, groups, producers'
//! states or restarts: what it has is gone with the process. For what a broker does besides in its own code it does a fixed
//! amount of such work for each batch (`work`), about as much as Dohle did when this was written: so both sides of a comparison
//! have about the same shares of system calls and of computing, and their ratio is the same where one of them is cheaper.
//! With `--bare` it does nothing of the kind: what is left no broker can save that keeps records in files.
//!
//! Produce and Fetch are read by hand (`frames`), with a thread for each connection, and share nothing with the broker's own
//! code, so that a change there changes one side of the comparison alone. All other requests are read as the broker reads
//! them (`control`). `dohle bench` is its client; it is for compat/cpu-per-request, and bare for `benches/compare --floor`.

mod control;
mod frames;
mod partition;
mod work;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use clap::Args;
use uuid::Uuid;

use self::frames::Answers;
use self::partition::Partition;
use super::Failure;
use super::print::{complain, say};

/// Room for what arrives on a connection; a larger request has room made for it.
const ROOM: usize = 256 * 1024;
/// The largest request. (socket.request.max.bytes)
const REQUEST_BYTES_MAX: usize = 100 << 20;

#[derive(Args, Debug)]
pub struct Floor {
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// Where the records are written, in files without names
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Without the work that stands for a broker's own code
    #[arg(long)]
    bare: bool,
}

impl Floor {
    /// Serves until the process is ended.
    pub fn run(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", self.listen));
        let (listener, topics) = self.listen().map_err(failed)?;
        say!("listening at {}", listener.local_addr().map_err(failed)?);
        Err(failed(accept(&listener, &topics)))
    }

    fn listen(&self) -> io::Result<(TcpListener, Arc<Topics>)> {
        let listener = TcpListener::bind(&self.listen)?;
        let topics = Topics {
            folder: self.folder.clone(),
            bare: self.bare,
            port: listener.local_addr()?.port(),
            by_id: Mutex::default(),
            ids: AtomicU64::new(1),
        };
        Ok((listener, Arc::new(topics)))
    }
}

/// Accepts connections until that fails.
fn accept(listener: &TcpListener, topics: &Arc<Topics>) -> io::Error {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        let topics = Arc::clone(topics);
        std::thread::spawn(move || match serve(stream, &topics) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => complain!("a connection failed: {error}"),
        });
    }
}

/// What there is to write to and to read.
struct Topics {
    folder: PathBuf,
    bare: bool,
    port: u16,
    by_id: Mutex<HashMap<Uuid, Arc<Topic>>>,
    ids: AtomicU64,
}

struct Topic {
    id: Uuid,
    name: String,
    partitions: Vec<Partition>,
}

impl Topic {
    fn partition(&self, index: i32) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

impl Topics {
    fn get(&self, id: &Uuid) -> Option<Arc<Topic>> {
        self.by_id
            .lock()
            .expect("no holder panics")
            .get(id)
            .cloned()
    }

    fn all(&self) -> Vec<Arc<Topic>> {
        let topics = self.by_id.lock().expect("no holder panics");
        topics.values().cloned().collect()
    }

    fn create(&self, name: &str, partitions: usize) -> io::Result<Arc<Topic>> {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let partition = |_| Partition::create(&self.folder);
        let topic = Arc::new(Topic {
            id: Uuid::from_u128(number.into()),
            name: name.to_owned(),
            partitions: (0..partitions).map(partition).collect::<io::Result<_>>()?,
        });
        let mut topics = self.by_id.lock().expect("no holder panics");
        topics.insert(topic.id, Arc::clone(&topic));
        Ok(topic)
    }

    fn delete(&self, name: &str) {
        let mut topics = self.by_id.lock().expect("no holder panics");
        topics.retain(|_, topic| topic.name != name);
    }
}

/// One connection, until the client closes it. What has arrived together is answered together.
fn serve(mut stream: TcpStream, topics: &Topics) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut room = vec![0; ROOM];
    let (mut begin, mut end) = (0, 0);
    let mut answers = Answers::new(stream.try_clone()?, topics);
    loop {
        let mut missing = 4;
        while let Some(length) = room[begin..end].first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > REQUEST_BYTES_MAX {
                return Err(malformed());
            }
            missing = 4 + length;
            if end - begin < missing {
                break;
            }
            answers.answer(&mut room[begin + 4..begin + missing])?;
            begin += missing;
            missing = 4;
        }
        answers.flush(false)?;
        if begin == end {
            (begin, end) = (0, 0);
        } else if begin + missing > room.len() {
            room.copy_within(begin..end, 0);
            (begin, end) = (0, end - begin);
        }
        if room.len() < missing {
            room.resize(missing, 0);
        }
        match stream.read(&mut room[end..]) {
            Ok(0) => return stream.flush(),
            Ok(read) => end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a request that cannot be read")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tool::bench::{Outcome, Run, Workload};
    use crate::tool::client::Client;

    async fn measure(workload: Workload) -> Outcome {
        let floor = Floor {
            listen: String::from("127.0.0.1:0"),
            folder: std::env::temp_dir(),
            bare: false,
        };
        let (listener, topics) = floor.listen().unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = Arc::clone(&topics);
        std::thread::spawn(move || accept(&listener, &serving));
        let client = Client::new(&address, "test").unwrap();
        let outcome = Run::new(workload).measure(client).await;
        assert!(topics.all().is_empty(), "the topics are deleted");
        outcome.unwrap()
    }

    fn short() -> Workload {
        Workload {
            partitions_per_topic: 4,
            message_size: 2000,
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(300),
            ..Workload::default()
        }
    }

    #[tokio::test]
    async fn what_is_produced_is_consumed() {
        let outcome = measure(Workload {
            topics: 2,
            partitions_per_request: 3,
            producer_rate: 5000.0,
            ..short()
        })
        .await;
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        assert_eq!(outcome.totals.records + outcome.unsent, 1500);
        assert_eq!(outcome.logged, outcome.totals.records);
        assert_eq!(outcome.totals.consumed, outcome.totals.records);
    }

    #[tokio::test]
    async fn a_backlog_is_read_in_pieces() {
        let outcome = measure(Workload {
            consumer_backlog_bytes: 20_000_000,
            pause_producers: true,
            fetch_max_wait: Duration::ZERO,
            max_partition_fetch_bytes: 100_000,
            ..short()
        })
        .await;
        assert!(outcome.errors.is_empty(), "{:?}", outcome.errors);
        assert_eq!((outcome.backlog, outcome.logged), (10_000, 10_000));
        assert_eq!(outcome.totals.consumed, 10_000);
        assert!(outcome.totals.fetch_requests > 40, "{:?}", outcome.totals);
    }
}
