//! Topics are deleted, by name or by id. (ControllerApis.deleteTopics)

use std::collections::{BTreeSet, HashMap};

use crate::error_code::ErrorCode;
use crate::ids::{KafkaUuid, TopicId};
use crate::messages::delete_topics_response::DeletableTopicResult;
use crate::messages::records::metadata::RemoveTopicRecord;
use crate::messages::{DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, TopicName};
use crate::metadata::record::text;
use crate::metadata::{Image, Topic};

use super::machine::{Answer, Decision, Refusal};
use super::topics::counts;

/// Deletes topics named or identified, each once.
pub(super) fn delete_topics(image: &Image, request: &DeleteTopicsRequest) -> Decision {
    let by_name = request
        .topic_names
        .iter()
        .map(|name| (Some(name), KafkaUuid::ZERO));
    let by_state = request
        .topics
        .iter()
        .map(|topic| (topic.name.as_ref(), KafkaUuid(topic.topic_id)));
    let asked = Asked::of(by_name.chain(by_state).collect());
    let mut answered = BTreeSet::new();
    let (mut records, mut results) = (Vec::new(), Vec::new());
    for &(name, id) in &asked.all {
        let is_sound = name.is_some() != (id != KafkaUuid::ZERO);
        if is_sound && !answered.insert((name, id)) {
            continue;
        }
        let result = DeletableTopicResult::default();
        results.push(match asked.find(image, name, id) {
            Ok(topic) => {
                records.push(
                    RemoveTopicRecord {
                        topic_id: topic.id.0,
                        ..Default::default()
                    }
                    .into(),
                );
                result
                    .with_name(Some(TopicName(text(&topic.name))))
                    .with_topic_id(topic.id.0)
            }
            Err(refusal) => result
                .with_name(name.cloned())
                .with_topic_id(id.0)
                .with_error_code(refusal.code as i16)
                .with_error_message(refusal.message.map(StrBytes::from_string)),
        });
    }
    let response = DeleteTopicsResponse::default().with_responses(results);
    Decision::of(records, Answer::DeleteTopics(response))
}

/// What a request names: a topic by its name (with the id zero), or by its id.
struct Asked<'a> {
    all: Vec<(Option<&'a TopicName>, TopicId)>,
    /// How often each name occurs.
    names: HashMap<&'a TopicName, usize>,
    /// How often each id occurs.
    ids: HashMap<TopicId, usize>,
}

impl<'a> Asked<'a> {
    fn of(all: Vec<(Option<&'a TopicName>, TopicId)>) -> Asked<'a> {
        let named = all.iter().filter(|(_, id)| *id == KafkaUuid::ZERO);
        let names = counts(named.filter_map(|(name, _)| *name));
        let identified = all
            .iter()
            .filter(|(name, id)| name.is_none() && *id != KafkaUuid::ZERO);
        let ids = counts(identified.map(|(_, id)| *id));
        Asked { all, names, ids }
    }

    fn find<'i>(
        &self,
        image: &'i Image,
        name: Option<&TopicName>,
        id: TopicId,
    ) -> Result<&'i Topic, Refusal> {
        let invalid = |message| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        match (name, id) {
            (Some(_), id) if id != KafkaUuid::ZERO => {
                invalid("You may not specify both topic name and topic id.")
            }
            (None, KafkaUuid::ZERO) => invalid("Neither topic name nor id were specified."),
            (Some(name), _) if self.names[name] > 1 => invalid("Duplicate topic name."),
            (None, id) if self.ids[&id] > 1 => invalid("Duplicate topic id."),
            (Some(name), _) => match image.topics().by_name(name) {
                Some(topic) if self.ids.contains_key(&topic.id) => {
                    invalid("The provided topic name maps to an ID that was already supplied.")
                }
                Some(topic) => Ok(topic),
                None => Err(unknown(ErrorCode::UnknownTopicOrPartition)),
            },
            (None, id) => {
                let topic = image.topics().by_id(id).map(|topic| &**topic);
                topic.ok_or_else(|| unknown(ErrorCode::UnknownTopicId))
            }
        }
    }
}

fn unknown(code: ErrorCode) -> Refusal {
    let message = match code {
        ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
        _ => "This server does not host this topic-partition.",
    };
    Refusal::new(code, message)
}
