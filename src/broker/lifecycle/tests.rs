use std::path::Path;

use super::*;
use crate::broker::producer_ids::ProducerIds;
use crate::clock::Clock;
use crate::controller::{Machine, Options};
use crate::ids::ProducerId;
use crate::metadata::Broker;

const CLUSTER: &str = "iLS0uiGERKmfDSVKnktFhg";
const DIRECTORY: &str = "COe65uGBs90xGE9tsi6Zhw";

struct Node {
    controller: Arc<Controller>,
    published: Arc<Published>,
    settings: Settings,
}

impl Node {
    async fn start(directory: &Path) -> Node {
        let settings = Settings::on_free_ports(directory);
        let published = Arc::new(Published::default());
        let machine = Machine::new(CLUSTER, Arc::new(settings.clone()));
        let options = Options::of(&settings);
        let controller = Controller::start(
            options,
            machine,
            Clock::system(),
            published.clone(),
            Vec::new(),
        );
        Node {
            controller: Arc::new(controller.await.unwrap()),
            published,
            settings,
        }
    }

    async fn register(
        &self,
        cluster_id: &str,
        previous: Option<BrokerEpoch>,
    ) -> Result<Arc<Lifecycle>, Error> {
        let directories = DirectoryState {
            online: vec![DirectoryId::parse(DIRECTORY).unwrap()],
            ..DirectoryState::default()
        };
        let (_, directories) = watch::channel(directories);
        self.register_with(cluster_id, previous, directories).await
    }

    async fn register_with(
        &self,
        cluster_id: &str,
        previous: Option<BrokerEpoch>,
        directories: watch::Receiver<DirectoryState>,
    ) -> Result<Arc<Lifecycle>, Error> {
        let addresses = [("PLAINTEXT".into(), "127.0.0.1:31234".parse().unwrap())];
        let identity = Identity::of(
            &self.settings,
            cluster_id,
            &addresses,
            directories,
            previous,
        );
        Lifecycle::register(self.controller.clone(), self.published.clone(), identity).await
    }

    fn broker(&self) -> Arc<Broker> {
        self.published
            .image()
            .brokers()
            .get(NodeId(1))
            .unwrap()
            .clone()
    }
}

#[tokio::test]
async fn a_broker_is_told_of_from_its_unfencing_to_its_shutdown() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let lifecycle = node.register(CLUSTER, None).await.unwrap();
    let broker = node.broker();
    assert!(broker.fenced && *lifecycle.fenced().borrow());
    assert_eq!(
        (broker.epoch, broker.incarnation_id),
        (lifecycle.epoch(), lifecycle.incarnation_id())
    );
    assert_eq!(
        broker.endpoint("PLAINTEXT").map(|endpoint| endpoint.port),
        Some(31234)
    );
    assert!(
        node.published
            .image()
            .brokers()
            .controller(NodeId(1))
            .is_some()
    );

    lifecycle.unfence().await.unwrap();
    assert!(node.broker().is_active() && !*lifecycle.fenced().borrow());

    lifecycle.shut_down().await.unwrap();
    assert!(node.broker().fenced && *lifecycle.fenced().borrow());
    node.controller.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_was_killed_is_back_at_once_with_another_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = BrokerEpoch(-1);
    for _ in 0..3 {
        let node = Node::start(directory.path()).await;
        let lifecycle = node.register(CLUSTER, None).await.unwrap();
        lifecycle.unfence().await.unwrap();
        assert!(lifecycle.epoch() > last && node.broker().is_active());
        last = lifecycle.epoch();
    }
}

#[tokio::test]
async fn a_broker_of_another_cluster_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let refused = node
        .register("AAAAAAAAAAAAAAAAAAAAAQ", None)
        .await
        .map(|_| ());
    assert!(
        matches!(
            refused,
            Err(Error::Refused(ErrorCode::InconsistentClusterId))
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn producer_ids_are_never_given_twice() {
    let directory = tempfile::tempdir().unwrap();
    for start in [0, 2000] {
        let node = Node::start(directory.path()).await;
        let lifecycle = node.register(CLUSTER, None).await.unwrap();
        lifecycle.unfence().await.unwrap();
        let ids = ProducerIds::new(lifecycle);
        for id in start..start + 1001 {
            assert_eq!(ids.next().await, Ok(ProducerId(id)));
        }
        node.controller.stop().await.unwrap();
        for _ in 1..1000 {
            ids.next().await.unwrap();
        }
        assert_eq!(ids.next().await, Err(ErrorCode::CoordinatorLoadInProgress));
    }
}

#[tokio::test]
async fn a_failed_directory_of_which_the_controller_is_not_told_in_time_is_one_too_many() {
    const SOON: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3600);
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(directory.path()).await;
    let (first, second) = (DirectoryId::parse(DIRECTORY).unwrap(), KafkaUuid::random());
    let state = |online: &[DirectoryId], offline: &[DirectoryId]| DirectoryState {
        online: online.to_vec(),
        offline: offline.to_vec(),
        ..DirectoryState::default()
    };
    let (states, receiver) = watch::channel(state(&[first, second], &[]));
    let lifecycle = node.register_with(CLUSTER, None, receiver).await.unwrap();
    lifecycle.unfence().await.unwrap();

    // The controller is told at once.
    let mut told = lifecycle.told.subscribe();
    states.send_replace(state(&[second], &[first]));
    told.wait_for(|told| *told == [first]).await.unwrap();
    let untold = lifecycle.untold(SOON);
    tokio::pin!(untold);
    assert!(timeout(20 * SOON, &mut untold).await.is_err());

    // There is no controller any more.
    node.controller.stop().await.unwrap();
    states.send_replace(state(&[], &[first, second]));
    assert!(timeout(20 * SOON, lifecycle.untold(NEVER)).await.is_err());
    assert_eq!(untold.await, second);
}
