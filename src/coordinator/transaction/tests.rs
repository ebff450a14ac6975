//! Runs the scripts of `testdata/`: commands, `----`, and what came of them. `UPDATE=1` rewrites what came of them.
//! After every command a fresh state that is fed the bytes of all records so far must equal the live one.
//!
//! `#<n>` in an answer is the number of the request that it answers. The transactional id is `t` unless said otherwise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::ids::{Offset, Timestamp};

#[test]
fn scripts() {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator/transaction/testdata");
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let result = run(&script);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &result).unwrap();
            continue;
        }
        assert_eq!(script, result, "{}", path.display());
    }
}

/// Runs the blocks of a script; a block ends at an empty line.
fn run(script: &str) -> String {
    let mut world = World::new();
    let mut result = String::new();
    for block in script
        .split("\n\n")
        .filter(|block| !block.trim().is_empty())
    {
        let commands = block.split("\n----").next().unwrap().trim_matches('\n');
        let _ = writeln!(result, "{commands}");
        if commands.lines().all(|line| line.starts_with('#')) {
            result.push('\n');
            continue;
        }
        world.printed.clear();
        for command in commands.lines().filter(|line| !line.starts_with('#')) {
            world.command(command);
        }
        let _ = write!(result, "----\n{}\n", world.printed);
    }
    while result.ends_with("\n\n") {
        result.pop();
    }
    result
}

struct World {
    machine: Machine,
    state: State,
    scratch: Scratch,
    log: Vec<(Bytes, Option<Bytes>)>,
    /// The steady time, and by how much the wall clock was set forward.
    now: i64,
    stepped: i64,
    requests: u64,
    fail_append: bool,
    printed: String,
}

/// The words of a command after the first: `name=value`.
struct Arguments<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Arguments<'a> {
    fn parse(words: impl Iterator<Item = &'a str>) -> Arguments<'a> {
        let words = words.map(|word| word.split_once('=').unwrap_or((word, "")));
        Arguments(words.collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn number(&self, name: &str, default: i64) -> i64 {
        self.get(name)
            .map_or(default, |value| value.parse().unwrap())
    }

    fn id(&self) -> Arc<str> {
        self.get("id").unwrap_or("t").into()
    }

    /// `producer=7/3`
    fn producer(&self) -> Option<ProducerIdAndEpoch> {
        let (id, epoch) = self.get("producer")?.split_once('/').unwrap();
        Some(ProducerIdAndEpoch {
            id: ProducerId(id.parse().unwrap()),
            epoch: ProducerEpoch(epoch.parse().unwrap()),
        })
    }

    fn fresh(&self) -> Option<ProducerId> {
        self.get("fresh").map(|id| ProducerId(id.parse().unwrap()))
    }

    /// `a/0,a/1`
    fn partitions(&self) -> Arc<[TopicPartition]> {
        let partitions = self.get("partitions").unwrap_or("a/0").split(',');
        let parse = |partition: &str| {
            let (topic, index) = partition.split_once('/').unwrap();
            TopicPartition::new(topic, index.parse().unwrap())
        };
        partitions.map(parse).collect()
    }

    fn version(&self) -> i16 {
        i16::try_from(self.number("tv", 2)).unwrap()
    }
}

fn machine() -> Machine {
    let machine = Machine::new(Config {
        max_timeout_ms: 900_000,
        expiration_ms: 10_000_000,
        expiration_interval_ms: 1_000_000,
        abort_interval_ms: 1000,
        two_phase_commit: true,
    });
    machine.set_transaction_version(2);
    machine
}

impl World {
    fn new() -> World {
        World {
            machine: machine(),
            state: State::default(),
            scratch: Scratch::default(),
            log: Vec::new(),
            now: 0,
            stepped: 0,
            requests: 0,
            fail_append: false,
            printed: String::new(),
        }
    }

    fn command(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let name = words.next().unwrap();
        let arguments = Arguments::parse(words);
        match name {
            "level" => self.machine.set_transaction_version(arguments.version()),
            "no-2pc" => self.machine.config.two_phase_commit = false,
            "wait" => self.wait(arguments.number("ms", 0)),
            "step" => self.stepped += arguments.number("ms", 0),
            "fail-append" => self.fail_append = true,
            "restart" => self.restart(),
            "record" => self.record(&arguments),
            _ => {
                self.requests += 1;
                let request = request(name, &arguments, self.now);
                self.event(Event::Request {
                    ticket: Ticket(self.requests),
                    request,
                });
            }
        }
        assert_eq!(self.replayed(), self.state);
    }

    fn both(&self) -> Now {
        Now {
            wall: Timestamp(self.now + self.stepped),
            steady: SteadyTime(self.now),
        }
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.machine.next_deadline(&self.scratch)
            && at.0 <= until
        {
            self.now = self.now.max(at.0);
            self.event(Event::Deadline);
        }
        self.now = until;
    }

    fn event(&mut self, event: Event<Request>) {
        let now = self.both();
        let outcome = self
            .machine
            .handle(&self.state, &mut self.scratch, event, now);
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome) {
        let replies = if !outcome.records.is_empty() && std::mem::take(&mut self.fail_append) {
            let (error, now) = (ErrorCode::NotEnoughReplicas, self.both());
            self.machine
                .append_failed(&self.state, &mut self.scratch, outcome, error, now)
        } else {
            outcome
                .records
                .into_iter()
                .for_each(|record| self.append(record));
            outcome.replies
        };
        for (ticket, response) in replies {
            let _ = writeln!(
                self.printed,
                "{} #{} {}",
                self.now,
                ticket.0,
                print(&response)
            );
        }
    }

    fn append(&mut self, record: Record) {
        let (key, value) = Machine::encode(&record).unwrap();
        let line = match record.transaction.as_deref() {
            Some(transaction) => describe(transaction),
            None => String::from("tombstone"),
        };
        let _ = writeln!(self.printed, "{} record {} {line}", self.now, record.id);
        self.log.push((key, value));
        Machine::apply(&mut self.state, record, at(self.log.len()));
    }

    /// A record as another coordinator may have left it.
    fn record(&mut self, arguments: &Arguments<'_>) {
        let producer = arguments.producer().unwrap();
        let mut partitions = Partitions::default();
        if arguments.get("partitions").is_some() {
            arguments
                .partitions()
                .iter()
                .for_each(|it| partitions.insert(it));
        }
        let transaction = Transaction {
            producer_epoch: producer.epoch,
            timeout_ms: 60_000,
            state: TransactionState::by_name(arguments.get("state").unwrap()).unwrap(),
            partitions: Arc::new(partitions),
            start: self.both().wall,
            client_version: arguments.version(),
            ..Transaction::unknown(producer.id, self.both().wall)
        };
        self.append(Record::new(arguments.id(), Some(transaction), 2));
    }

    fn replayed(&self) -> State {
        let mut state = State::default();
        for (index, (key, value)) in self.log.iter().enumerate() {
            let record = Machine::decode(key.clone(), value.clone())
                .unwrap()
                .unwrap();
            Machine::apply(&mut state, record, at(index));
        }
        state
    }

    /// Loses all soft state, as a new leader of the partition would.
    fn restart(&mut self) {
        self.state = self.replayed();
        self.scratch = Scratch::default();
        let now = self.both();
        let outcome = self.machine.loaded(&self.state, &mut self.scratch, now);
        self.take(outcome);
    }
}

fn at(offset: usize) -> Position {
    Position {
        offset: Offset(i64::try_from(offset).unwrap()),
        producer_id: ProducerId::NONE,
    }
}

fn request(name: &str, arguments: &Arguments<'_>, now: i64) -> Request {
    let (id, producer) = (arguments.id(), arguments.producer());
    let named = producer.unwrap_or(ProducerIdAndEpoch::NONE);
    match name {
        "init" => Request::InitProducerId {
            id,
            timeout_ms: i32::try_from(arguments.number("timeout", 60_000)).unwrap(),
            expected: producer,
            two_phase: arguments.get("2pc").is_some(),
            keep_prepared: arguments.get("keep").is_some(),
            fresh: arguments.fresh(),
        },
        "add" => Request::AddPartitions {
            id,
            producer: named,
            partitions: arguments.partitions(),
            client_version: arguments.version(),
            wait_until: arguments
                .get("wait")
                .map(|ms| SteadyTime(now + ms.parse::<i64>().unwrap())),
        },
        "verify" => Request::Verify {
            id,
            producer: named,
            partitions: arguments.partitions(),
        },
        "commit" | "abort" => Request::End {
            id,
            producer: named,
            commit: name == "commit",
            client_version: arguments.version(),
            fresh: arguments.fresh(),
        },
        "list" => Request::List(Arc::new(filter(arguments))),
        "describe" => Request::Describe { id },
        "take-work" => Request::TakeWork {
            again: arguments.get("again").is_some(),
        },
        "complete" => Request::Complete {
            id,
            producer: named,
        },
        "give" => Request::GiveProducerId(arguments.fresh().unwrap()),
        other => panic!("no command {other}"),
    }
}

fn filter(arguments: &Arguments<'_>) -> Filter {
    let states = arguments.get("states");
    let known = |states: &str| {
        states
            .split(',')
            .filter_map(TransactionState::by_name)
            .collect()
    };
    Filter {
        states: states.map(known),
        producer_ids: arguments
            .get("producers")
            .into_iter()
            .flat_map(|ids| ids.split(','))
            .map(|id| id.parse().unwrap())
            .collect(),
        duration_ms: arguments.number("duration", -1),
        pattern: arguments
            .get("pattern")
            .map(|pattern| regex::Regex::new(pattern).unwrap()),
    }
}

fn describe(transaction: &Transaction) -> String {
    let mut line = format!(
        "{} {}/{} previous={} next={} timeout={} start={} update={} tv={}",
        transaction.state.name(),
        transaction.producer_id,
        transaction.producer_epoch,
        transaction.previous_producer_id,
        transaction.next_producer_id,
        transaction.timeout_ms,
        transaction.start,
        transaction.last_update,
        transaction.client_version,
    );
    line.push_str(&listed(&transaction.partitions));
    line
}

fn listed(partitions: &Partitions) -> String {
    partitions
        .iter()
        .map(|it| format!(" {}/{}", it.topic, it.partition))
        .collect()
}

fn print(response: &Response) -> String {
    let given = |given: &Result<ProducerIdAndEpoch, ErrorCode>| match given {
        Ok(producer) => format!("{}/{}", producer.id, producer.epoch),
        Err(code) => code.name().to_owned(),
    };
    match response {
        Response::InitProducerId(producer) => format!("init {}", given(producer)),
        Response::AddPartitions(code) => format!("add {}", code.name()),
        Response::Verify(Ok(codes)) => {
            let codes: String = codes
                .iter()
                .map(|code| format!(" {}", code.name()))
                .collect();
            format!("verify{codes}")
        }
        Response::Verify(Err(code)) => format!("verify all {}", code.name()),
        Response::End(producer) => format!("end {}", given(producer)),
        Response::List(states) => {
            let mut lines: Vec<String> = states
                .iter()
                .map(|it| {
                    let (id, state): (&str, &str) = (&it.transactional_id, &it.transaction_state);
                    format!(" [{id} {} {state}]", it.producer_id.0)
                })
                .collect();
            lines.sort();
            format!("list{}", lines.concat())
        }
        Response::Describe(it) => {
            let mut line = format!(
                "describe {} {}/{} {} timeout={} start={}",
                ErrorCode::from_code(it.error_code).name(),
                it.producer_id.0,
                it.producer_epoch,
                &*it.transaction_state,
                it.transaction_timeout_ms,
                it.transaction_start_time_ms
            );
            for topic in &it.topics {
                let name: &str = &topic.topic;
                let _ = write!(line, " {name}{:?}", topic.partitions);
            }
            line
        }
        Response::Work(Err(code)) => format!("work {}", code.name()),
        Response::Work(Ok(work)) => {
            let mut line = String::from("work");
            for prepared in &work.prepared {
                let outcome = if prepared.commit { "commit" } else { "abort" };
                let _ = write!(
                    line,
                    " [{} {}/{} {outcome} tv={}{}]",
                    prepared.id,
                    prepared.producer.id,
                    prepared.producer.epoch,
                    prepared.transaction_version,
                    listed(&prepared.partitions)
                );
            }
            if work.producer_id_wanted {
                line.push_str(" producer-id");
            }
            line
        }
        Response::Complete(code) => format!("complete {}", code.name()),
        Response::GiveProducerId => String::from("given"),
        Response::ProducerIdWanted => String::from("wants a producer id"),
    }
}
