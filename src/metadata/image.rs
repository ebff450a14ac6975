//! The cluster as of one offset of the metadata log.

use crate::ids::{LeaderEpoch, Offset, ProducerId, Timestamp};
use crate::messages::records::frame::MetadataRecord;

use super::apply::Editor;
use super::{Brokers, Configs, Delta, Error, Features, Kept, Topics};

/// All that the records up to one offset say. Cheap to clone: clones share what they hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    provenance: Provenance,
    pub(super) features: Features,
    pub(super) brokers: Brokers,
    pub(super) topics: Topics,
    pub(super) configs: Configs,
    pub(super) next_producer_id: Option<ProducerId>,
    pub(super) kept: Kept,
}

/// The last record that an image holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// One past the last record that was applied.
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
    /// When the last batch was appended.
    pub timestamp: Timestamp,
}

impl Default for Provenance {
    fn default() -> Provenance {
        Provenance {
            end_offset: Offset::ZERO,
            epoch: LeaderEpoch(0),
            timestamp: Timestamp::NONE,
        }
    }
}

impl Image {
    /// The image of an empty log.
    pub fn empty() -> Image {
        Image::default()
    }

    /// The image after these records, and what they changed. `provenance` tells where they end. On an error nothing is
    /// taken from the batch.
    pub fn apply(
        &self,
        records: &[MetadataRecord],
        provenance: Provenance,
    ) -> Result<(Image, Delta), Error> {
        let mut editor = Editor::of(self);
        for record in records {
            editor.apply(record)?;
        }
        let (mut image, delta) = editor.finish();
        image.provenance = provenance;
        Ok((image, delta))
    }

    pub fn provenance(&self) -> Provenance {
        self.provenance
    }

    /// This image as of a later offset at which nothing changed: control batches move the log on without a record.
    pub fn advanced(&self, provenance: Provenance) -> Image {
        Image {
            provenance,
            ..self.clone()
        }
    }

    pub fn features(&self) -> &Features {
        &self.features
    }

    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    pub fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The first producer id that no block has been cut from.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId(0))
    }

    /// ACLs, SCRAM credentials, quotas, delegation tokens.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// The records that make this image from an empty one, in the order of Kafka's snapshots: features first, since
    /// they say how to read the rest. (MetadataImage.write)
    pub fn records(&self) -> impl Iterator<Item = MetadataRecord> {
        super::snapshot::records(self)
    }
}
