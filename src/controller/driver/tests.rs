use std::fs;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::config::Settings;
use crate::config::features::FEATURES;
use crate::controller::snapshots::Policy;
use crate::controller::{Controller, Options, StartError};
use crate::error_code::ErrorCode;
use crate::ids::{BrokerEpoch, NodeId, Offset};
use crate::log;
use crate::log::fs::faulty::{Fault, Faulty};
use crate::messages::broker_registration_request::Feature;
use crate::messages::controller_registration_request;
use crate::messages::{
    AllocateProducerIdsRequest, BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest,
    ControllerRegistrationRequest, StrBytes,
};
use crate::metadata::checkpoint::{self, SnapshotId};
use crate::metadata::{Delta, MetadataListener, Published};

const CLUSTER: &str = "iLS0uiGERKmfDSVKnktFhg";

/// A controller in a directory of its own.
struct Node {
    controller: Controller,
    published: Arc<Published>,
    clock: Clock,
}

impl Node {
    async fn start(directory: &Path) -> Node {
        Node::start_with(directory, |_| {}, Vec::new()).await
    }

    async fn start_with(
        directory: &Path,
        change: impl FnOnce(&mut Policy),
        listeners: Vec<Arc<dyn MetadataListener>>,
    ) -> Node {
        let change = |options: &mut Options| change(&mut options.snapshots);
        Node::try_start(directory, change, listeners).await.unwrap()
    }

    async fn try_start(
        directory: &Path,
        change: impl FnOnce(&mut Options),
        listeners: Vec<Arc<dyn MetadataListener>>,
    ) -> Result<Node, StartError> {
        let settings = Arc::new(Settings::default_for(directory));
        let clock = Clock::manual(Timestamp(1_795_258_183_155));
        let published = Arc::new(Published::default());
        let machine = Machine::new(CLUSTER, settings.clone());
        let mut options = Options::of(&settings);
        change(&mut options);
        let controller = Controller::start(
            options,
            machine,
            clock.clone(),
            published.clone(),
            listeners,
        );
        Ok(Node {
            controller: controller.await?,
            published,
            clock,
        })
    }

    async fn register(&self) -> BrokerEpoch {
        self.try_register().await.unwrap()
    }

    /// `None` when the controller has stopped.
    async fn try_register(&self) -> Option<BrokerEpoch> {
        let features = FEATURES.iter().map(|feature| {
            Feature::default()
                .with_name(StrBytes::from_static_str(feature.name))
                .with_min_supported_version(feature.min)
                .with_max_supported_version(feature.max)
        });
        let request = BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(1))
            .with_cluster_id(StrBytes::from_static_str(CLUSTER))
            .with_incarnation_id(KafkaUuid::random().0)
            .with_log_dirs(vec![KafkaUuid::random().0])
            .with_features(features.collect());
        let answer = self
            .controller
            .submit(Command::RegisterBroker(request))
            .await
            .ok()?;
        let Answer::RegisterBroker(response) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(response.error_code, ErrorCode::None as i16);
        Some(BrokerEpoch(response.broker_epoch))
    }

    fn image(&self) -> Arc<Image> {
        self.published.image()
    }

    async fn no_op(&self) {
        self.controller.submit(Command::NoOp).await.unwrap();
    }
}

fn allocate(epoch: BrokerEpoch) -> Command {
    let request = AllocateProducerIdsRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch.0);
    Command::AllocateProducerIds(request)
}

fn first_id(answer: Result<Answer, Error>) -> i64 {
    match answer {
        Ok(Answer::AllocateProducerIds(response)) if response.error_code == 0 => {
            response.producer_id_start.0
        }
        other => panic!("{other:?}"),
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn log_directory(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("__cluster_metadata-0")
}

#[tokio::test]
async fn a_single_voter_has_bootstrapped_the_log_when_it_has_started() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    assert!(node.controller.is_active());
    let image = node.image();
    // LeaderChange; begin, six features, min.insync.replicas, end: as Kafka 4.3.0's log begins.
    assert_eq!(
        (image.provenance().end_offset, image.provenance().epoch),
        (Offset(10), LeaderEpoch(1))
    );
    assert_eq!(image.features().metadata_version().0, 30);
    let status = node.controller.quorum_status().unwrap();
    assert_eq!(
        (status.leader_id, status.high_watermark, status.voters.len()),
        (NodeId(1), Offset(10), 1)
    );
}

#[tokio::test]
async fn each_start_is_an_epoch_and_the_image_stays() {
    let directory = directory();
    let mut before = None;
    for epoch in 1..=3 {
        let node = Node::start(directory.path()).await;
        assert_eq!(node.image().provenance().epoch, LeaderEpoch(epoch));
        if let Some((brokers, producer_id)) = before {
            assert_eq!(*node.image().brokers(), brokers);
            assert_eq!(node.image().next_producer_id(), producer_id);
        }
        let broker_epoch = node.register().await;
        first_id(node.controller.submit(allocate(broker_epoch)).await);
        before = Some((
            node.image().brokers().clone(),
            node.image().next_producer_id(),
        ));
        if epoch == 2 {
            node.controller.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_broker_epoch_is_the_offset_of_its_registration() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let (first, second) = (
        node.controller.submit(Command::NoOp),
        node.controller.submit(Command::NoOp),
    );
    let epoch = node.register().await;
    assert_eq!(epoch, BrokerEpoch(12));
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(node.image().brokers().get(NodeId(1)).unwrap().epoch, epoch);
}

#[tokio::test]
async fn commands_take_effect_in_the_order_of_submission_also_when_nobody_waits() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    let answers: Vec<_> = (0..300)
        .map(|_| node.controller.submit(allocate(epoch)))
        .collect();
    drop(node.controller.submit(allocate(epoch)));
    let last = node.controller.submit(allocate(epoch));
    for (at, answer) in (0..).zip(answers) {
        assert_eq!(first_id(answer.await), at * 1000);
    }
    assert_eq!(first_id(last.await), 301_000);
    assert_eq!(node.image().next_producer_id().0, 302_000);
}

#[tokio::test]
async fn what_is_answered_is_published() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    for blocks in 1..=20 {
        first_id(node.controller.submit(allocate(epoch)).await);
        assert_eq!(node.image().next_producer_id().0, blocks * 1000);
    }
}

#[tokio::test]
async fn an_answer_without_records_waits_for_what_it_rests_on() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    let writes = node.controller.submit(allocate(epoch));
    let refused = node.controller.submit(allocate(BrokerEpoch(0)));
    let Ok(Answer::AllocateProducerIds(response)) = refused.await else {
        panic!()
    };
    assert_eq!(response.error_code, ErrorCode::StaleBrokerEpoch as i16);
    assert_eq!(node.image().next_producer_id().0, 1000);
    first_id(writes.await);
}

#[tokio::test]
async fn after_the_stop_nothing_is_decided_and_what_was_is_there() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    let submitted = node.controller.submit(allocate(epoch));
    tokio::task::yield_now().await;
    node.controller.stop().await.unwrap();
    assert!(!node.controller.is_active());
    assert_eq!(
        node.controller.submit(Command::NoOp).await,
        Err(Error::Stopped)
    );
    let known = submitted.await;
    let again = Node::start(directory.path()).await;
    match known {
        Ok(_) => assert_eq!(again.image().next_producer_id().0, 1000),
        Err(error) => assert_eq!(error, Error::Stopped),
    }
}

/// Writes down what it is told, and whether the image was published before.
struct Witness {
    published: Mutex<Option<Arc<Published>>>,
    seen: Mutex<Vec<(Offset, Delta, bool)>>,
}

impl MetadataListener for Witness {
    fn apply(&self, image: &Arc<Image>, delta: &Delta) {
        let end_offset = image.provenance().end_offset;
        let published = self.published.lock().unwrap().clone();
        let early = published
            .is_some_and(|published| published.image().provenance().end_offset >= end_offset);
        self.seen
            .lock()
            .unwrap()
            .push((end_offset, delta.clone(), early));
    }
}

fn witness() -> Arc<Witness> {
    Arc::new(Witness {
        published: Mutex::default(),
        seen: Mutex::default(),
    })
}

#[tokio::test]
async fn listeners_hear_first_and_of_an_old_log_once() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    for _ in 0..5 {
        first_id(node.controller.submit(allocate(epoch)).await);
    }
    node.controller.stop().await.unwrap();

    let witness = witness();
    let node = Node::start_with(directory.path(), |_| {}, vec![witness.clone()]).await;
    {
        let seen = witness.seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(seen[0].1.producer_ids && seen[0].1.brokers.contains(&NodeId(1)));
    }
    *witness.published.lock().unwrap() = Some(node.published.clone());
    node.register().await;
    let seen = witness.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(!seen[1].2, "the image was seen before its listener");
}

#[tokio::test]
async fn a_snapshot_and_the_log_behind_it_make_the_live_image() {
    let directory = directory();
    let small = |policy: &mut Policy| policy.record_bytes_max = 2000;
    let node = Node::start_with(directory.path(), small, Vec::new()).await;
    let epoch = node.register().await;
    let mut applied = node.controller.consensus.applied();
    let mut snapshot_is_due = false;
    while !snapshot_is_due || applied.borrow().bytes_since_snapshot > 1000 {
        first_id(node.controller.submit(allocate(epoch)).await);
        snapshot_is_due |= applied.borrow_and_update().bytes_since_snapshot >= 1900;
    }
    let ids = checkpoint::list(&log_directory(&directory)).unwrap();
    let [id] = ids[..] else { panic!("{ids:?}") };
    assert!(id.end_offset > Offset(12) && id.epoch == LeaderEpoch(1));
    first_id(node.controller.submit(allocate(epoch)).await);
    let live = node.image();
    node.controller.stop().await.unwrap();

    let again = Node::start(directory.path()).await;
    let image = again.image();
    assert_eq!(image.advanced(live.provenance()), *live);
    let checkpoint = checkpoint::read(&id.path(&log_directory(&directory))).unwrap();
    assert_eq!(checkpoint.quorum, None);
}

#[tokio::test]
async fn without_its_old_segments_the_log_goes_on_from_the_snapshot() {
    let directory = directory();
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    first_id(node.controller.submit(allocate(epoch)).await);
    let live = node.image();
    let mut applied = node.controller.consensus.applied();
    node.controller.consensus.snapshot().await.unwrap();
    applied
        .wait_for(|applied| applied.bytes_since_snapshot == 0)
        .await
        .unwrap();
    node.controller.stop().await.unwrap();
    // As after a fetch of the snapshot from a leader that has nothing older.
    for entry in fs::read_dir(log_directory(&directory)).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "checkpoint")
            && !path.ends_with("quorum-state")
        {
            fs::remove_file(path).unwrap();
        }
    }

    let node = Node::start(directory.path()).await;
    assert_eq!(node.image().advanced(live.provenance()), *live);
    let log_start = node.controller.consensus.log_start_offset();
    assert_eq!(log_start, live.provenance().end_offset);
    node.no_op().await;
    node.controller.stop().await.unwrap();
    let node = Node::start(directory.path()).await;
    assert_eq!(node.image().provenance().epoch, LeaderEpoch(3));
    assert_eq!(node.image().provenance().end_offset, log_start + 3);
}

#[tokio::test]
async fn old_snapshots_go_when_the_bounds_are_passed_and_the_newest_stays() {
    let directory = directory();
    let node = Node::start_with(
        directory.path(),
        |policy| policy.retention_ms = 0,
        Vec::new(),
    )
    .await;
    let mut applied = node.controller.consensus.applied();
    for _ in 0..3 {
        node.no_op().await;
        applied.borrow_and_update();
        node.controller.consensus.snapshot().await.unwrap();
        applied
            .wait_for(|applied| applied.bytes_since_snapshot == 0)
            .await
            .unwrap();
    }
    let count = || checkpoint::list(&log_directory(&directory)).unwrap().len();
    assert_eq!(count(), 3);
    node.clock.advance(Duration::from_secs(61));
    node.no_op().await;
    node.no_op().await;
    node.controller.stop().await.unwrap();
    assert_eq!(count(), 1);
}

#[tokio::test]
async fn the_voters_of_a_standalone_format_are_taken_from_its_checkpoint() {
    let directory = directory();
    let log = log_directory(&directory);
    fs::create_dir_all(&log).unwrap();
    let standalone = include_bytes!("../../metadata/checkpoint/testdata/standalone.checkpoint");
    fs::write(SnapshotId::EMPTY.path(&log), standalone).unwrap();
    let node = Node::start(directory.path()).await;
    let status = node.controller.quorum_status().unwrap();
    assert_eq!(status.kraft_version, 1);
    assert_eq!(
        status.voters[0].voter.directory_id.to_string(),
        "ZClNhrzHTf2uVYyDylrM8w"
    );
    // LeaderChange, KRaftVersion and Voters are one batch of three.
    assert_eq!(node.image().provenance().end_offset, Offset(12));
    assert!(
        fs::read_to_string(log.join("quorum-state"))
            .unwrap()
            .contains(r#""data_version":1"#)
    );
}

#[tokio::test]
async fn a_controller_that_may_not_vote_alone_waits_for_the_others() {
    let directory = directory();
    let settings = Settings::default_for(directory.path());
    let voters = [(
        "controller.quorum.voters",
        "1@127.0.0.1:9093,2@127.0.0.1:1,3@127.0.0.1:2",
    )];
    let settings = Arc::new(settings.with(&voters).unwrap());
    let machine = Machine::new(CLUSTER, settings.clone());
    let published = Arc::new(Published::default());
    let started = Controller::start(
        Options::of(&settings),
        machine,
        Clock::system(),
        published,
        Vec::new(),
    )
    .await;
    let controller = started.unwrap();
    assert!(!controller.is_active());
    assert_eq!(
        controller.submit(Command::NoOp).await,
        Err(Error::NotController)
    );
    assert_eq!(controller.quorum_status(), None);
    let registration = controller_registration_request::Listener::default();
    let request = ControllerRegistrationRequest::default().with_listeners(vec![registration]);
    let answer = controller.submit(Command::RegisterController(request));
    assert_eq!(answer.await, Err(Error::NotController));
    controller.stop().await.unwrap();
}

fn on(disk: &Arc<Faulty>) -> impl FnOnce(&mut Options) {
    let storage = log::Storage {
        fs: disk.clone(),
        ..log::Storage::default()
    };
    move |options| options.consensus.journal.storage = storage
}

#[tokio::test]
async fn a_disk_that_cannot_flush_stops_the_controller_and_nothing_unflushed_is_answered() {
    let directory = directory();
    let disk = Arc::new(Faulty::default());
    let node = Node::try_start(directory.path(), on(&disk), Vec::new())
        .await
        .unwrap();
    let epoch = node.register().await;
    first_id(node.controller.submit(allocate(epoch)).await);
    disk.fail_syncs(true);
    assert_eq!(
        node.controller.submit(allocate(epoch)).await,
        Err(Error::Stopped)
    );
    node.controller.closed().await;
    assert!(!node.controller.is_active());
    assert_eq!(node.image().next_producer_id().0, 1000);
    assert_eq!(
        node.controller.submit(Command::NoOp).await,
        Err(Error::Stopped)
    );
}

/// The process dies in the middle of each of its writes in turn.
#[tokio::test]
async fn what_was_answered_before_a_crash_is_there_after_it() {
    for step in 0..30 {
        let directory = directory();
        let disk = Arc::new(Faulty::default());
        disk.at(
            step,
            if step % 2 == 0 {
                Fault::TornCrash
            } else {
                Fault::Crash
            },
        );
        let mut answered = 0;
        if let Ok(node) = Node::try_start(directory.path(), on(&disk), Vec::new()).await
            && let Some(epoch) = node.try_register().await
        {
            while answered < 6 {
                match node.controller.submit(allocate(epoch)).await {
                    Ok(_) => answered += 1,
                    Err(error) => {
                        assert_eq!(error, Error::Stopped);
                        break;
                    }
                }
            }
        }
        let again = Node::start(directory.path()).await;
        let there = again.image().next_producer_id().0;
        assert!(
            (answered * 1000..=answered * 1000 + 1000).contains(&there),
            "step {step}: {there} of {answered}"
        );
        again.register().await;
    }
}

/// `broker.session.timeout.ms`.
const SESSION: Duration = Duration::from_secs(9);

/// A node whose broker serves, and then is silent for longer than its session lasts. Time goes on by hand.
async fn with_silent_broker(directory: &TempDir) -> Node {
    let node = Node::start(directory.path()).await;
    let epoch = node.register().await;
    let request = BrokerHeartbeatRequest {
        broker_id: 1,
        broker_epoch: epoch.0,
        current_metadata_offset: epoch.0,
        ..Default::default()
    };
    let heartbeat = node.controller.submit(Command::BrokerHeartbeat(request));
    heartbeat.await.unwrap();
    assert!(!is_fenced(&node.image()));
    tokio::time::pause();
    // Paused time goes on when every task waits: the controller's for the end of the session.
    tokio::time::sleep(Duration::from_millis(1)).await;
    node.clock.advance(SESSION + Duration::from_millis(1));
    node
}

fn is_fenced(image: &Image) -> bool {
    image.brokers().get(NodeId(1)).unwrap().fenced
}

#[tokio::test]
async fn a_broker_that_is_silent_is_fenced() {
    let directory = directory();
    let node = with_silent_broker(&directory).await;
    node.published.wait_for(is_fenced).await;
}

#[tokio::test]
async fn a_broker_is_not_fenced_for_what_the_controller_did_not_hear_while_it_stood_still() {
    let directory = directory();
    let node = with_silent_broker(&directory).await;
    tokio::time::advance(SESSION + STANDSTILL).await;
    for _ in 0..3 {
        node.no_op().await;
        assert!(!is_fenced(&node.image()));
    }
}
