//! How records and answers stand in a script.

use std::fmt::Write as _;

use super::*;

pub(super) fn record(record: &Record) -> String {
    match record {
        Record::Offset { key, value } => {
            let mut line = format!("offset group={} {}/{}", key.group, key.topic, key.partition);
            match value {
                None => line.push_str(" tombstone"),
                Some(value) => {
                    let _ = write!(
                        line,
                        " offset={} at={}",
                        value.offset, value.commit_timestamp
                    );
                    if let Some(expires) = value.expire_timestamp {
                        let _ = write!(line, " expires={expires}");
                    }
                    if !value.metadata.is_empty() {
                        let _ = write!(line, " metadata={}", value.metadata);
                    }
                }
            }
            line
        }
        Record::GroupMetadata {
            group,
            metadata: None,
        } => format!("group {group} tombstone"),
        Record::GroupMetadata {
            group,
            metadata: Some(metadata),
        } => {
            let mut line = format!(
                "group {group} generation={} type={} protocol={} leader={} since={}",
                metadata.generation,
                optional(metadata.protocol_type.as_deref()),
                optional(metadata.protocol.as_deref()),
                optional(metadata.leader.as_deref()),
                metadata.since,
            );
            for member in &metadata.members {
                let _ = write!(line, " [{}", member.id);
                if let Some(instance_id) = &member.instance_id {
                    let _ = write!(line, " instance={instance_id}");
                }
                let _ = write!(
                    line,
                    " session={} rebalance={} assignment={}]",
                    member.session_timeout_ms,
                    member.rebalance_timeout_ms,
                    String::from_utf8_lossy(&member.assignment)
                );
            }
            line
        }
        Record::Other(other) => format!("other group={} kind={}", other.group, other.kind.name()),
    }
}

pub(super) fn response(response: &Response) -> String {
    match response {
        Response::Join(response) => join(response),
        Response::Sync(response) if response.error_code != 0 => {
            format!("sync {}", error(response.error_code))
        }
        Response::Sync(response) => format!(
            "sync type={} protocol={} assignment={}",
            optional(response.protocol_type.as_deref()),
            optional(response.protocol_name.as_deref()),
            String::from_utf8_lossy(&response.assignment)
        ),
        Response::Heartbeat(response) => format!("heartbeat {}", error(response.error_code)),
        Response::Leave(response) => {
            let mut line = format!("leave {}", error(response.error_code));
            for member in &response.members {
                let instance = optional(member.group_instance_id.as_deref());
                let _ = write!(
                    line,
                    " [{} instance={instance} {}]",
                    &*member.member_id,
                    error(member.error_code)
                );
            }
            line
        }
        Response::CommitOffsets(response) => {
            let mut line = String::from("commit");
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let _ = write!(
                        line,
                        " {}/{}={}",
                        &*topic.name,
                        partition.partition_index,
                        error(partition.error_code)
                    );
                }
            }
            line
        }
        Response::CommitTransactionalOffsets(response) => {
            let mut line = String::from("txn-commit");
            for topic in &response.topics {
                let name: &str = &topic.name;
                for partition in &topic.partitions {
                    let code = error(partition.error_code);
                    let _ = write!(line, " {name}/{}={code}", partition.partition_index);
                }
            }
            line
        }
        Response::FetchOffsets(response) => {
            let mut line = format!("fetch {}", error(response.error_code));
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let _ = write!(
                        line,
                        " {}/{}={}",
                        &*topic.name, partition.partition_index, partition.committed_offset
                    );
                    if partition.error_code != 0 {
                        let _ = write!(line, "({})", error(partition.error_code));
                    }
                }
            }
            line
        }
        Response::DeleteOffsets(response) => {
            let mut line = format!("delete-offsets {}", error(response.error_code));
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let name: &str = &topic.name;
                    let _ = write!(
                        line,
                        " {name}/{}={}",
                        partition.partition_index,
                        error(partition.error_code)
                    );
                }
            }
            line
        }
        Response::List(groups) => {
            let listed = |group: &ListedGroup| {
                let (id, protocol): (&str, &str) = (&group.group_id, &group.protocol_type);
                format!(
                    " [{id} type={} protocol-type={protocol} {}]",
                    &*group.group_type, &*group.group_state
                )
            };
            let mut lines: Vec<String> = groups.iter().map(listed).collect();
            lines.sort();
            format!("list{}", lines.concat())
        }
        Response::Describe(group) => describe(group),
        Response::Delete(code) => format!("delete {}", code.name()),
        Response::TopicsDeleted => String::from("topics-deleted"),
    }
}

fn join(response: &JoinGroupResponse) -> String {
    let mut line = format!(
        "join {} member={}",
        error(response.error_code),
        &*response.member_id
    );
    if response.generation_id >= 0 {
        let _ = write!(
            line,
            " generation={} protocol={} leader={}",
            response.generation_id,
            optional(response.protocol_name.as_deref()),
            &*response.leader
        );
    }
    if response.skip_assignment {
        line.push_str(" skip-assignment");
    }
    for member in &response.members {
        let _ = write!(line, " [{}", &*member.member_id);
        if let Some(instance_id) = &member.group_instance_id {
            let _ = write!(line, " instance={}", &**instance_id);
        }
        line.push(']');
    }
    line
}

fn describe(group: &DescribedGroup) -> String {
    let mut line = format!(
        "describe {} {} type={} protocol={}",
        error(group.error_code),
        &*group.group_state,
        &*group.protocol_type,
        &*group.protocol_data
    );
    if let Some(message) = &group.error_message {
        let _ = write!(line, " message={:?}", &**message);
    }
    for member in &group.members {
        let _ = write!(
            line,
            " [{} client={} host={} metadata={} assignment={}]",
            &*member.member_id,
            &*member.client_id,
            &*member.client_host,
            member.member_metadata.len(),
            String::from_utf8_lossy(&member.member_assignment)
        );
    }
    line
}

fn optional(value: Option<&str>) -> &str {
    value.unwrap_or("-")
}

fn error(code: i16) -> &'static str {
    ErrorCode::from_code(code).name()
}
