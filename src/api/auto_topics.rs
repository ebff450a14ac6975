//! Topics that are created because somebody asked for them: those of users by Metadata, those of the brokers themselves
//! by FindCoordinator. (DefaultAutoTopicCreationManager)

use std::sync::Arc;

use crate::broker::Broker;
use crate::config::Settings;
use crate::controller::Command;
use crate::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::messages::{CreateTopicsRequest, TopicName, text};
use crate::metadata::{CONSUMER_OFFSETS, SHARE_GROUP_STATE, TRANSACTION_STATE};

/// Asks the controller for topics and does not wait: whoever wants one asks again. What cannot be created is in the
/// controller's log, and stays unknown.
pub(crate) fn create(broker: &Arc<Broker>, names: &[TopicName]) {
    if names.is_empty() {
        return;
    }
    let topics = names
        .iter()
        .map(|name| topic(broker.settings(), name))
        .collect();
    let timeout_ms = broker.settings().int("request.timeout.ms");
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(timeout_ms);
    // Decided in order, whether or not the answer is waited for.
    drop(broker.controller().submit(Command::CreateTopics(request)));
}

/// A topic as it is created when nobody said how.
pub(super) fn topic(settings: &Settings, name: &TopicName) -> CreatableTopic {
    let short = |name| settings.short(name);
    let (partitions, replicas, configs): (i32, i16, Vec<(&str, String)>) = match name.as_str() {
        CONSUMER_OFFSETS => (
            settings.int("offsets.topic.num.partitions"),
            short("offsets.topic.replication.factor"),
            vec![
                ("compression.type", "producer".to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                (
                    "segment.bytes",
                    settings.int("offsets.topic.segment.bytes").to_string(),
                ),
            ],
        ),
        TRANSACTION_STATE => (
            settings.int("transaction.state.log.num.partitions"),
            short("transaction.state.log.replication.factor"),
            vec![
                ("compression.type", "uncompressed".to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                (
                    "min.insync.replicas",
                    settings.int("transaction.state.log.min.isr").to_string(),
                ),
                (
                    "segment.bytes",
                    settings
                        .int("transaction.state.log.segment.bytes")
                        .to_string(),
                ),
                ("unclean.leader.election.enable", "false".to_owned()),
            ],
        ),
        SHARE_GROUP_STATE => (
            settings.int("share.coordinator.state.topic.num.partitions"),
            short("share.coordinator.state.topic.replication.factor"),
            vec![
                ("compression.type", "producer".to_owned()),
                ("cleanup.policy", "delete".to_owned()),
                (
                    "min.insync.replicas",
                    short("share.coordinator.state.topic.min.isr").to_string(),
                ),
                (
                    "segment.bytes",
                    settings
                        .int("share.coordinator.state.topic.segment.bytes")
                        .to_string(),
                ),
                ("retention.ms", "-1".to_owned()),
            ],
        ),
        _ => (-1, -1, Vec::new()),
    };
    let configs = configs.into_iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(&value)))
    });
    CreatableTopic::default()
        .with_name(name.clone())
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(configs.collect())
}
