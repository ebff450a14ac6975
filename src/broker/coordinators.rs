//! The coordinators of a node, put together: groups, transactions, and who writes the ends of transactions for both.

use std::sync::Arc;
use std::time::Duration;

use super::producer_ids::ProducerIds;
use crate::clock::Clock;
use crate::config::Settings;
use crate::coordinator::LookUp;
use crate::coordinator::groups::GroupCoordinator;
use crate::coordinator::markers::Markers;
use crate::coordinator::transactions::TransactionCoordinator;
use crate::error_code::ErrorCode;
use crate::metadata::Published;
use crate::replica::Replicas;

pub(super) struct Coordinators {
    pub(super) groups: Arc<GroupCoordinator>,
    pub(super) transactions: Arc<TransactionCoordinator>,
    pub(super) markers: Arc<Markers>,
}

impl Coordinators {
    /// Coordinators that lead nothing yet.
    pub(super) fn start(
        settings: &Settings,
        clock: &Clock,
        metadata: &Arc<Published>,
        replicas: &Arc<Replicas>,
    ) -> Coordinators {
        let look_up = || -> LookUp {
            let replicas = replicas.clone();
            Box::new(move |topic, partition| replicas.get(topic, partition).ok())
        };
        let groups = Arc::new(GroupCoordinator::start(settings, clock.clone(), look_up()));
        let timeout_ms = u64::try_from(settings.int("request.timeout.ms")).unwrap_or(0);
        let timeout = Duration::from_millis(timeout_ms);
        let markers = Markers::new(look_up(), groups.clone(), clock.clone(), timeout);
        let markers = Arc::new(markers);
        let transactions = Arc::new(TransactionCoordinator::start(
            settings,
            clock.clone(),
            metadata.clone(),
            markers.clone(),
            look_up(),
        ));
        Coordinators {
            groups,
            transactions,
            markers,
        }
    }

    /// Where transactions get producer ids from.
    pub(super) fn set_producer_ids(&self, producer_ids: &Arc<ProducerIds>) {
        // Those hold the lifecycle and so the controller, which tells the coordinators of metadata.
        let producer_ids = Arc::downgrade(producer_ids);
        self.transactions.set_producer_ids(Box::new(move || {
            let producer_ids = producer_ids.upgrade();
            Box::pin(async move {
                let producer_ids = producer_ids.ok_or(ErrorCode::CoordinatorNotAvailable)?;
                producer_ids.next().await
            })
        }));
    }
}
