//! What an empty metadata log begins with.

use std::path::Path;

use crate::messages::records::frame::MetadataRecord;
use crate::metadata::checkpoint::{self, BOOTSTRAP, Error};

use super::features::default_bootstrap;

/// The records of `bootstrap.checkpoint`, which `storage format` wrote; without that file the defaults of this build.
/// (BootstrapDirectory.read)
pub(super) fn read(log_dir: &Path) -> Result<Vec<MetadataRecord>, Error> {
    let path = log_dir.join(BOOTSTRAP);
    match path.exists() {
        true => Ok(checkpoint::read(&path)?.records),
        false => Ok(default_bootstrap()),
    }
}
