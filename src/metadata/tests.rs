use crate::ids::{KafkaUuid, LeaderEpoch, NodeId, Offset, PartitionIndex, Timestamp, TopicId};
use crate::messages::records::frame::{MetadataRecord, UnknownRecord};
use crate::messages::records::metadata::*;
use uuid::Uuid;

use super::snapshot::{config_record, feature_record, text};
use super::*;

const A: TopicId = KafkaUuid(Uuid::from_u128(0xa));
const B: TopicId = KafkaUuid(Uuid::from_u128(0xb));

fn at(end_offset: i64) -> Provenance {
    Provenance {
        end_offset: Offset(end_offset),
        epoch: LeaderEpoch(1),
        timestamp: Timestamp(1000),
    }
}

fn topic(name: &str, id: TopicId) -> MetadataRecord {
    TopicRecord {
        name: text(name),
        topic_id: id.0,
        ..Default::default()
    }
    .into()
}

fn partition(id: TopicId, index: i32) -> MetadataRecord {
    let record = PartitionRecord {
        partition_id: index,
        topic_id: id.0,
        replicas: vec![1, 2],
        isr: vec![1, 2],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::from_u128(101), Uuid::from_u128(102)],
        ..Default::default()
    };
    record.into()
}

fn change(id: TopicId, index: i32) -> PartitionChangeRecord {
    PartitionChangeRecord {
        topic_id: id.0,
        partition_id: index,
        ..Default::default()
    }
}

fn broker(id: i32) -> MetadataRecord {
    let endpoint = BrokerEndpoint {
        name: text("PLAINTEXT"),
        host: text("h"),
        port: 9092,
        ..Default::default()
    };
    let feature = BrokerFeature {
        name: text(METADATA_VERSION),
        max_supported_version: 30,
        ..Default::default()
    };
    let record = RegisterBrokerRecord {
        broker_id: id,
        broker_epoch: 5,
        incarnation_id: Uuid::from_u128(77),
        end_points: vec![endpoint],
        features: vec![feature],
        log_dirs: vec![Uuid::from_u128(101)],
        ..Default::default()
    };
    record.into()
}

/// One or more records of every kind that leaves something behind.
fn everything() -> Vec<MetadataRecord> {
    let unfence = BrokerRegistrationChangeRecord {
        broker_id: 1,
        broker_epoch: 5,
        fenced: -1,
        cordoned_log_dirs: Some(vec![]),
        ..Default::default()
    };
    let entity = EntityData {
        entity_type: text("user"),
        entity_name: None,
        ..Default::default()
    };
    vec![
        feature_record(METADATA_VERSION, 30).into(),
        feature_record("group.version", 1).into(),
        ZkMigrationStateRecord {
            zk_migration_state: 3,
            ..Default::default()
        }
        .into(),
        broker(1),
        unfence.into(),
        broker(2),
        RegisterControllerRecord {
            controller_id: 3,
            ..Default::default()
        }
        .into(),
        topic("a.b", A),
        partition(A, 0),
        partition(A, 1),
        PartitionChangeRecord {
            isr: Some(vec![]),
            eligible_leader_replicas: Some(vec![1]),
            ..change(A, 1)
        }
        .into(),
        config_record(&Resource::topic("a.b"), "retention.ms", Some("5000")).into(),
        config_record(&Resource::all_brokers(), "min.insync.replicas", Some("1")).into(),
        config_record(&Resource::group("g"), "x", Some("y")).into(),
        ClientQuotaRecord {
            entity: vec![entity],
            key: text("producer_byte_rate"),
            value: 1.5,
            ..Default::default()
        }
        .into(),
        ProducerIdsRecord {
            broker_id: 1,
            next_producer_id: 2000,
            ..Default::default()
        }
        .into(),
        AccessControlEntryRecord {
            id: Uuid::from_u128(1),
            resource_name: text("t"),
            ..Default::default()
        }
        .into(),
        UserScramCredentialRecord {
            name: text("u"),
            mechanism: 1,
            iterations: 4096,
            ..Default::default()
        }
        .into(),
        DelegationTokenRecord {
            token_id: text("t"),
            owner: text("o"),
            ..Default::default()
        }
        .into(),
        MetadataRecord::Unknown(UnknownRecord {
            record_type: 99,
            version: 0,
            body: vec![1, 2].into(),
        }),
    ]
}

fn image_of(records: &[MetadataRecord]) -> Image {
    Image::empty().apply(records, at(10)).unwrap().0
}

#[test]
fn a_snapshot_makes_the_same_image() {
    let image = image_of(&everything());
    let snapshot: Vec<_> = image.records().collect();
    assert_eq!(image_of(&snapshot), image);
    assert_eq!(snapshot[0], feature_record(METADATA_VERSION, 30).into());
    for record in &snapshot {
        let version = image.features().metadata_version().record_version(record);
        let bytes = record.encode(version).unwrap();
        assert_eq!(
            MetadataRecord::decode(bytes).unwrap(),
            (record.clone(), version)
        );
    }
}

#[test]
fn removals_leave_nothing_behind() {
    let image = image_of(&everything());
    let removals = [
        UnregisterBrokerRecord {
            broker_id: 1,
            broker_epoch: 5,
            ..Default::default()
        }
        .into(),
        RemoveTopicRecord {
            topic_id: A.0,
            ..Default::default()
        }
        .into(),
        config_record(&Resource::all_brokers(), "min.insync.replicas", None).into(),
        feature_record("group.version", 0).into(),
        RemoveAccessControlEntryRecord {
            id: Uuid::from_u128(1),
            ..Default::default()
        }
        .into(),
        RemoveUserScramCredentialRecord {
            name: text("u"),
            mechanism: 1,
            ..Default::default()
        }
        .into(),
        RemoveDelegationTokenRecord {
            token_id: text("t"),
            ..Default::default()
        }
        .into(),
    ];
    let (image, delta) = image.apply(&removals, at(20)).unwrap();
    assert!(image.topics().is_empty() && image.topics().colliding("a_b").is_none());
    assert_eq!(
        image
            .configs()
            .iter()
            .map(|(resource, _)| resource)
            .collect::<Vec<_>>(),
        [&Resource::group("g")]
    );
    assert_eq!(
        image
            .brokers()
            .iter()
            .map(|broker| broker.id)
            .collect::<Vec<_>>(),
        [NodeId(2)]
    );
    assert!(
        image.kept().acls.is_empty()
            && image.kept().scram.is_empty()
            && image.kept().delegation_tokens.is_empty()
    );
    assert_eq!(image.features().level("group.version"), 0);
    assert_eq!(delta.deleted[&A].partitions.len(), 2);
    assert!(delta.topics.is_empty() && delta.configs.contains(&Resource::topic("a.b")));
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let records = [topic("t", A), partition(A, 0)];
    let leader = PartitionChangeRecord {
        leader: -1,
        isr: Some(vec![]),
        ..change(A, 0)
    };
    let replicas = PartitionChangeRecord {
        replicas: Some(vec![2, 3]),
        ..change(A, 0)
    };
    let (image, delta) = image_of(&records)
        .apply(&[leader.into(), replicas.into()], at(20))
        .unwrap();
    let partition = image
        .topics()
        .by_name("t")
        .unwrap()
        .partition(PartitionIndex(0))
        .unwrap()
        .clone();
    assert_eq!(
        (
            partition.leader,
            partition.leader_epoch.0,
            partition.partition_epoch.0
        ),
        (None, 1, 2)
    );
    assert_eq!(partition.replicas, [NodeId(2), NodeId(3)]);
    assert_eq!(
        partition.directories,
        [KafkaUuid(Uuid::from_u128(102)), KafkaUuid::ONE]
    );
    let changed = &delta.topics[&A];
    assert!(!changed.created && changed.partitions.contains(&PartitionIndex(0)));
}

#[test]
fn a_change_shares_the_other_topics_and_partitions() {
    let before = image_of(&[
        topic("a", A),
        partition(A, 0),
        partition(A, 1),
        topic("b", B),
        partition(B, 0),
    ]);
    let (after, _) = before
        .apply(
            &[PartitionChangeRecord {
                leader: 2,
                ..change(A, 1)
            }
            .into()],
            at(11),
        )
        .unwrap();
    let (old, new) = (before.topics(), after.topics());
    assert!(std::sync::Arc::ptr_eq(
        old.by_id(B).unwrap(),
        new.by_name("b").unwrap()
    ));
    let zeroth = |topics: &Topics| topics.by_id(A).unwrap().partitions[0].clone();
    assert!(std::sync::Arc::ptr_eq(&zeroth(old), &zeroth(new)));
    assert_eq!(new.by_id(A).unwrap().partitions[1].leader, Some(NodeId(2)));
}

#[test]
fn names_collide_when_dots_and_underscores_are_one() {
    let image = image_of(&[topic("a.b", A), topic("plain", B)]);
    assert_eq!(
        image.topics().colliding("a_b").map(|name| &**name),
        Some("a.b")
    );
    assert_eq!(image.topics().colliding("plain"), None);
    assert_eq!(
        image
            .topics()
            .from_name("b")
            .map(|topic| topic.id)
            .collect::<Vec<_>>(),
        [B]
    );
}

#[test]
fn a_topic_that_came_and_went_is_not_in_the_delta() {
    let remove = RemoveTopicRecord {
        topic_id: A.0,
        ..Default::default()
    };
    let (_, delta) = Image::empty()
        .apply(
            &[topic("t", A), partition(A, 0), remove.clone().into()],
            at(3),
        )
        .unwrap();
    assert!(delta.is_empty(), "{delta:?}");
    let (image, mut created) = Image::empty()
        .apply(&[topic("t", A), partition(A, 0)], at(3))
        .unwrap();
    let (_, deleted) = image.apply(&[remove.into()], at(4)).unwrap();
    created.merge(deleted);
    assert!(created.is_empty(), "{created:?}");
}

#[test]
fn elr_is_cleared_for_one_topic_or_for_all() {
    let elr = |id| {
        PartitionChangeRecord {
            eligible_leader_replicas: Some(vec![2]),
            ..change(id, 0)
        }
        .into()
    };
    let image = image_of(&[
        topic("a", A),
        partition(A, 0),
        elr(A),
        topic("b", B),
        partition(B, 0),
        elr(B),
    ]);
    let clear = |name| {
        ClearElrRecord {
            topic_name: text(name),
            ..Default::default()
        }
        .into()
    };
    let has_elr = |image: &Image, id| {
        !image.topics().by_id(id).unwrap().partitions[0]
            .elr
            .is_empty()
    };
    let (one, _) = image.apply(&[clear("a")], at(20)).unwrap();
    assert!(!has_elr(&one, A) && has_elr(&one, B));
    let (all, delta) = image.apply(&[clear("")], at(20)).unwrap();
    assert!(!has_elr(&all, A) && !has_elr(&all, B) && delta.topics.len() == 2);
}

#[test]
fn records_that_cannot_follow_are_refused() {
    let refused = |records: &[MetadataRecord]| Image::empty().apply(records, at(1)).unwrap_err();
    assert_eq!(refused(&[partition(A, 0)]), Error::UnknownTopicId(A));
    let gap = Error::UnknownPartition {
        topic: "t".into(),
        partition: 1,
        partitions: 0,
    };
    assert_eq!(refused(&[topic("t", A), partition(A, 1)]), gap);
    let stale = UnregisterBrokerRecord {
        broker_id: 1,
        broker_epoch: 4,
        ..Default::default()
    };
    assert!(matches!(
        refused(&[broker(1), stale.into()]),
        Error::UnknownBroker { .. }
    ));
}

#[test]
fn a_transaction_is_published_at_its_end() {
    let mut loader = Loader::default();
    let begin = BeginTransactionRecord::default().into();
    assert!(
        loader
            .apply(&[topic("a", A), begin, partition(A, 0)], at(3))
            .unwrap()
            .is_none()
    );
    let end = EndTransactionRecord::default().into();
    let (image, delta) = loader
        .apply(&[partition(A, 1), end], at(5))
        .unwrap()
        .unwrap();
    assert_eq!(image.topics().by_id(A).unwrap().partitions.len(), 2);
    assert_eq!(delta.topics[&A].partitions.len(), 2);
    assert_eq!(image.provenance(), at(5));
}

#[test]
fn an_aborted_transaction_leaves_no_trace() {
    let mut loader = Loader::default();
    loader
        .apply(
            &[topic("a", A), BeginTransactionRecord::default().into()],
            at(2),
        )
        .unwrap();
    loader.apply(&[topic("b", B)], at(3)).unwrap();
    let (image, delta) = loader
        .apply(&[AbortTransactionRecord::default().into()], at(4))
        .unwrap()
        .unwrap();
    assert!(image.topics().by_id(B).is_none() && image.topics().by_id(A).is_some());
    assert_eq!(delta.topics.keys().collect::<Vec<_>>(), [&A]);
    assert_eq!(image.provenance(), at(4));
}

#[tokio::test]
async fn whoever_waits_sees_the_image_that_satisfies_him() {
    let published = std::sync::Arc::new(Published::default());
    let waiting = {
        let published = published.clone();
        tokio::spawn(async move {
            published
                .wait_for(|image| image.topics().by_id(A).is_some())
                .await
        })
    };
    published.publish(std::sync::Arc::new(image_of(&[])));
    published.publish(std::sync::Arc::new(image_of(&[topic("a", A)])));
    assert_eq!(waiting.await.unwrap().topics().len(), 1);
}
