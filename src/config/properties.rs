//! Where settings come from: a file in the form of Java's properties, and `--override key=value`. What is given keeps
//! its place, so that an error can name the line.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use java_properties::{LineContent, PropertiesIter};

use super::Error;

/// One setting as it was given.
#[derive(Clone, Debug)]
pub struct Given {
    pub name: String,
    pub value: String,
    pub location: Location,
}

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A line of a file, counted from 1.
    File { path: Arc<Path>, line: usize },
    /// On the command line, or by the program that starts the broker in itself.
    Override,
    /// By Dohle itself, for a node that was started without a file.
    Embedded,
    /// Under another name: `broker.id` and `node.id` stand for each other.
    Synonym,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File { path, line } => write!(f, "{}:{line}", path.display()),
            Location::Override => f.write_str("--override"),
            Location::Embedded => f.write_str("embedded default"),
            Location::Synonym => f.write_str("synonym"),
        }
    }
}

/// Reads a file of properties (ISO 8859-1 with `\u` escapes, as Java reads them).
pub(super) fn read(path: &Path) -> Result<Vec<Given>, Error> {
    let file = File::open(path).map_err(|source| Error::Unreadable {
        path: path.into(),
        source,
    })?;
    parse(BufReader::new(file), path)
}

fn parse(input: impl Read, path: &Path) -> Result<Vec<Given>, Error> {
    let path: Arc<Path> = path.into();
    let mut given = Vec::new();
    for line in PropertiesIter::new(input) {
        let line = line.map_err(|error| Error::Malformed {
            path: path.to_path_buf(),
            line: error.line_number().unwrap_or(given.len() + 1),
            reason: std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        let location = Location::File {
            path: path.clone(),
            line: line.line_number(),
        };
        if let LineContent::KVPair(name, value) = line.consume_content() {
            given.push(Given {
                name,
                value,
                location,
            });
        }
    }
    Ok(given)
}
