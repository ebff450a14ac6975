//! Of what the settings are: `--entity-type topics --entity-name x`, or `--topic x` for short.

use clap::Args;

use super::super::Failure;

/// The names that `--entity-type` takes, as Kafka lists them.
const TYPES: &str = "topics, clients, users, brokers, ips, client-metrics, groups, broker-loggers";

/// ConfigResource.Type, as far as this tool knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

/// One resource, or all of a kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) kind: Kind,
    /// Empty for the default of all; `None` when nothing was said.
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Flags {
    /// topics, brokers, broker-loggers, client-metrics or groups
    #[arg(long, value_name = "TYPE")]
    entity_type: Vec<String>,
    /// The name of a topic, group or subscription, or the id of a broker
    #[arg(long, value_name = "NAME")]
    entity_name: Vec<String>,
    /// The default of all brokers
    #[arg(long)]
    entity_default: bool,
    /// The name of a topic
    #[arg(long)]
    topic: Option<String>,
    /// The id of a broker
    #[arg(long, value_name = "ID")]
    broker: Option<String>,
    /// The default of all brokers
    #[arg(long)]
    broker_defaults: bool,
    /// The id of a broker, for its loggers
    #[arg(long, value_name = "ID")]
    broker_logger: Option<String>,
    /// The name of a client-metrics subscription
    #[arg(long, value_name = "NAME")]
    client_metrics: Option<String>,
    /// The id of a group
    #[arg(long)]
    group: Option<String>,
}

impl Kind {
    fn parse(name: &str) -> Result<Kind, Failure> {
        match name {
            "topics" => Ok(Kind::Topic),
            "brokers" => Ok(Kind::Broker),
            "broker-loggers" => Ok(Kind::BrokerLogger),
            "client-metrics" => Ok(Kind::ClientMetrics),
            "groups" => Ok(Kind::Group),
            "users" | "clients" | "ips" => Err(Failure::new(format!(
                "settings of {name} are not supported yet"
            ))),
            _ => Err(Failure::new(format!(
                "Invalid entity type {name}, the entity type must be one of {TYPES} with a --bootstrap-server or \
                 --bootstrap-controller argument"
            ))),
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Kind::Topic => "topics",
            Kind::Broker => "brokers",
            Kind::BrokerLogger => "broker-loggers",
            Kind::ClientMetrics => "client-metrics",
            Kind::Group => "groups",
        }
    }

    /// As Kafka makes it: without the last letter.
    pub(super) fn singular(self) -> &'static str {
        self.plural().trim_end_matches('s')
    }

    pub(super) fn code(self) -> i8 {
        match self {
            Kind::Topic => 2,
            Kind::Broker => 4,
            Kind::BrokerLogger => 8,
            Kind::ClientMetrics => 16,
            Kind::Group => 32,
        }
    }

    /// The source of what was set for the resource itself.
    pub(super) fn dynamic_source(self, name: &str) -> i8 {
        match self {
            Kind::Topic => 1,
            Kind::Broker if name.is_empty() => 3,
            Kind::Broker => 2,
            Kind::BrokerLogger => 6,
            Kind::ClientMetrics => 7,
            Kind::Group => 8,
        }
    }
}

/// DescribeConfigsResponse.ConfigSource by its number.
pub(super) fn source(code: i8) -> &'static str {
    match code {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        7 => "DYNAMIC_CLIENT_METRICS_CONFIG",
        8 => "DYNAMIC_GROUP_CONFIG",
        _ => "UNKNOWN",
    }
}

impl Flags {
    /// What the flags name. (ConfigCommand.ConfigCommandOptions.checkArgs)
    pub(super) fn entity(&self) -> Result<Entity, Failure> {
        let mut entities = Vec::new();
        let short = [
            (Kind::Topic, &self.topic),
            (Kind::Broker, &self.broker),
            (Kind::BrokerLogger, &self.broker_logger),
            (Kind::ClientMetrics, &self.client_metrics),
            (Kind::Group, &self.group),
        ];
        for (kind, name) in short {
            entities.extend(name.clone().map(|name| (kind, Some(name))));
        }
        if self.broker_defaults {
            entities.push((Kind::Broker, Some(String::new())));
        }
        for kind in &self.entity_type {
            let name = match self.entity_default {
                true => Some(String::new()),
                false => self.entity_name.first().cloned(),
            };
            entities.push((Kind::parse(kind)?, name));
        }
        let (kind, name) = match entities.len() {
            0 => return Err(Failure::new("At least one entity type must be specified")),
            1 => entities.remove(0),
            _ => {
                return Err(Failure::new(
                    "Only 'users' and 'clients' entity types may be specified together",
                ));
            }
        };
        if let (Kind::Broker | Kind::BrokerLogger, Some(id)) = (kind, &name)
            && !id.is_empty()
            && id.parse::<i32>().is_err()
        {
            return Err(Failure::new(format!(
                "The entity name for {} must be a valid integer broker id, but it is: {id}",
                kind.plural()
            )));
        }
        Ok(Entity { kind, name })
    }
}

impl Entity {
    fn is_default(&self) -> bool {
        self.name.as_deref() == Some("")
    }

    pub(super) fn check_describe(&self) -> Result<(), Failure> {
        let what = self.kind.plural();
        if self.is_default() && self.kind != Kind::Broker {
            return Err(Failure::new(format!(
                "--entity-default must not be specified with --describe of {what}"
            )));
        }
        if self.kind == Kind::BrokerLogger && self.name.is_none() {
            return Err(Failure::new(format!(
                "An entity name must be specified with --describe of {what}"
            )));
        }
        Ok(())
    }

    pub(super) fn check_alter(&self) -> Result<(), Failure> {
        let what = self.kind.plural();
        match (&self.name, self.kind) {
            (None, Kind::Broker) => Err(Failure::new(format!(
                "An entity name or default entity must be specified with --alter of {what}"
            ))),
            (None, _) => Err(Failure::new(format!(
                "An entity name must be specified with --alter of {what}"
            ))),
            (Some(name), kind) if name.is_empty() && kind != Kind::Broker => Err(Failure::new(
                format!("--entity-default must not be specified with --alter of {what}"),
            )),
            _ => Ok(()),
        }
    }
}
