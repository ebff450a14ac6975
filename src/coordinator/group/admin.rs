//! What administrators ask: which groups there are, what one looks like, that one be deleted.

use std::sync::Arc;

use super::Step;
use super::classic::{ClassicGroup, Member, Phase};
use super::records::Record;
use super::state::Group;
use crate::error_code::ErrorCode;
use crate::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::messages::list_groups_response::ListedGroup;
use crate::messages::{GroupId, ListGroupsRequest, StrBytes, text};

/// From this version on a group that is not there is an error. (KIP-1043)
const GROUP_ID_NOT_FOUND_FROM: i16 = 6;

/// How Kafka calls a group that is not there.
const DEAD: &str = "Dead";
const CLASSIC: &str = "classic";

impl Step<'_> {
    /// The groups of this partition that pass the filters; an empty filter lets all pass. (KIP-518, KIP-848)
    pub(super) fn list(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let passes = |filter: &[StrBytes], value: &str| {
            filter.is_empty()
                || filter
                    .iter()
                    .any(|wanted| wanted.trim().eq_ignore_ascii_case(value))
        };
        let listed = |(id, stored): (&Arc<str>, &Group)| {
            let (protocol_type, state, kind) = self.summary(id, stored);
            if !passes(&request.states_filter, state) || !passes(&request.types_filter, kind) {
                return None;
            }
            Some(
                ListedGroup::default()
                    .with_group_id(GroupId(text(id)))
                    .with_protocol_type(text(protocol_type))
                    .with_group_state(text(state))
                    .with_group_type(text(kind)),
            )
        };
        self.state.groups().filter_map(listed).collect()
    }

    /// Protocol type, state and type of a group.
    fn summary<'s>(&'s self, id: &str, stored: &'s Group) -> (&'s str, &'static str, &'static str) {
        if let Some(other) = &stored.other {
            let state = if other.members == 0 {
                Phase::Empty
            } else {
                Phase::Stable
            };
            return (other.kind.protocol_type(), state.name(), other.kind.name());
        }
        match self.scratch.classic.get(id) {
            Some(group) => (
                group.protocol_type.as_deref().unwrap_or_default(),
                group.phase.name(),
                CLASSIC,
            ),
            None => {
                let protocol_type = stored
                    .metadata
                    .as_ref()
                    .and_then(|metadata| metadata.protocol_type.as_deref());
                (
                    protocol_type.unwrap_or_default(),
                    Phase::Empty.name(),
                    CLASSIC,
                )
            }
        }
    }

    pub(super) fn describe(&self, version: i16, id: &str) -> DescribedGroup {
        let response = DescribedGroup::default().with_group_id(GroupId(text(id)));
        let stored = self.state.group(id);
        if stored.is_some_and(|stored| stored.other.is_some()) {
            return not_found(
                response,
                version,
                &format!("Group {id} is not a classic group."),
            );
        }
        let (live, stored) = (self.scratch.classic.get(id), stored);
        match (live, stored) {
            (Some(group), _) => describe_live(response, group),
            (None, Some(stored)) => {
                let protocol_type = stored
                    .metadata
                    .as_ref()
                    .and_then(|metadata| metadata.protocol_type.as_deref());
                response
                    .with_group_state(text(Phase::Empty.name()))
                    .with_protocol_type(text(protocol_type.unwrap_or_default()))
            }
            (None, None) => not_found(response, version, &format!("Group {id} not found.")),
        }
    }

    /// Deletes an empty group with all its offsets.
    pub(super) fn delete(&mut self, id: &Arc<str>) -> Result<(), ErrorCode> {
        let live = self.scratch.classic.get(id);
        if live.is_some_and(|group| group.phase != Phase::Empty) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        let stored = self.state.group(id).ok_or(ErrorCode::GroupIdNotFound)?;
        if stored.other.as_ref().is_some_and(|other| other.members > 0) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        self.delete_all_offsets(id, stored);
        match &stored.other {
            Some(other) => self.out.records.extend(other.tombstones()),
            None => self.out.records.push(Record::GroupMetadata {
                group: id.clone(),
                metadata: None,
            }),
        }
        self.scratch.forget(id);
        Ok(())
    }
}

fn not_found(response: DescribedGroup, version: i16, message: &str) -> DescribedGroup {
    let response = response.with_group_state(text(DEAD));
    if version < GROUP_ID_NOT_FOUND_FROM {
        return response;
    }
    response
        .with_error_code(ErrorCode::GroupIdNotFound.code())
        .with_error_message(Some(text(message)))
}

/// Subscriptions and the protocol are told of a stable group only, the rest always.
fn describe_live(response: DescribedGroup, group: &ClassicGroup) -> DescribedGroup {
    let protocol = group
        .protocol
        .as_deref()
        .filter(|_| group.phase == Phase::Stable);
    let member = |member: &Member| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_assignment(member.assignment.clone())
            .with_member_metadata(
                protocol
                    .map(|protocol| member.metadata(protocol))
                    .unwrap_or_default(),
            )
    };
    response
        .with_group_state(text(group.phase.name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(protocol.unwrap_or_default()))
        .with_members(group.members.values().map(member).collect())
}
