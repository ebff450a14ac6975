//! `dohle storage`: formats log directories and tells about them, with the options and the output of Kafka 4.3's
//! `kafka-storage`. (kafka.tools.StorageTool, org.apache.kafka.metadata.storage.Formatter)

mod release;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::release::Release;
use super::Failure;
use crate::clock::Clock;
use crate::config::features::{FEATURES, KRAFT_VERSION, METADATA_VERSION};
use crate::config::{Role, Settings};
use crate::ids::{DirectoryId, KafkaUuid, NodeId};
use crate::messages::records::frame::MetadataRecord;
use crate::metadata::MetadataVersion;
use crate::metadata::control::{Voter, VoterEndpoint, Voters};
use crate::metadata::storage::{self, Format, MetaProperties};

#[derive(Args, Debug)]
pub struct Storage {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Get information about the log directories on this node
    Info {
        /// The settings file to use
        #[arg(short, long)]
        config: PathBuf,
    },
    /// Format the log directories on this node
    Format(FormatArguments),
    /// Print a random UUID
    RandomUuid,
}

#[derive(Args, Debug)]
struct FormatArguments {
    /// The settings file to use
    #[arg(short, long)]
    config: PathBuf,
    /// The cluster id to use
    #[arg(short = 't', long)]
    cluster_id: String,
    /// A SCRAM credential to add to the metadata log
    #[arg(short = 'S', long)]
    add_scram: Vec<String>,
    /// Skip directories that are formatted already, instead of failing
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// The release whose feature levels to start with; from 3.3-IV3 to 4.3-IV0
    #[arg(short, long)]
    release_version: Option<String>,
    /// The level of one feature, as feature=level
    #[arg(short, long)]
    feature: Vec<String>,
    /// Begin a dynamic quorum with this controller as its only voter
    #[arg(short, long, group = "quorum")]
    standalone: bool,
    /// Format for a dynamic quorum without saying who is in it
    #[arg(short = 'N', long, group = "quorum")]
    no_initial_controllers: bool,
    /// Begin a dynamic quorum with these voters: id@host:port:directory, separated by commas; the same for each of them
    #[arg(short = 'I', long, group = "quorum")]
    initial_controllers: Option<String>,
}

fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::new(text))
}

impl Storage {
    pub fn run(&self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let result = match &self.command {
            Command::Info { config } => info(config, &mut out),
            Command::Format(arguments) => format(arguments, &Clock::system(), &mut out),
            Command::RandomUuid => writeln!(out, "{}", KafkaUuid::random()).map_err(Into::into),
        };
        result.map_err(|error| Failure::new(error.to_string()))
    }
}

/// Lists the directories, what `meta.properties` say, and what is wrong with them; fails if anything is.
fn info(config: &Path, out: &mut impl Write) -> Result<(), Box<dyn Error>> {
    let settings = &Settings::from_file(config, &[])?;
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for directory in storage::directories(settings) {
        let shown = directory.display();
        if !directory.is_dir() {
            let reason = if directory.exists() {
                "is not a directory"
            } else {
                "does not exist"
            };
            problems.push(format!("{shown} {reason}"));
            continue;
        }
        found.push(shown.to_string());
        match MetaProperties::read(&directory) {
            Ok(None) => problems.push(format!("{shown} is not formatted.")),
            Err(error) => problems.push(format!("Error loading {error}")),
            Ok(Some(meta)) => match &first {
                None => first = Some(meta),
                Some(first)
                    if (&first.cluster_id, first.node_id) == (&meta.cluster_id, meta.node_id) => {}
                Some(first) => problems.push(format!(
                    "Metadata for {} was {meta}, but other directories featured {first}",
                    MetaProperties::path(&directory).display()
                )),
            },
        }
    }
    print_list(
        out,
        &found,
        "Found log directory:",
        "Found log directories:",
    )?;
    if let Some(meta) = first {
        writeln!(out, "Found metadata: {meta}\n")?;
    }
    print_list(out, &problems, "Found problem:", "Found problems:")?;
    match problems.len() {
        0 => Ok(()),
        _ => Ok(fail("the log directories have problems")?),
    }
}

fn print_list(
    out: &mut impl Write,
    lines: &[String],
    one: &str,
    many: &str,
) -> std::io::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", if lines.len() == 1 { one } else { many })?;
    for line in lines {
        writeln!(out, "  {line}")?;
    }
    writeln!(out)
}

fn format(
    arguments: &FormatArguments,
    clock: &Clock,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let settings = &Settings::from_file(&arguments.config, &[])?;
    check_quorum(settings, arguments)?;
    if !arguments.add_scram.is_empty() {
        fail("--add-scram: Dohle does not authenticate by SCRAM yet, so it writes no credentials")?;
    }
    let levels = levels(arguments)?;
    let release = Release::of_level(levels[METADATA_VERSION]);
    let directories = directories_to_format(settings, arguments)?;
    if directories.is_empty() {
        writeln!(out, "All of the log directories are already formatted.")?;
        return Ok(());
    }
    let format = plan(settings, arguments, &levels)?;
    writeln!(out, "Bootstrap metadata: {}", bootstrap_text(&format))?;
    let metadata_dir = &format.metadata_dir.0;
    let is_last = |directory: &&PathBuf| *directory == metadata_dir;
    let data = directories.iter().filter(|directory| !is_last(directory));
    for directory in data.chain(directories.iter().filter(is_last)) {
        let kind = match &format.voters {
            _ if directory != metadata_dir => "data",
            None => "metadata",
            Some(voters) if voters.contains_key(&format.node_id) => "dynamic metadata voter",
            Some(_) => "dynamic metadata",
        };
        let shown = directory.display();
        writeln!(
            out,
            "Formatting {kind} directory {shown} with {METADATA_VERSION} {}.",
            release.name
        )?;
        format.apply(directory, clock.now())?;
    }
    Ok(())
}

/// Whether the options go with `controller.quorum.voters` and the node's role.
fn check_quorum(settings: &Settings, arguments: &FormatArguments) -> Result<(), Failure> {
    let begins = arguments.standalone || arguments.initial_controllers.is_some();
    let is_controller = settings.has_role(Role::Controller);
    if arguments.standalone && !is_controller {
        return fail("You can only use --standalone on a controller.");
    }
    if !settings.voters().is_empty() && begins {
        return fail(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
             --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
             controller.quorum.bootstrap.servers instead.",
        );
    }
    if is_controller && settings.voters().is_empty() && !begins && !arguments.no_initial_controllers
    {
        return fail(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        );
    }
    Ok(())
}

/// The level of each feature: those of the release, and what was asked for.
fn levels(arguments: &FormatArguments) -> Result<BTreeMap<&'static str, i16>, Failure> {
    let mut asked = BTreeMap::new();
    for text in &arguments.feature {
        let Some((name, level)) = text.split_once('=') else {
            return fail(format!(
                "Can't parse feature=level string {text}: equals sign not found."
            ));
        };
        let Ok(level) = level.trim().parse::<i16>() else {
            return fail(format!(
                "Can't parse feature=level string {text}: unable to parse {level} as a short."
            ));
        };
        let name = name.trim();
        let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
            let names: Vec<&str> = FEATURES
                .iter()
                .map(|feature| feature.name)
                .filter(|name| *name != METADATA_VERSION)
                .collect();
            return fail(format!(
                "Unsupported feature: {name}. Supported features are: {}",
                names.join(", ")
            ));
        };
        if !(feature.min..=feature.max).contains(&level) {
            return fail(format!("No feature:{name} with feature level {level}"));
        }
        asked.insert(feature.name, level);
    }
    let release = match (&arguments.release_version, asked.get(METADATA_VERSION)) {
        (Some(_), Some(_)) => {
            return fail(
                "Use --release-version instead of --feature metadata.version=X to avoid ambiguity.",
            );
        }
        (Some(text), None) => match Release::parse(text) {
            Some(release) => release,
            None => {
                return fail(format!(
                    "Unknown metadata.version '{text}'. Supported metadata.version are: {}",
                    Release::names()
                ));
            }
        },
        (None, Some(level)) => Release::of_level(*level),
        (None, None) => Release::LATEST,
    };
    check_kraft_version(arguments, asked.get(KRAFT_VERSION).copied())?;
    let mut levels: BTreeMap<&'static str, i16> = release.features().collect();
    levels.extend(asked);
    let elr = levels
        .get("eligible.leader.replicas.version")
        .copied()
        .unwrap_or(0);
    if elr > 0 && !MetadataVersion(release.level).eligible_leader_replicas() {
        return fail(format!(
            "eligible.leader.replicas.version could not be set to {elr} because it depends on metadata.version level 23"
        ));
    }
    Ok(levels)
}

/// `kraft.version` follows from how the quorum begins.
fn check_kraft_version(arguments: &FormatArguments, asked: Option<i16>) -> Result<(), Failure> {
    let is_dynamic = arguments.standalone
        || arguments.initial_controllers.is_some()
        || arguments.no_initial_controllers;
    match asked {
        Some(0) if is_dynamic => fail(
            "Cannot set kraft.version to 0 if KIP-853 configuration is present. Try removing the --feature flag for \
             kraft.version.",
        ),
        Some(level) if level > 0 && !is_dynamic => fail(format!(
            "Cannot set kraft.version to {level} unless KIP-853 configuration is present. Try removing the --feature \
             flag for kraft.version."
        )),
        _ => Ok(()),
    }
}

/// The directories that have no `meta.properties`. Those that have must be of this cluster and node.
fn directories_to_format(
    settings: &Settings,
    arguments: &FormatArguments,
) -> Result<BTreeSet<PathBuf>, Box<dyn Error>> {
    let mut empty = BTreeSet::new();
    for directory in storage::directories(settings) {
        let Some(meta) = MetaProperties::read(&directory)? else {
            empty.insert(directory);
            continue;
        };
        if !arguments.ignore_formatted {
            let shown = directory.display();
            fail(format!(
                "Log directory {shown} is already formatted. Use --ignore-formatted to ignore this directory and \
                 format the others."
            ))?;
        }
        let path = MetaProperties::path(&directory);
        let (path, expected) = (path.display(), &arguments.cluster_id);
        if meta.cluster_id != *expected {
            let found = meta.cluster_id;
            fail(format!(
                "Invalid cluster.id in: {path}. Expected {expected}, but read {found}"
            ))?;
        }
        if meta.node_id != settings.node_id() {
            fail(format!(
                "Stored node id {} doesn't match previous node id {} in {path}. If you moved your data, make sure your \
                 configured node id matches. If you intend to create a new node, you should remove all data in your \
                 data directories.",
                meta.node_id,
                settings.node_id()
            ))?;
        }
    }
    Ok(empty)
}

fn plan(
    settings: &Settings,
    arguments: &FormatArguments,
    levels: &BTreeMap<&'static str, i16>,
) -> Result<Format, Failure> {
    let mut directory_id = KafkaUuid::random();
    let voters = match &arguments.initial_controllers {
        Some(text) => {
            let name = settings
                .list("controller.listener.names")
                .first()
                .map_or("", String::as_str);
            let voters = parse_controllers(text, &name.to_uppercase())?;
            if let Some(own) = voters.get(&settings.node_id()) {
                directory_id = own.directory_id;
            }
            Some(voters)
        }
        None => arguments
            .standalone
            .then(|| storage::standalone_voters(settings, directory_id)),
    };
    Ok(Format {
        cluster_id: arguments.cluster_id.clone(),
        node_id: settings.node_id(),
        records: storage::feature_records(levels.iter().map(|(name, level)| (*name, *level))),
        metadata_version: MetadataVersion(levels[METADATA_VERSION]),
        metadata_dir: (settings.metadata_log_dir().to_owned(), directory_id),
        voters,
    })
}

/// `id@host:port:directory`, ... (org.apache.kafka.raft.DynamicVoters)
fn parse_controllers(text: &str, listener: &str) -> Result<Voters, Failure> {
    let mut voters = Voters::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let parsed = parse_controller(entry);
        let Some((id, host, port, directory_id)) = parsed else {
            return fail(format!(
                "--initial-controllers: {entry} is not of the form id@host:port:directory"
            ));
        };
        let endpoints = vec![VoterEndpoint {
            name: listener.to_owned(),
            host,
            port,
        }];
        let voter = Voter {
            directory_id,
            endpoints,
            kraft_versions: (0, 1),
        };
        if voters.insert(id, voter).is_some() {
            return fail(format!("--initial-controllers: node {id} occurs twice"));
        }
    }
    if voters.is_empty() {
        fail("--initial-controllers: no controllers given")
    } else {
        Ok(voters)
    }
}

fn parse_controller(entry: &str) -> Option<(NodeId, String, u16, DirectoryId)> {
    let (id, rest) = entry.split_once('@')?;
    let (address, directory) = rest.rsplit_once(':')?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let id = id.parse().ok().filter(|id| *id >= 0)?;
    Some((
        NodeId(id),
        host.to_owned(),
        port.parse().ok()?,
        KafkaUuid::parse(directory)?,
    ))
}

/// As Java prints a BootstrapMetadata.
fn bootstrap_text(format: &Format) -> String {
    let record = |record: &MetadataRecord| match record {
        MetadataRecord::FeatureLevel(one) => format!(
            "ApiMessageAndVersion(FeatureLevelRecord(name='{}', featureLevel={}) at version 0)",
            &*one.name, one.feature_level
        ),
        other => format!("{other:?}"),
    };
    let records: Vec<String> = format.records.iter().map(record).collect();
    let (records, level) = (records.join(", "), format.metadata_version.0);
    format!(
        "BootstrapMetadata(records=[{records}], metadataVersionLevel={level}, source=format command)"
    )
}

#[cfg(test)]
mod tests;
