//! The scripts of `testdata/` (`script_tests`). The transactional id is `t` unless said otherwise.

use std::fmt::Write as _;

use super::*;
use crate::coordinator::script_tests::{Arguments, Scripted, World, run_all};
use crate::ids::Timestamp;

mod complete;

impl<'a> Arguments<'a> {
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

    fn level(&self) -> i16 {
        self.short("tv", 2)
    }
}

impl Scripted for Machine {
    const FOLDER: &'static str = "transaction/testdata";

    fn scripted() -> Machine {
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

    fn request(world: &World<Machine>, name: &str, arguments: &Arguments<'_>) -> Request {
        request(name, arguments, world.now)
    }

    fn obey(world: &mut World<Machine>, name: &str, arguments: &Arguments<'_>) -> bool {
        match name {
            "level" => world.machine.set_transaction_version(arguments.level()),
            "no-2pc" => world.machine.config.two_phase_commit = false,
            "record" => world.append(record(arguments, Timestamp(world.wall)), ProducerId::NONE),
            _ => return false,
        }
        true
    }

    fn situation(state: &State, request: &Request) -> Option<String> {
        complete::situation(state, request)
    }

    fn change(state: &State, record: &Record) -> Option<String> {
        complete::change(state, record)
    }

    fn print_record(record: &Record) -> String {
        let line = match record.transaction.as_deref() {
            Some(transaction) => describe(transaction),
            None => String::from("tombstone"),
        };
        format!("{} {line}", record.id)
    }

    fn print_response(response: &Response) -> String {
        print(response)
    }
}

/// As another coordinator may have left it.
fn record(arguments: &Arguments<'_>, now: Timestamp) -> Record {
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
        start: now,
        client_version: arguments.level(),
        ..Transaction::unknown(producer.id, now)
    };
    Record::new(arguments.id(), Some(transaction), 2)
}

fn request(name: &str, arguments: &Arguments<'_>, now: i64) -> Request {
    let (id, producer) = (arguments.id(), arguments.producer());
    let named = producer.unwrap_or(ProducerIdAndEpoch::NONE);
    match name {
        "init" => Request::InitProducerId {
            id,
            timeout_ms: arguments.int("timeout", 60_000),
            expected: producer,
            two_phase: arguments.get("2pc").is_some(),
            keep_prepared: arguments.get("keep").is_some(),
            fresh: arguments.fresh(),
        },
        "add" => Request::AddPartitions {
            id,
            producer: named,
            partitions: arguments.partitions(),
            client_version: arguments.level(),
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
            client_version: arguments.level(),
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
