//! The expected texts are what Kafka 4.3.0's kafka-storage printed for the same settings and options.

use clap::Parser;

use super::*;
use crate::ids::Timestamp;
use crate::metadata::checkpoint::{self, BOOTSTRAP, SnapshotId};

const CLUSTER: &str = "nH5xXfZ7S-6V-VNy0i0KzA";

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    format: FormatArguments,
}

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new(quorum: &str) -> Node {
        let directory = tempfile::tempdir().unwrap();
        let node = Node { directory };
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093\nlog.dirs={0}/d1,{0}/d2\n{quorum}\n",
            node.directory.path().display()
        );
        std::fs::write(node.path("node.properties"), text).unwrap();
        node
    }

    fn fixed() -> Node {
        Node::new("controller.quorum.voters=1@127.0.0.1:9093")
    }

    fn dynamic() -> Node {
        Node::new("controller.quorum.bootstrap.servers=127.0.0.1:9093")
    }

    /// What is printed, or what stands in the way; `$D` for the directory.
    fn format(&self, options: &str) -> String {
        self.format_for(CLUSTER, options)
    }

    fn format_for(&self, cluster: &str, options: &str) -> String {
        let config = self.path("node.properties");
        let line = format!("format -c {} -t {cluster} {options}", config.display());
        let arguments = CommandLine::try_parse_from(line.split_whitespace())
            .unwrap_or_else(|error| panic!("{error}"));
        let mut out = Vec::new();
        let clock = Clock::manual(Timestamp(1_795_259_558_912));
        let result = format(&arguments.format, &clock, &mut out);
        self.mask(result, out)
    }

    fn info(&self) -> String {
        let mut out = Vec::new();
        let result = info(&self.path("node.properties"), &mut out);
        self.mask(result, out)
    }

    fn mask(&self, result: Result<(), Box<dyn Error>>, out: Vec<u8>) -> String {
        let mut text = String::from_utf8(out).unwrap();
        if let Err(error) = result {
            text.push_str(&error.to_string());
        }
        text.replace(&self.directory.path().display().to_string(), "$D")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn bootstrap(levels: &[(&str, i16)]) -> String {
    let record = |(name, level): &(&str, i16)| {
        format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{name}', featureLevel={level}) at version 0)"
        )
    };
    let records: Vec<String> = levels.iter().map(record).collect();
    let (records, level) = (records.join(", "), levels[0].1);
    format!(
        "Bootstrap metadata: BootstrapMetadata(records=[{records}], metadataVersionLevel={level}, source=format command)\n"
    )
}

fn latest() -> String {
    bootstrap(&[
        ("metadata.version", 30),
        ("eligible.leader.replicas.version", 1),
        ("group.version", 1),
        ("share.version", 1),
        ("streams.version", 1),
        ("transaction.version", 2),
    ])
}

#[test]
fn directories_are_formatted_once() {
    let node = Node::fixed();
    assert_eq!(
        node.info(),
        "Found problems:\n  $D/d1 does not exist\n  $D/d2 does not exist\n\nthe log directories have problems"
    );
    let formatting = "Formatting data directory $D/d2 with metadata.version 4.3-IV0.\n\
                      Formatting metadata directory $D/d1 with metadata.version 4.3-IV0.\n";
    assert_eq!(node.format(""), latest() + formatting);
    let already = "Log directory $D/d1 is already formatted. Use --ignore-formatted to ignore this directory and format \
                   the others.";
    assert_eq!(node.format(""), already);
    assert_eq!(
        node.format("-g"),
        "All of the log directories are already formatted.\n"
    );
    let id = MetaProperties::read(&node.path("d1"))
        .unwrap()
        .unwrap()
        .directory_id
        .unwrap();
    let found = format!(
        "Found log directories:\n  $D/d1\n  $D/d2\n\nFound metadata: {{cluster.id={CLUSTER}, directory.id={id}, \
         node.id=1, version=1}}\n\n"
    );
    assert_eq!(node.info(), found);
    std::fs::remove_file(MetaProperties::path(&node.path("d2"))).unwrap();
    assert_eq!(
        node.info(),
        format!(
            "{found}Found problem:\n  $D/d2 is not formatted.\n\nthe log directories have problems"
        )
    );
    let formatting = "Formatting data directory $D/d2 with metadata.version 4.3-IV0.\n";
    assert_eq!(node.format("--ignore-formatted"), latest() + formatting);
}

#[test]
fn a_dynamic_quorum_has_to_be_said() {
    let node = Node::dynamic();
    assert_eq!(
        node.format(""),
        "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
         --standalone, --initial-controllers, or --no-initial-controllers."
    );
    let formatting = "Formatting data directory $D/d2 with metadata.version 4.3-IV0.\n\
                      Formatting dynamic metadata voter directory $D/d1 with metadata.version 4.3-IV0.\n";
    assert_eq!(node.format("--standalone"), latest() + formatting);
    let log = node.path("d1/__cluster_metadata-0");
    let quorum = checkpoint::read(&SnapshotId::EMPTY.path(&log))
        .unwrap()
        .quorum
        .unwrap();
    assert_eq!(quorum.voters[&NodeId(1)].endpoints[0].port, 9093);

    let node = Node::dynamic();
    assert!(
        node.format("-N")
            .ends_with("Formatting metadata directory $D/d1 with metadata.version 4.3-IV0.\n")
    );
    assert!(!node.path("d1/__cluster_metadata-0").exists());

    assert_eq!(
        Node::fixed().format("--standalone"),
        "You cannot specify controller.quorum.voters and format the node with --initial-controllers or --standalone. If \
         you want to use dynamic quorum, please remove controller.quorum.voters and specify \
         controller.quorum.bootstrap.servers instead."
    );
}

#[test]
fn initial_controllers_name_the_directory() {
    let node = Node::dynamic();
    let voters = "1@127.0.0.1:9093:JEXY6aqzQY-32P5TStzaFg,2@[::1]:23312:MvDxzVmcRsaTz33bUuRU6A";
    assert!(
        node.format(&format!("-I {voters}"))
            .contains("dynamic metadata voter directory $D/d1")
    );
    let meta = MetaProperties::read(&node.path("d1")).unwrap().unwrap();
    assert_eq!(
        meta.directory_id.unwrap().to_string(),
        "JEXY6aqzQY-32P5TStzaFg"
    );
    let log = node.path("d1/__cluster_metadata-0");
    let quorum = checkpoint::read(&SnapshotId::EMPTY.path(&log))
        .unwrap()
        .quorum
        .unwrap();
    assert_eq!(quorum.voters[&NodeId(2)].endpoints[0].host, "::1");
    let other = Node::dynamic().format("-I 2@127.0.0.1:23312:MvDxzVmcRsaTz33bUuRU6A");
    assert!(
        other.contains("Formatting dynamic metadata directory $D/d1"),
        "{other}"
    );
    let refusal = Node::dynamic().format("-I 1@127.0.0.1:9093");
    assert_eq!(
        refusal,
        "--initial-controllers: 1@127.0.0.1:9093 is not of the form id@host:port:directory"
    );
}

#[test]
fn feature_levels_follow_the_release() {
    let text = |options: &str| Node::fixed().format(options);
    let formatting = |name: &str| {
        format!(
            "Formatting data directory $D/d2 with metadata.version {name}.\n\
             Formatting metadata directory $D/d1 with metadata.version {name}.\n"
        )
    };
    assert_eq!(
        text("-r 3.9"),
        bootstrap(&[("metadata.version", 21)]) + &formatting("3.9-IV0")
    );
    let levels = [
        ("metadata.version", 25),
        ("group.version", 1),
        ("transaction.version", 2),
    ];
    assert_eq!(
        text("-r 4.0-IV3"),
        bootstrap(&levels) + &formatting("4.0-IV3")
    );
    let levels = [("metadata.version", 25), ("transaction.version", 2)];
    assert_eq!(
        text("-r 4.0 --feature group.version=0"),
        bootstrap(&levels) + &formatting("4.0-IV3")
    );
    assert!(text("--feature metadata.version=29").ends_with(&formatting("4.2-IV1")));
    assert_eq!(
        text("--feature foo=1"),
        "Unsupported feature: foo. Supported features are: eligible.leader.replicas.version, group.version, \
         kraft.version, share.version, streams.version, transaction.version"
    );
    assert_eq!(
        text("--feature transaction.version=9"),
        "No feature:transaction.version with feature level 9"
    );
    assert_eq!(
        text("-r 9.9"),
        "Unknown metadata.version '9.9'. Supported metadata.version are: 3.3-IV3, 3.4-IV0, 3.5-IV0, 3.5-IV1, 3.5-IV2, \
         3.6-IV0, 3.6-IV1, 3.6-IV2, 3.7-IV0, 3.7-IV1, 3.7-IV2, 3.7-IV3, 3.7-IV4, 3.8-IV0, 3.9-IV0, 4.0-IV0, 4.0-IV1, \
         4.0-IV2, 4.0-IV3, 4.1-IV0, 4.1-IV1, 4.2-IV0, 4.2-IV1, 4.3-IV0"
    );
}

#[test]
fn directories_of_others_are_refused() {
    let node = Node::fixed();
    node.format("");
    assert_eq!(
        node.format_for("other", "-g"),
        format!("Invalid cluster.id in: $D/d1/meta.properties. Expected other, but read {CLUSTER}")
    );
    let mut meta = MetaProperties::read(&node.path("d1")).unwrap().unwrap();
    meta.node_id = NodeId(9);
    meta.write(&node.path("d1"), Timestamp(0)).unwrap();
    assert_eq!(
        node.format("-g"),
        "Stored node id 9 doesn't match previous node id 1 in $D/d1/meta.properties. If you moved your data, make sure \
         your configured node id matches. If you intend to create a new node, you should remove all data in your data \
         directories."
    );
}

/// `bootstrap.checkpoint` as Kafka's tool wrote it, in all but its times, and so its checksums.
#[test]
fn the_bootstrap_checkpoint_is_kafkas() {
    let node = Node::fixed();
    node.format("");
    let ours = std::fs::read(node.path("d2").join(BOOTSTRAP)).unwrap();
    let theirs = include_bytes!("../../../protocol-tests/fixtures/storage/bootstrap.checkpoint");
    assert_eq!(untimed(ours), untimed(theirs.to_vec()));
}

/// Sets checksum, base timestamp and largest timestamp of each batch to zero.
fn untimed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at < bytes.len() {
        bytes[at + 17..at + 21].fill(0);
        bytes[at + 27..at + 43].fill(0);
        let length = u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap());
        at += 12 + usize::try_from(length).unwrap();
    }
    bytes
}
