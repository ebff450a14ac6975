//! `testdata/*.tsv` are printed from Kafka 4.3.0: its ConfigDefs, what they answer to values, and what KafkaConfig
//! answers to changes of a node's settings.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use super::*;

/// The lines of a table, split at tabs.
fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().map(|line| line.split('\t').collect())
}

fn default_text(key: &Key) -> &'static str {
    match key.default {
        None if key.required => "(required)",
        None => "null",
        Some("") => "\"\"",
        Some(text) => text,
    }
}

#[test]
fn the_table_is_kafkas() {
    for keys in [
        BROKER_KEYS,
        DYNAMIC_ONLY_KEYS,
        REMOTE_LOG_METADATA_KEYS,
        TOPIC_KEYS,
        GROUP_KEYS,
        CLIENT_METRICS_KEYS,
    ] {
        assert!(keys.is_sorted_by_key(|key| key.name));
    }
    let mut count = 0;
    for row in rows(include_str!("testdata/broker-keys.tsv")) {
        let [name, kind, default, mode, internal, per_listener] = row[..] else {
            panic!("{row:?}")
        };
        let tables = [BROKER_KEYS, DYNAMIC_ONLY_KEYS, REMOTE_LOG_METADATA_KEYS];
        let key = tables
            .iter()
            .find_map(|keys| find(keys, name).map(|at| &keys[at]));
        let key = key.unwrap_or_else(|| panic!("{name} is missing"));
        let update = match mode.split(' ').next().unwrap() {
            "read-only" => UpdateMode::ReadOnly,
            "per-broker" => UpdateMode::PerBroker,
            "cluster-wide" => UpdateMode::ClusterWide,
            other => panic!("{other}"),
        };
        assert_eq!(
            (key.kind.name(), default_text(key)),
            (kind, default),
            "{name}"
        );
        assert_eq!(
            (key.update, key.internal, key.per_listener),
            (update, internal == "yes", per_listener == "yes"),
            "{name}"
        );
        count += 1;
    }
    let own = BROKER_KEYS.iter().filter(|key| key.own).count();
    assert_eq!(
        count + own,
        BROKER_KEYS.len() + DYNAMIC_ONLY_KEYS.len() + REMOTE_LOG_METADATA_KEYS.len()
    );
    assert_eq!(BROKER_KEYS.len() - own, 360);
}

#[test]
fn the_tables_of_topics_and_groups_are_kafkas() {
    let mut count = 0;
    for row in rows(include_str!("testdata/topic-keys.tsv")) {
        let [resource, name, kind, default, internal, synonym] = row[..] else {
            panic!("{row:?}")
        };
        let keys = match resource {
            "TOPIC" => TOPIC_KEYS,
            "GROUP" => GROUP_KEYS,
            _ => CLIENT_METRICS_KEYS,
        };
        let key = &keys[find(keys, name).unwrap_or_else(|| panic!("{name} is missing"))];
        assert_eq!(
            (key.kind.name(), default_text(key)),
            (kind, default),
            "{name}"
        );
        assert_eq!(key.internal, internal == "yes", "{name}");
        assert_eq!(
            key.broker.first().map_or("", |(name, _)| name),
            synonym,
            "{name}"
        );
        assert!(
            key.broker
                .iter()
                .all(|(name, _)| find(BROKER_KEYS, name).is_some()),
            "{name}"
        );
        count += 1;
    }
    assert_eq!(
        count,
        TOPIC_KEYS.len() + GROUP_KEYS.len() + CLIENT_METRICS_KEYS.len()
    );
}

#[test]
fn values_are_judged_in_kafkas_words() {
    for row in rows(include_str!("testdata/values.tsv")) {
        let [scope, name, text, answer] = row[..] else {
            panic!("{row:?}")
        };
        let keys = match scope {
            "broker" => BROKER_KEYS,
            "topic" => TOPIC_KEYS,
            _ => GROUP_KEYS,
        };
        let key = &keys[find(keys, name).unwrap_or_else(|| panic!("{name} is missing"))];
        // Kafka loads the class; here its name is just a text.
        if key.kind == Kind::Class {
            continue;
        }
        let ours = match Value::parse(key, text) {
            Ok(value @ Value::List(_)) => format!("ok {}", value.to_text()),
            Ok(_) => "ok".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(ours, answer, "{name}={text}");
    }
}

fn settings_of(properties: &str) -> Result<Settings, Error> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(properties.as_bytes()).unwrap();
    Settings::from_file(
        file.path(),
        &[("num.partitions".to_owned(), "3".to_owned())],
    )
}

const NODE: &str = "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092,CONTROLLER://[::1]:9093\n\
                    controller.listener.names=CONTROLLER\ncontroller.quorum.voters=7@localhost:9093\n";

#[test]
fn a_file_is_read_and_overridden() {
    let settings = settings_of(&format!(
        "# a comment\n{NODE}log.dirs=/a, /b\nnum.partitions=2\n"
    ))
    .unwrap();
    assert_eq!(settings.num_partitions(), 3);
    assert_eq!(settings.node_id().0, 7);
    assert_eq!(settings.log_dirs(), [Path::new("/a"), Path::new("/b")]);
    assert_eq!(settings.metadata_log_dir(), Path::new("/a"));
    assert_eq!(
        settings.listeners()[1].to_string(),
        "CONTROLLER://[::1]:9093"
    );
    assert_eq!(settings.broker_listeners().count(), 1);
    assert_eq!(settings.inter_broker_listener_name(), "PLAINTEXT");
    assert_eq!(settings.socket_request_max_bytes(), 104_857_600);
}

#[test]
fn a_wrong_value_names_its_line() {
    let error = settings_of(&format!("{NODE}\n\nnum.io.threads=many\n"))
        .unwrap_err()
        .to_string();
    let expected =
        ":8: Invalid value many for configuration num.io.threads: Not a number of type INT";
    assert!(error.ends_with(expected), "{error}");
    let error = settings_of(&format!("{NODE}a=\\u12\n"))
        .unwrap_err()
        .to_string();
    assert!(error.contains(":6: "), "{error}");
}

#[test]
fn embedded_defaults_can_be_changed() {
    let settings = Settings::on_free_ports(Path::new("data"))
        .with(&[("num.partitions", "5")])
        .unwrap();
    assert_eq!(settings.num_partitions(), 5);
    assert_eq!(settings.listeners()[0].port, 0);
}

/// As `kafka-configs --describe --all` prints it.
fn print(entries: &[ConfigEntry]) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonym =
        |one: &ConfigSynonym| format!("{}:{}={}", one.source.name(), one.name, text(&one.value));
    let line = |one: &ConfigEntry| {
        let synonyms: Vec<String> = one.synonyms.iter().map(synonym).collect();
        let synonyms = synonyms.join(", ");
        format!(
            "  {}={} sensitive={} synonyms={{{synonyms}}}",
            one.name,
            text(&one.value),
            one.sensitive
        )
    };
    entries.iter().map(line).collect()
}

/// The node that `testdata/desc-*.txt` was recorded from.
fn described_node() -> Settings {
    settings_of(include_str!("testdata/described.properties"))
        .unwrap()
        .with(&[("num.partitions", "2")])
        .unwrap()
}

/// In Kafka 4.3 the controller sets it for all brokers, as eligible leader replicas need it there.
fn cluster(name: &str) -> Option<String> {
    (name == "min.insync.replicas").then(|| "1".to_owned())
}

#[test]
fn a_broker_is_described_as_by_kafka() {
    let entries = described_node().describe_broker(Layers {
        cluster: &cluster,
        ..Layers::EMPTY
    });
    let expected: Vec<&str> = include_str!("testdata/desc-broker.txt")
        .lines()
        .skip(1)
        .collect();
    for (ours, theirs) in print(&entries).iter().zip(&expected) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(entries.len(), expected.len());
}

#[test]
fn a_topic_is_described_as_by_kafka() {
    let own = |name: &str| match name {
        "segment.bytes" => Some("2000000".to_owned()),
        "cleanup.policy" => Some("compact,delete".to_owned()),
        _ => None,
    };
    let entries = described_node().describe_topic(Layers {
        own: &own,
        cluster: &cluster,
        ..Layers::EMPTY
    });
    let expected: Vec<&str> = include_str!("testdata/desc-topic.txt")
        .lines()
        .skip(1)
        .collect();
    assert_eq!(print(&entries), expected);
}

#[test]
fn a_topic_inherits_from_the_broker() {
    let settings = described_node();
    let own = |name: &str| (name == "segment.bytes").then(|| "2000000".to_owned());
    let topic = settings.topic(Layers {
        own: &own,
        ..Layers::EMPTY
    });
    assert_eq!(topic.segment_bytes(), 2_000_000);
    assert_eq!(topic.long("retention.ms"), 100 * 60 * 1000);
    assert_eq!(topic.long("segment.ms"), 24 * 60 * 60 * 1000);
    assert_eq!(topic.list("cleanup.policy"), ["delete"]);
    let forever = settings.with(&[("log.retention.ms", "-2")]).unwrap();
    assert_eq!(forever.topic(Layers::EMPTY).long("retention.ms"), -1);
}

#[test]
fn topic_settings_are_judged_in_kafkas_words() {
    let settings = described_node();
    let judge = |given: &[(&'static str, Option<&'static str>)]| {
        settings
            .validate_topic(given.iter().copied())
            .map_err(|refusal| refusal.to_string())
    };
    assert_eq!(
        judge(&[
            ("segment.bytes", Some("1048576")),
            ("cleanup.policy", Some(""))
        ]),
        Ok(())
    );
    for (given, expected) in [
        (vec![("foo", Some("1"))], "Unknown topic config name: foo"),
        (
            vec![("segment.bytes", Some("1"))],
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            vec![
                ("min.compaction.lag.ms", Some("9999999999999")),
                ("max.compaction.lag.ms", Some("100000")),
            ],
            "conflict topic config setting min.compaction.lag.ms (9999999999999) > max.compaction.lag.ms (100000)",
        ),
        (
            vec![("remote.storage.enable", Some("true"))],
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
        (
            vec![("segment.ms", None)],
            "Null value not supported for topic configs: segment.ms",
        ),
    ] {
        assert_eq!(judge(&given), Err(expected.to_owned()));
    }
}

#[test]
fn settings_are_judged_together_in_kafkas_words() {
    let base = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        (
            "listeners",
            "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
        ),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@127.0.0.1:9093"),
    ];
    for row in rows(include_str!("testdata/settings.tsv")) {
        let [changes, answer] = row[..] else {
            panic!("{row:?}")
        };
        let mut properties: BTreeMap<&str, &str> = base.into_iter().collect();
        for change in changes.split(';') {
            match change.split_once('=') {
                Some((name, value)) => properties.insert(name, value),
                None => properties.remove(change),
            };
        }
        let given = properties.iter().map(|(name, value)| Given {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            location: Location::Override,
        });
        let ours = match Settings::from_given(given.collect()) {
            Ok(_) => "ok".to_owned(),
            Err(Error::Invalid { exception, .. } | Error::Incomplete(exception)) => exception.0,
            Err(other) => panic!("{other}"),
        };
        // Where Kafka lets a Java exception's text through, ours says what is wrong.
        let expected = match answer {
            "For input string: \"x\"" => "127.0.0.1:x is not of the form",
            _ => answer
                .strip_suffix(": begin 0, end -1, length 9")
                .unwrap_or(answer),
        };
        let same = if answer == "ok" {
            ours == "ok"
        } else {
            ours.contains(expected)
        };
        assert!(same, "{changes}\n  ours: {ours}\nKafka: {answer}");
    }
}

#[test]
fn what_protects_and_is_not_acted_on_refuses_the_start() {
    let node = settings_of(NODE).unwrap();
    assert!(node.check_protection().is_ok());
    for (changes, expected) in [
        (
            [("authorizer.class.name", "a.b.C"), ("node.id", "7")],
            "--override: authorizer.class.name=a.b.C asks for a protection that Dohle does not offer yet; it does not \
             start without it",
        ),
        (
            [
                (
                    "listener.security.protocol.map",
                    "PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
                ),
                ("inter.broker.listener.name", "PLAINTEXT"),
            ],
            "--override: listener.security.protocol.map=PLAINTEXT:SASL_SSL asks for a protection that Dohle does not \
             offer yet; it does not start without it",
        ),
    ] {
        let refusal = node.with(&changes).unwrap().check_protection().unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn settings_of_one_listener_are_judged_like_those_of_all() {
    let node = settings_of(NODE).unwrap();
    let text = node
        .with(&[
            ("listener.name.plaintext.ssl.client.auth", "required"),
            ("listener.name.plaintext.ssl.keystore.password", "hunter2"),
            ("listener.name.plaintext.max.connections", "5"),
        ])
        .unwrap()
        .explain();
    let (acts, not_yet) = text.split_once("Known, not acted on yet:").unwrap();
    assert!(acts.contains("listener.name.plaintext.ssl.client.auth=required"));
    assert!(acts.contains("listener.name.plaintext.ssl.keystore.password=[hidden]"));
    assert!(not_yet.contains("listener.name.plaintext.max.connections=5"));
    let name = "listener.name.plaintext.ssl.engine.factory.class";
    let asks = node.with(&[(name, "a.b.C")]).unwrap();
    let refusal = asks.check_protection().unwrap_err().to_string();
    assert!(refusal.contains(&format!("{name}=a.b.C asks for a protection")));
    let taken_back = asks.with(&[(name, "")]).unwrap();
    assert!(taken_back.check_protection().is_ok());
}

#[test]
fn unknown_names_warn_and_are_explained() {
    let changes = [
        ("num.partition", "2"),
        ("ssl.key.password", "hunter2"),
        ("listener.name.plaintext.max.connections", "5"),
        ("rsm.config.bucket", "b"),
    ];
    let node = settings_of(NODE).unwrap().with(&changes).unwrap();
    assert_eq!(
        node.warnings(),
        ["--override: unknown setting num.partition (is it num.partitions?)"]
    );
    let text = node.explain();
    assert!(
        text.contains("  ssl.key.password=[hidden] (--override)\n"),
        "{text}"
    );
    assert!(
        text.contains("Unknown:\n  num.partition=[hidden] (--override)\n"),
        "{text}"
    );
    assert!(!text.contains("hunter2"));
}

#[test]
fn the_sample_files_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["server", "kraft/server", "kraft/broker", "kraft/controller"] {
        let settings = Settings::from_file(&root.join(format!("{name}.properties")), &[]).unwrap();
        assert_eq!(settings.warnings(), [""; 0]);
        assert!(settings.check_protection().is_ok());
    }
}
