//! Producer ids for InitProducerId, out of blocks that the controller gives to this broker.
//! (RPCProducerIdManager; KIP-730)

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::lifecycle::Lifecycle;
use crate::controller::{self, Answer, Command};
use crate::error_code::ErrorCode;
use crate::ids::ProducerId;
use crate::messages::{AllocateProducerIdsRequest, BrokerId};

/// The rest of this broker's block. Ids that are left when it stops are never given out.
pub struct ProducerIds {
    lifecycle: Arc<Lifecycle>,
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub fn new(lifecycle: Arc<Lifecycle>) -> ProducerIds {
        ProducerIds {
            lifecycle,
            block: Mutex::new(0..0),
        }
    }

    /// An id that nobody had before. Waits for the controller when the block is used up; those who come meanwhile wait
    /// in order. COORDINATOR_LOAD_IN_PROGRESS when there is no controller to ask, so that the client comes again.
    pub async fn next(&self) -> Result<ProducerId, ErrorCode> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = self.allocate().await?;
        }
        block
            .next()
            .map(ProducerId)
            .ok_or(ErrorCode::CoordinatorLoadInProgress)
    }

    async fn allocate(&self) -> Result<Range<i64>, ErrorCode> {
        let request = AllocateProducerIdsRequest::default()
            .with_broker_id(BrokerId(self.lifecycle.node_id().0))
            .with_broker_epoch(self.lifecycle.epoch().0);
        let command = Command::AllocateProducerIds(request);
        match self.lifecycle.controller().submit(command).await {
            Ok(Answer::AllocateProducerIds(response))
                if response.error_code == ErrorCode::None.code() =>
            {
                let first = response.producer_id_start.0;
                Ok(first..first + i64::from(response.producer_id_len))
            }
            Ok(Answer::AllocateProducerIds(_)) => Err(ErrorCode::CoordinatorLoadInProgress),
            Ok(other) => unreachable!("an allocation is answered by {other:?}"),
            Err(
                controller::Error::NotController
                | controller::Error::Busy
                | controller::Error::Stopped,
            ) => Err(ErrorCode::CoordinatorLoadInProgress),
        }
    }
}
