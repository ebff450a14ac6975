//! What the script tests of all machines share. A script is commands, `----`, and what came of them, block by block; an
//! empty line ends a block, `UPDATE=1` rewrites what came of them. After every command a fresh state that is fed the
//! bytes of all records so far must equal the live one.
//!
//! Commands for every machine: `wait ms=N`; `step-clock ms=N` sets the wall clock; `fail-append`: the next records cannot
//! be written; `restart` loses all soft state, as a new leader of the partition would. `#<n>` in an answer is the number
//! of the request that it answers; each line begins with the steady time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::path::Path;

use bytes::Bytes;

use super::{Event, Outcome, Position, StateMachine, Ticket};
use crate::error_code::ErrorCode;
use crate::ids::{Now, Offset, ProducerId, SteadyTime, Timestamp};

/// A machine that scripts are written for.
pub(super) trait Scripted: StateMachine<State: PartialEq + Debug> {
    /// Of its scripts, below `src/coordinator`.
    const FOLDER: &'static str;

    /// With the settings that scripts begin with.
    fn scripted() -> Self;

    /// The request of a command.
    fn request(world: &World<Self>, name: &str, arguments: &Arguments<'_>) -> Self::Request
    where
        Self: Sized;

    /// Obeys a command that is no request and not for every machine; false when there is none of this name.
    fn obey(world: &mut World<Self>, name: &str, arguments: &Arguments<'_>) -> bool
    where
        Self: Sized;

    fn print_record(record: &Self::Record) -> String;

    fn print_response(response: &Self::Response) -> String;

    /// What a request meets: its kind, and what it is asked of.
    fn situation(state: &Self::State, request: &Self::Request) -> Option<String> {
        let _ = (state, request);
        None
    }

    /// What a decided record changes.
    fn change(state: &Self::State, record: &Self::Record) -> Option<String> {
        let _ = (state, record);
        None
    }

    /// How a line stands in a script.
    fn shorten(line: &str) -> String {
        line.to_owned()
    }
}

/// What scripts came to, for who asks whether that is everything.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) situations: BTreeSet<String>,
    pub(super) changes: BTreeSet<String>,
    /// All answers.
    pub(super) answers: BTreeSet<String>,
}

/// Runs all scripts of a machine, each in a world of its own.
pub(super) fn run_all<M: Scripted>() -> Seen {
    let mut seen = Seen::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/coordinator");
    for entry in std::fs::read_dir(folder.join(M::FOLDER)).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let result = run::<M>(&script, &mut seen);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &result).unwrap();
            continue;
        }
        assert_eq!(script, result, "{}", path.display());
    }
    seen
}

fn run<M: Scripted>(script: &str, seen: &mut Seen) -> String {
    let mut world = World::<M>::new(std::mem::take(seen));
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
    *seen = world.seen;
    result
}

/// The words of a command after the first: `name=value`.
pub(super) struct Arguments<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Arguments<'a> {
    fn parse(words: impl Iterator<Item = &'a str>) -> Arguments<'a> {
        let words = words.map(|word| word.split_once('=').unwrap_or((word, "")));
        Arguments(words.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    pub(super) fn number(&self, name: &str, default: i64) -> i64 {
        self.get(name)
            .map_or(default, |value| value.parse().unwrap())
    }

    pub(super) fn int(&self, name: &str, default: i32) -> i32 {
        i32::try_from(self.number(name, i64::from(default))).unwrap()
    }

    pub(super) fn short(&self, name: &str, default: i16) -> i16 {
        i16::try_from(self.number(name, i64::from(default))).unwrap()
    }
}

/// What stands in the log of a machine.
enum Entry {
    Record(Position, Bytes, Option<Bytes>),
    /// The end of a producer's transaction, and whether it was committed.
    End(ProducerId, bool),
}

/// A machine with its state, its log and its times.
pub(super) struct World<M: Scripted> {
    pub(super) machine: M,
    state: M::State,
    scratch: M::Scratch,
    log: Vec<Entry>,
    /// The steady time; lines begin with it.
    pub(super) now: i64,
    /// The wall clock.
    pub(super) wall: i64,
    pub(super) requests: u64,
    fail_append: bool,
    printed: String,
    seen: Seen,
}

impl<M: Scripted> World<M> {
    fn new(seen: Seen) -> World<M> {
        World {
            machine: M::scripted(),
            state: M::State::default(),
            scratch: M::Scratch::default(),
            log: Vec::new(),
            now: 0,
            wall: 0,
            requests: 0,
            fail_append: false,
            printed: String::new(),
            seen,
        }
    }

    fn command(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let name = words.next().unwrap();
        let arguments = Arguments::parse(words);
        match name {
            "wait" => self.wait(arguments.number("ms", 0)),
            "step-clock" => self.wall += arguments.number("ms", 0),
            "fail-append" => self.fail_append = true,
            "restart" => self.restart(),
            _ if M::obey(self, name, &arguments) => {}
            _ => {
                self.requests += 1;
                let request = M::request(self, name, &arguments);
                self.event(Event::Request {
                    ticket: Ticket(self.requests),
                    request,
                });
            }
        }
        assert_eq!(
            self.replayed(),
            self.state,
            "what {command} left in the log"
        );
    }

    fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.machine.next_deadline(&self.scratch)
            && at.0 <= until
        {
            self.pass(at.0);
            self.event(Event::Deadline);
        }
        self.pass(until);
    }

    fn pass(&mut self, until: i64) {
        let ms = (until - self.now).max(0);
        self.now += ms;
        self.wall += ms;
    }

    fn times(&self) -> Now {
        Now {
            wall: Timestamp(self.wall),
            steady: SteadyTime(self.now),
        }
    }

    fn event(&mut self, event: Event<M::Request>) {
        if let Event::Request { request, .. } = &event {
            let situation = M::situation(&self.state, request);
            self.seen.situations.extend(situation);
        }
        let now = self.times();
        let outcome = self
            .machine
            .handle(&self.state, &mut self.scratch, event, now);
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome<M::Record, M::Response>) {
        let replies = if !outcome.records.is_empty() && std::mem::take(&mut self.fail_append) {
            let (error, now) = (ErrorCode::NotEnoughReplicas, self.times());
            self.machine
                .append_failed(&self.state, &mut self.scratch, outcome, error, now)
        } else {
            let producer_id = outcome
                .transactional
                .map_or(ProducerId::NONE, |it| it.producer.id);
            for record in outcome.records {
                self.seen.changes.extend(M::change(&self.state, &record));
                self.append(record, producer_id);
            }
            outcome.replies
        };
        for (ticket, response) in replies {
            let line = M::print_response(&response);
            self.seen.answers.insert(line.clone());
            self.print(&format!("#{} {line}", ticket.0));
        }
    }

    /// Writes a record, as the machine decided or as another coordinator may have left it.
    pub(super) fn append(&mut self, record: M::Record, producer_id: ProducerId) {
        let (key, value) = M::encode(&record).unwrap();
        let at = Position {
            offset: Offset(i64::try_from(self.log.len()).unwrap()),
            producer_id,
        };
        self.print(&format!("record {}", M::print_record(&record)));
        self.log.push(Entry::Record(at, key, value));
        M::apply(&mut self.state, record, at);
    }

    pub(super) fn end_transaction(&mut self, producer_id: ProducerId, committed: bool) {
        self.log.push(Entry::End(producer_id, committed));
        M::end_transaction(&mut self.state, producer_id, committed);
    }

    fn replayed(&self) -> M::State {
        let mut state = M::State::default();
        for entry in &self.log {
            match entry {
                Entry::Record(at, key, value) => {
                    let record = M::decode(key.clone(), value.clone()).unwrap().unwrap();
                    M::apply(&mut state, record, *at);
                }
                Entry::End(producer_id, committed) => {
                    M::end_transaction(&mut state, *producer_id, *committed);
                }
            }
        }
        state
    }

    fn restart(&mut self) {
        self.state = self.replayed();
        self.scratch = M::Scratch::default();
        let now = self.times();
        let outcome = self.machine.loaded(&self.state, &mut self.scratch, now);
        self.take(outcome);
    }

    fn print(&mut self, line: &str) {
        let _ = writeln!(self.printed, "{} {}", self.now, M::shorten(line));
    }
}
