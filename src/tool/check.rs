//! `dohle check`: verifies the files of stopped nodes, as far as they can be held against each other, and says which file
//! is wrong and where. It changes nothing, and refuses a directory that a broker has open. Kafka has no such tool;
//! `kafka-dump-log` looks at one file at a time.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::Failure;
use super::print::{complain, end_when_unheard, say};
use crate::log::check::{Checked, Finding, Severity};
use directory::{Directory, Job};

mod directory;
#[cfg(test)]
mod tests;

/// How often a long check says how far it has come.
const TELL_INTERVAL: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
pub struct Check {
    /// Log directories of a stopped node (log.dirs, metadata.log.dir), or partition directories in them
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Open every batch and read its records too; without it their CRC is what counts
    #[arg(long)]
    deep: bool,
    /// Print each finding, and at the end what was checked, as a JSON object a line
    #[arg(long)]
    json: bool,
    /// How many logs are checked at once [default: the number of processors]
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
}

/// What was checked of all directories.
#[derive(Debug, Default)]
struct Sum {
    logs: usize,
    segments: usize,
    batches: u64,
    bytes: u64,
    damages: usize,
    notes: usize,
}

/// Shared by the threads that check logs.
struct Work<'a> {
    jobs: Vec<Job<'a>>,
    next: AtomicUsize,
    done: AtomicUsize,
    bytes: AtomicU64,
    results: Mutex<BTreeMap<usize, Checked>>,
}

impl Check {
    pub fn run(&self) -> Result<(), Failure> {
        let directories: Vec<Directory> = self
            .directories
            .iter()
            .map(|path| Directory::open(path))
            .collect::<Result<_, _>>()?;
        let jobs: Vec<Job<'_>> = directories.iter().flat_map(Directory::jobs).collect();
        let mut findings: Vec<Finding> = directories
            .iter()
            .flat_map(|directory| directory.findings.clone())
            .collect();
        let results = self.check(jobs);
        let mut sum = Sum {
            logs: results.len(),
            ..Sum::default()
        };
        for (job, checked) in &results {
            sum.segments += checked.segments;
            sum.batches += checked.batches;
            sum.bytes += checked.bytes;
            findings.extend(checked.findings.iter().cloned());
            findings.extend(job.directory.hold_against(job, checked));
        }
        findings.sort_by(|a, b| (&a.path, a.position).cmp(&(&b.path, b.position)));
        sum.damages = findings
            .iter()
            .filter(|finding| finding.severity == Severity::Damage)
            .count();
        sum.notes = findings.len() - sum.damages;
        self.print(&findings, &sum);
        match sum.damages {
            0 => Ok(()),
            1 => Err(Failure::new("1 damage was found")),
            damages => Err(Failure::new(format!("{damages} damages were found"))),
        }
    }

    /// Checks the logs, several at once.
    fn check<'a>(&self, jobs: Vec<Job<'a>>) -> Vec<(Job<'a>, Checked)> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = self
            .threads
            .unwrap_or(processors)
            .clamp(1, jobs.len().max(1));
        let work = Work {
            jobs,
            next: AtomicUsize::new(0),
            done: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            results: Mutex::default(),
        };
        thread::scope(|scope| {
            // Let go of by each thread; the last one ends the telling.
            let (going_on, ended) = mpsc::channel::<()>();
            for _ in 0..threads {
                let (work, going_on) = (&work, going_on.clone());
                scope.spawn(move || {
                    work.run(self.deep);
                    drop(going_on);
                });
            }
            drop(going_on);
            while ended.recv_timeout(TELL_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
                let done = work.done.load(Ordering::Relaxed);
                let bytes = work.bytes.load(Ordering::Relaxed);
                complain!("{done} of {} logs, {bytes} bytes", work.jobs.len());
            }
        });
        let results = work
            .results
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        work.jobs.into_iter().zip(results.into_values()).collect()
    }

    fn print(&self, findings: &[Finding], sum: &Sum) {
        let mut out = io::BufWriter::new(io::stdout().lock());
        for finding in findings {
            let written = match self.json {
                true => writeln!(out, "{}", as_json(finding)),
                false => writeln!(out, "{}", as_text(finding)),
            };
            end_when_unheard(written);
        }
        end_when_unheard(out.flush());
        drop(out);
        let Sum {
            logs,
            segments,
            batches,
            bytes,
            damages,
            notes,
        } = sum;
        if self.json {
            let sum = json!({"logs": logs, "segments": segments, "batches": batches, "bytes": bytes, "damages": damages, "notes": notes});
            say!("{sum}");
        } else {
            say!(
                "{logs} logs, {segments} segments, {batches} batches, {bytes} bytes: {damages} damages, {notes} notes"
            );
        }
    }
}

impl Work<'_> {
    fn run(&self, deep: bool) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = self.jobs.get(at) else {
                return;
            };
            let checked = job.run(deep, &|bytes| {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            });
            self.done.fetch_add(1, Ordering::Relaxed);
            self.results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(at, checked);
        }
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Damage => "damage",
        Severity::Note => "note",
    }
}

fn as_text(finding: &Finding) -> String {
    let mut place = String::new();
    if let Some(position) = finding.position {
        place = format!(" at byte {position}");
    }
    if let Some(offset) = finding.offset {
        place += &format!(" (offset {offset})");
    }
    format!(
        "{}: {}: {}{place}",
        severity(finding),
        finding.path.display(),
        finding.what
    )
}

fn as_json(finding: &Finding) -> serde_json::Value {
    json!({
        "severity": severity(finding),
        "file": finding.path.to_string_lossy(),
        "what": finding.what,
        "position": finding.position,
        "offset": finding.offset.map(|offset| offset.0),
    })
}
