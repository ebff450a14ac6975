//! Logs that this run could not open in a directory that it can use, or not go on with: damaged ones, or for want of descriptors. The
//! checkpoints go on telling what the last run knew of them: a later start may open them, and needs their log start offsets
//! and recovery points. (With Kafka the whole directory goes offline, and its checkpoints stay as they are.)

use std::collections::BTreeSet;

use super::{Directories, Directory, checkpointed};
use crate::ids::TopicPartition;
use crate::log::checkpoints::Offsets;
use crate::replica::partition::Partition;

impl Directories {
    /// Every log is open that will be: what the last run left is needed of the `unopened` alone, told with the places of
    /// their directories.
    pub(in crate::replica) fn forget_checkpoints(
        &self,
        unopened: &BTreeSet<(usize, TopicPartition)>,
    ) {
        for (at, directory) in self.all.iter().enumerate() {
            if let Some(files) = &directory.files {
                files.forget_checkpoints(|name| unopened.contains(&(at, name.clone())));
            }
        }
    }

    /// A log goes offline that was open: its checkpoints go on telling what is known of it now.
    pub(in crate::replica) fn keep_checkpoints(&self, directory: usize, partition: &Partition) {
        if let Some(files) = &self.all[directory].files {
            let name = partition.topic_partition();
            files.keep_checkpoints(name, |kind| checkpointed(kind, partition));
        }
    }

    /// Nobody wants a log any more that could not be opened.
    pub(in crate::replica) fn forget_unopened(&self, gone: &TopicPartition) {
        for files in self.usable_files() {
            files.forget_checkpoints(|name| name != gone);
        }
    }
}

impl Directory {
    /// The entries of a checkpoint, with those of logs that could not be opened.
    pub(super) fn with_unopened(&self, name: &str, open: Offsets) -> Offsets {
        let mut offsets = self
            .files
            .as_ref()
            .map(|files| files.left_of(name))
            .unwrap_or_default();
        offsets.extend(open);
        offsets
    }
}
