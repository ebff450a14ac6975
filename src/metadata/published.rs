//! The image that everybody sees, and the loader that makes it from committed records.

use std::mem;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use crate::ids::Offset;
use crate::messages::records::frame::MetadataRecord;

use super::{Delta, Error, Image, Provenance};

/// The newest image that has taken effect on this node: the logs of the replicas that it names are there. Shared by
/// all; written by the one who applies the metadata log.
#[derive(Debug)]
pub struct Published {
    image: ArcSwap<Image>,
    end_offset: watch::Sender<Offset>,
}

impl Default for Published {
    fn default() -> Published {
        Published::of(Image::empty())
    }
}

impl Published {
    pub fn of(image: Image) -> Published {
        let end_offset = image.provenance().end_offset;
        Published {
            image: ArcSwap::from_pointee(image),
            end_offset: watch::Sender::new(end_offset),
        }
    }

    /// The image as it is now, to be kept for as long as a request takes.
    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// The same for a look that is over at once; does not count a reference.
    pub fn peek(&self) -> Guard<Arc<Image>> {
        self.image.load()
    }

    /// Replaces the image. Only its one writer calls this, with ever later images.
    pub fn publish(&self, image: Arc<Image>) {
        let end_offset = image.provenance().end_offset;
        self.image.store(image);
        self.end_offset.send_replace(end_offset);
    }

    /// Tells of every change; the value is the end offset of the newest image.
    pub fn subscribe(&self) -> watch::Receiver<Offset> {
        self.end_offset.subscribe()
    }

    /// Returns the first image that satisfies the condition; the present one is asked too.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Image) -> bool) -> Arc<Image> {
        let mut changes = self.subscribe();
        loop {
            changes.borrow_and_update();
            let image = self.image();
            if condition(&image) {
                return image;
            }
            changes.changed().await.expect("the sender is in self");
        }
    }
}

/// Makes images of committed records, batch after batch, and holds back those within a metadata transaction
/// (KIP-868) until it ends. (MetadataBatchLoader)
#[derive(Debug, Default)]
pub struct Loader {
    image: Image,
    delta: Delta,
    /// The image before the open transaction, and the changes up to it.
    before: Option<(Image, Delta)>,
}

impl Loader {
    /// Goes on from an image, such as that of a snapshot.
    pub fn from(image: Image) -> Loader {
        Loader {
            image,
            ..Loader::default()
        }
    }

    /// The image with all that was applied, that of an open transaction included.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn is_in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// Applies one batch; returns what can be published: `None` while a transaction is open.
    pub fn apply(
        &mut self,
        records: &[MetadataRecord],
        provenance: Provenance,
    ) -> Result<Option<(Arc<Image>, Delta)>, Error> {
        let is_mark = |record: &MetadataRecord| {
            use MetadataRecord::{AbortTransaction, BeginTransaction, EndTransaction};
            matches!(
                record,
                BeginTransaction(_) | EndTransaction(_) | AbortTransaction(_)
            )
        };
        for part in records.split_inclusive(is_mark) {
            let (image, delta) = self.image.apply(part, provenance)?;
            self.image = image;
            self.delta.merge(delta);
            match part.last() {
                Some(MetadataRecord::BeginTransaction(_)) => {
                    self.before = Some((self.image.clone(), self.delta.clone()));
                }
                Some(MetadataRecord::EndTransaction(_)) => self.before = None,
                Some(MetadataRecord::AbortTransaction(_)) => {
                    if let Some((image, delta)) = self.before.take() {
                        self.image = image.advanced(provenance);
                        self.delta = delta;
                    }
                }
                _ => {}
            }
        }
        self.image = self.image.advanced(provenance);
        Ok((!self.is_in_transaction())
            .then(|| (Arc::new(self.image.clone()), mem::take(&mut self.delta))))
    }
}
