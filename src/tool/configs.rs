//! `dohle configs`: shows and changes the settings of topics, brokers, loggers, groups and client-metrics subscriptions,
//! with the flags and output of `kafka-configs.sh` (kafka.admin.ConfigCommand). Users, clients and ips are not there yet.

mod entity;

use std::path::PathBuf;

use clap::Args;

use self::entity::{Entity, Kind};
use super::client::Client;
use super::consumer_groups::list_groups;
use super::print::say;
use super::{Connect, Failure, properties};
use crate::controller::Operation;
use crate::messages::describe_configs_request::DescribeConfigsResource;
use crate::messages::describe_configs_response::DescribeConfigsResourceResult;
use crate::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListConfigResourcesRequest, Request, text,
};

#[derive(Args, Debug)]
pub struct Configs {
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    action: Action,
    #[command(flatten)]
    entities: entity::Flags,
    /// Describe also what was not set while the cluster runs
    #[arg(long)]
    all: bool,
    /// Settings to set: name=value, separated by commas; [value,value] for values with commas
    #[arg(long, value_name = "LIST")]
    add_config: Option<String>,
    /// A file of settings to set
    #[arg(long, value_name = "FILE")]
    add_config_file: Option<PathBuf>,
    /// Settings to take away, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    delete_config: Vec<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct Action {
    /// Describe settings
    #[arg(long)]
    describe: bool,
    /// Change settings
    #[arg(long)]
    alter: bool,
}

impl Configs {
    pub async fn run(&self) -> Result<(), Failure> {
        let entity = self.entities.entity()?;
        let mut client = self.connect.client("dohle-configs")?;
        if self.action.describe {
            entity.check_describe()?;
            return self.describe(&mut client, &entity).await;
        }
        entity.check_alter()?;
        let changes = self.changes()?;
        let altered = alter(&mut client, &entity, changes).await;
        altered.map_err(|failure| failure.context("Error while executing config command: "))
    }

    async fn describe(&self, client: &mut Client, entity: &Entity) -> Result<(), Failure> {
        let kind = entity.kind;
        let names = match &entity.name {
            Some(name) if !self.all && !name.is_empty() => {
                if !names(client, kind).await?.contains(name) {
                    let what = kind.singular();
                    say!("The {what} '{name}' doesn't exist and doesn't have dynamic config.");
                    return Ok(());
                }
                vec![name.clone()]
            }
            Some(name) => vec![name.clone()],
            None => {
                let mut names = names(client, kind).await?;
                if kind == Kind::Broker {
                    names.push(String::new());
                }
                names
            }
        };
        for name in names {
            let mut configs = described(client, kind, &name).await?;
            if name.is_empty() {
                say!("Default configs for {} in the cluster are:", kind.plural());
            } else {
                let which = if self.all { "All" } else { "Dynamic" };
                say!("{which} configs for {} {name} are:", kind.singular());
            }
            let dynamic = kind.dynamic_source(&name);
            configs.retain(|config| self.all || config.config_source == dynamic);
            configs.sort_by(|a, b| a.name.cmp(&b.name));
            for config in &configs {
                say!("{}", line(config));
            }
        }
        Ok(())
    }

    /// What is asked for: the name, and the value to set or `None` to take it away.
    fn changes(&self) -> Result<Vec<(String, Option<String>)>, Failure> {
        let added: Vec<(String, String)> = match (&self.add_config, &self.add_config_file) {
            (Some(_), Some(_)) => {
                return Err(Failure::new(
                    "Only one of --add-config or --add-config-file must be specified",
                ));
            }
            (Some(list), None) => parse_added(list)?,
            (None, Some(file)) => properties::read(file)?.into_iter().collect(),
            (None, None) => Vec::new(),
        };
        let deleted = self.delete_config.iter().map(|name| name.trim().to_owned());
        let set = added.into_iter().map(|(name, value)| (name, Some(value)));
        let changes: Vec<_> = set.chain(deleted.map(|name| (name, None))).collect();
        match changes.is_empty() {
            true => Err(Failure::new(
                "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
            )),
            false => Ok(changes),
        }
    }
}

async fn alter(
    client: &mut Client,
    entity: &Entity,
    changes: Vec<(String, Option<String>)>,
) -> Result<(), Failure> {
    let (kind, name) = (entity.kind, entity.name.clone().unwrap_or_default());
    if kind == Kind::BrokerLogger {
        let known = described(client, kind, &name).await?;
        let is_foreign = |wanted: &&str| !known.iter().any(|logger| &*logger.name == *wanted);
        let names = changes.iter().map(|(name, _)| name.as_str());
        let foreign: Vec<&str> = names.filter(is_foreign).collect();
        if !foreign.is_empty() {
            let foreign = foreign.join(",");
            return Err(Failure::new(format!("Invalid broker logger(s): {foreign}")));
        }
    }
    let configs = changes.into_iter().map(|(name, value)| {
        let operation = match value {
            Some(_) => Operation::Set,
            None => Operation::Delete,
        };
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(operation as i8)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind.code())
        .with_resource_name(text(&name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let response: IncrementalAlterConfigsResponse = ask(client, kind, &name, &request).await?;
    for result in &response.responses {
        Failure::check(result.error_code, result.error_message.as_deref())?;
    }
    if name.is_empty() {
        let what = kind.plural();
        say!("Completed updating default config for {what} in the cluster.");
    } else {
        let what = kind.singular();
        say!("Completed updating config for {what} {name}.");
    }
    Ok(())
}

async fn described(
    client: &mut Client,
    kind: Kind,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind.code())
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    let response: DescribeConfigsResponse = ask(client, kind, name, &request).await?;
    let mut described = Vec::new();
    for result in response.results {
        let message = result.error_message.as_deref();
        Failure::check(result.error_code, message.filter(|text| !text.is_empty()))?;
        described.extend(result.configs);
    }
    Ok(described)
}

/// One broker's own settings and loggers are asked of itself, all else of any.
async fn ask<R: Request>(
    client: &mut Client,
    kind: Kind,
    name: &str,
    request: &R,
) -> Result<R::Response, Failure> {
    match (kind, name.parse()) {
        (Kind::Broker | Kind::BrokerLogger, Ok(broker)) => {
            if client.broker_address(broker).is_none() {
                client.metadata(Some(&[]), false).await?;
            }
            Ok(client.call_broker(broker, request).await?)
        }
        _ => Ok(client.call(request).await?),
    }
}

/// What there is of a kind, sorted.
async fn names(client: &mut Client, kind: Kind) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = match kind {
        Kind::Topic => {
            let metadata = client.metadata(None, false).await?;
            let topics = metadata.topics.into_iter();
            topics
                .filter_map(|topic| Some(topic.name?.to_string()))
                .collect()
        }
        Kind::Broker | Kind::BrokerLogger => {
            let metadata = client.metadata(Some(&[]), false).await?;
            let brokers = metadata.brokers.iter();
            brokers.map(|broker| broker.node_id.0.to_string()).collect()
        }
        Kind::Group | Kind::ClientMetrics => {
            let request =
                ListConfigResourcesRequest::default().with_resource_types(vec![kind.code()]);
            let response = client.call(&request).await?;
            Failure::check(response.error_code, None)?;
            let resources = response.config_resources.iter();
            resources
                .map(|resource| resource.resource_name.to_string())
                .collect()
        }
    };
    if kind == Kind::Group {
        let groups = list_groups(client, None, None).await?;
        names.extend(groups.iter().map(|group| group.group_id.to_string()));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn line(config: &DescribeConfigsResourceResult) -> String {
    let shown = |value: Option<&str>| value.unwrap_or("null").to_owned();
    let synonyms = config.synonyms.iter().map(|synonym| {
        let value = shown(synonym.value.as_deref());
        format!(
            "{}:{}={value}",
            entity::source(synonym.source),
            synonym.name
        )
    });
    let synonyms: Vec<String> = synonyms.collect();
    format!(
        "  {}={} sensitive={} synonyms={{{}}}",
        config.name,
        shown(config.value.as_deref()),
        config.is_sensitive,
        synonyms.join(", ")
    )
}

/// `name=value,name=[value,value]`; what is between brackets is not cut. (ConfigCommand.parseConfigsToBeAdded)
fn parse_added(list: &str) -> Result<Vec<(String, String)>, Failure> {
    let parse = |entry: &str| match split(entry, '=').as_slice() {
        [name, value] if !value.trim().is_empty() => {
            let value = value.replace(['[', ']'], "");
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Failure::new(
            "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \
             \"key=[val1,val2]\" to group values which contain commas.",
        )),
    };
    split(list, ',').into_iter().map(parse).collect()
}

/// Cuts at a character outside of brackets.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut depth = 0;
    text.split(|c| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        c == at && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_settings_are_cut_outside_of_brackets() {
        let parsed = parse_added("retention.ms = 5, cleanup.policy=[compact,delete],match=[a=b]");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("retention.ms", "5"),
            pair("cleanup.policy", "compact,delete"),
            pair("match", "a=b"),
        ];
        assert_eq!(parsed.unwrap(), expected);
        for wrong in ["retention.ms", "retention.ms=", "a=b=c", ""] {
            assert!(parse_added(wrong).is_err(), "{wrong}");
        }
    }
}
