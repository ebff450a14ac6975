//! `--…-property name=value` flags on top of a file of such.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use super::Failure;

pub(super) type Properties = BTreeMap<String, String>;

/// Reads a properties file.
pub(super) fn read(path: &Path) -> Result<Properties, Failure> {
    let fail = |error: String| Failure::new(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let read =
        java_properties::read(BufReader::new(file)).map_err(|error| fail(error.to_string()))?;
    Ok(read.into_iter().collect())
}

/// The file's properties and the flags', which count more. A flag without `=` sets an empty value.
pub(super) fn merged(file: Option<&Path>, flags: &[String]) -> Result<Properties, Failure> {
    let mut properties = file.map(read).transpose()?.unwrap_or_default();
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        if name.is_empty() {
            return Err(Failure::new(format!("'{flag}' is no name=value")));
        }
        properties.insert(name.trim().to_owned(), value.to_owned());
    }
    Ok(properties)
}
