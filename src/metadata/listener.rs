//! Who acts on committed metadata.

use std::sync::Arc;

use super::{Delta, Image};

/// Told of every change before the image is published, so that whoever sees a topic in an image finds its logs there.
/// Called from one thread at a time, in the order of the log, off the reactor: it may wait for the disk.
pub trait MetadataListener: Send + Sync {
    fn apply(&self, image: &Arc<Image>, delta: &Delta);
}
