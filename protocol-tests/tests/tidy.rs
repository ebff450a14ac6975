//! The rules of the source tree that a machine can keep: layers, lengths of files and functions, words that must
//! not stand there. Each failure names the file and line.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Code lines that a file may have, tests apart.
const FILE_LINES_MAX: usize = 600;
/// Lines that a function may have.
const FUNCTION_LINES_MAX: usize = 70;

/// The layers from the top down: a module uses modules further down and its own. A path of two segments stands for
/// one part of a module.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["tool", "http", "server"],
    &["api"],
    &["broker"],
    &["coordinator::runtime", "controller", "security", "quota"],
    &["replica"],
    &["log", "metadata"],
    &["record"],
    &["messages"],
    BOTTOM,
];

/// The lowest layer: these may use each other.
const BOTTOM: &[&str] = &["config", "ids", "clock", "error_code", "loggers"];

/// State machines, and what they may use: nothing that waits, reads, writes or tells the time.
const PURE: &[&str] = &[
    "coordinator::group",
    "coordinator::transaction",
    "coordinator::share_state",
    "share",
    "controller::machine",
    "controller::topics",
    "controller::placement",
    "controller::brokers",
    "controller::isr",
    "controller::configs",
    "controller::features",
    "controller::producer_ids",
];
const PURE_USES: &[&str] = &[
    "metadata",
    "record",
    "messages",
    "config",
    "ids",
    "error_code",
    "coordinator",
    "controller",
    "share",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_path_buf()
}

struct Source {
    /// Path below the repository.
    name: String,
    text: String,
}

impl Source {
    /// `log::index` for `src/log/index.rs`.
    fn module(&self) -> String {
        let path = self
            .name
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .trim_end_matches("/mod");
        path.replace('/', "::")
    }

    /// The lines before the first test module, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines
            .take_while(|(_, line)| *line != "#[cfg(test)]")
            .map(|(at, line)| (at + 1, line))
    }

    fn is_test(&self) -> bool {
        self.name.ends_with("tests.rs")
            || self.name.contains("/tests/")
            || self.name.contains("/testing")
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!found.is_empty(), "no sources below {folder}");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry of it").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path
                .strip_prefix(root())
                .expect("below the root")
                .display()
                .to_string();
            found.push(Source {
                name,
                text: fs::read_to_string(&path).expect("UTF-8"),
            });
        }
    }
}

fn is_within(module: &str, parent: &str) -> bool {
    module == parent
        || module
            .strip_prefix(parent)
            .is_some_and(|rest| rest.starts_with("::"))
}

fn is_pure(module: &str) -> bool {
    PURE.iter().any(|pure| is_within(module, pure))
}

/// The layer of a module: of its first two segments where those are listed, else of its first.
fn rank(module: &str) -> Option<usize> {
    LAYERS
        .iter()
        .position(|layer| layer.iter().any(|name| is_within(module, name)))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Whether `module` may use `target`.
fn allowed(module: &str, target: &str) -> bool {
    if is_pure(module) {
        return PURE_USES.contains(&top(target))
            && !["coordinator::runtime", "controller::raft"].contains(&target);
    }
    if top(module) == top(target) || BOTTOM.contains(&top(module)) && BOTTOM.contains(&top(target))
    {
        return true;
    }
    match (rank(module), rank(target)) {
        (Some(from), Some(to)) => from < to,
        // `coordinator` itself holds what its machines and their runtime share.
        (from, _) => {
            top(target) == "coordinator" && from < rank("replica") || top(module) == "coordinator"
        }
    }
}

/// The first two segments of each `crate::` path of a line.
fn used(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let path = &line[at + "crate::".len()..];
        let end = path
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .unwrap_or(path.len());
        let segments: Vec<&str> = path[..end]
            .split("::")
            .filter(|segment| !segment.is_empty())
            .collect();
        found.push(
            segments
                .iter()
                .take(2)
                .copied()
                .collect::<Vec<_>>()
                .join("::"),
        );
    }
    found
}

#[test]
fn layers_point_down() {
    let mut wrong = String::new();
    for source in sources("src") {
        let module = source.module();
        if module == "lib" || source.is_test() {
            continue;
        }
        for (line, text) in source
            .code()
            .filter(|(_, text)| !text.trim_start().starts_with("//"))
        {
            for target in used(text).iter().filter(|target| !allowed(&module, target)) {
                let _ = writeln!(wrong, "{}:{line}: {module} uses {target}", source.name);
            }
        }
    }
    assert!(wrong.is_empty(), "these point up or sideways:\n{wrong}");
}

#[test]
fn layer_rules_hold_what_they_say() {
    assert!(allowed("api::fetch", "replica::partition"));
    assert!(!allowed("log::log", "metadata::image"));
    assert!(!allowed("log::log", "replica::partition"));
    assert!(allowed("controller::raft", "log::log"));
    assert!(!allowed("controller::machine", "log::log"));
    assert!(!allowed(
        "coordinator::group::classic",
        "coordinator::runtime"
    ));
    assert!(allowed("coordinator::runtime", "replica::partition"));
    assert_eq!(used("use crate::log::{Log};"), ["log"]);
    assert_eq!(used("crate::a::b::C::new(crate::d::E)"), ["a::b", "d::E"]);
}

#[test]
fn files_stay_short() {
    let mut wrong = String::new();
    for source in sources("src")
        .iter()
        .chain(&sources("protocol-tests"))
        .filter(|source| !source.is_test())
    {
        let lines = source.code().count();
        if lines > FILE_LINES_MAX {
            let _ = writeln!(wrong, "{}: {lines} lines", source.name);
        }
    }
    assert!(wrong.is_empty(), "over {FILE_LINES_MAX} lines:\n{wrong}");
}

#[test]
fn functions_stay_short() {
    let mut wrong = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let lines: Vec<(usize, &str)> = source.code().collect();
        for (at, (number, line)) in lines.iter().enumerate() {
            let mut words = line.trim_start();
            for word in ["pub", "(crate)", "(super)", " ", "const ", "async "] {
                words = words.strip_prefix(word).unwrap_or(words);
            }
            if !words.starts_with("fn ") || line.ends_with([';', '}']) {
                continue;
            }
            let close = format!("{}}}", " ".repeat(line.len() - line.trim_start().len()));
            let length = lines[at..]
                .iter()
                .position(|(_, line)| *line == close)
                .map_or(1, |end| end + 1);
            if length > FUNCTION_LINES_MAX {
                let _ = writeln!(
                    wrong,
                    "{}:{number}: {length} lines: {}",
                    source.name,
                    line.trim()
                );
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "functions over {FUNCTION_LINES_MAX} lines:\n{wrong}"
    );
}

#[test]
fn banned_words_are_absent() {
    // Split, so that this file does not hold them itself.
    let everywhere = [
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("#[al", "low("),
        concat!("#[ign", "ore"),
    ];
    let mut wrong = String::new();
    for source in sources("src").iter().chain(&sources("protocol-tests")) {
        for (number, line) in source.text.lines().enumerate() {
            let mut found: Vec<&str> = everywhere
                .iter()
                .filter(|word| line.contains(**word))
                .copied()
                .collect();
            if line.contains(concat!("kafka_", "protocol::"))
                && !source.name.starts_with("src/messages")
            {
                found.push("kafka-protocol outside messages/");
            }
            if line.contains(concat!("thread::", "sleep")) {
                found.push("a sleeping thread");
            }
            for word in found {
                let _ = writeln!(wrong, "{}:{}: {word}", source.name, number + 1);
            }
        }
    }
    assert!(wrong.is_empty(), "these must not be there:\n{wrong}");
}

#[test]
fn modules_say_what_they_are_for() {
    let mut wrong = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        if !source.text.starts_with("//!") {
            let _ = writeln!(wrong, "{}", source.name);
        }
    }
    assert!(wrong.is_empty(), "no module documentation:\n{wrong}");
}
