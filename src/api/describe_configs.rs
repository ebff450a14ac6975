//! DescribeConfigs (32), versions 1–4: the settings of topics, brokers, brokers' loggers, groups and client-metrics
//! subscriptions: what each comes to, and where that is said. (ConfigHelper)
//!
//! What is served as documentation is said by our table: type, bounds, default. Kafka's text is its own.
//!
//! | version | adds                                                                         |
//! |---------|------------------------------------------------------------------------------|
//! | 1       | synonyms: every place that gives a value (KIP-226)                           |
//! | 3       | type and documentation                                                       |

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::cluster::View;
use super::{Api, Context, Reply, log_levels};
use crate::config::{
    BROKER_KEYS, CLIENT_METRICS_KEYS, DYNAMIC_ONLY_KEYS, GROUP_KEYS, Key, Kind, TOPIC_KEYS,
    UpdateMode, Valid, base_name, find,
};
use crate::error_code::ErrorCode;
use crate::loggers;
use crate::messages::describe_configs_request::DescribeConfigsResource;
use crate::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::messages::{DescribeConfigsRequest, DescribeConfigsResponse, StrBytes, text};
use crate::metadata::{
    BrokerValues, Effective, Resource, ResourceKind, Source, Synonym, Values, canonical,
    effective_topic_value, validate_name,
};

pub(super) struct DescribeConfigs;

impl Api for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    fn handle(
        ctx: &mut Context<'_>,
        request: DescribeConfigsRequest,
    ) -> Reply<DescribeConfigsResponse> {
        let image = ctx.broker.metadata().image();
        let view = View {
            image: &image,
            settings: ctx.broker.settings(),
            cluster_id: ctx.broker.cluster_id(),
            listener: &ctx.session.listener,
        };
        Reply::Now(answer(view, &request))
    }
}

pub(super) fn answer(view: View<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let is_unknown = |resource: &DescribeConfigsResource| {
        matches!(
            ResourceKind::of(resource.resource_type),
            ResourceKind::Other(_)
        )
    };
    if request.resources.iter().any(is_unknown) {
        return error(request, ErrorCode::InvalidRequest, MALFORMED);
    }
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(view, resource) {
            Ok(settings) => {
                let names = resource.configuration_keys.as_deref().unwrap_or_default();
                let is_asked =
                    |name: &str| names.is_empty() || names.iter().any(|asked| **asked == *name);
                let settings = settings
                    .into_iter()
                    .filter(|setting| is_asked(&setting.name));
                let configs = settings.map(|setting| setting.result(request));
                result
                    .with_error_message(Some(text("")))
                    .with_configs(configs.collect())
            }
            Err((code, message)) => result
                .with_error_code(code as i16)
                .with_error_message(Some(text(&message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// Errors.INVALID_REQUEST
const MALFORMED: &str = "This most likely occurs because of a request being malformed by the client library or the \
                         message was sent to an incompatible broker. See the broker logs for more details.";

/// A response that says of every resource that the request failed.
fn error(
    request: &DescribeConfigsRequest,
    code: ErrorCode,
    message: &str,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        DescribeConfigsResult::default()
            .with_error_code(code as i16)
            .with_error_message(Some(text(message)))
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// One setting as it is answered.
struct Setting {
    name: Arc<str>,
    value: Option<Arc<str>>,
    read_only: bool,
    is_sensitive: bool,
    source: Source,
    synonyms: Vec<Synonym>,
    kind: i8,
    documentation: Documentation,
}

impl Setting {
    fn of(effective: Effective, read_only: bool) -> Setting {
        let Effective {
            key,
            value,
            source,
            synonyms,
        } = effective;
        let kind = kind_code(key.kind);
        let is_sensitive = key.is_sensitive();
        Setting {
            name: key.name.into(),
            value,
            read_only,
            is_sensitive,
            source,
            synonyms,
            kind,
            documentation: Documentation::Of(key),
        }
    }

    fn result(self, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
        let shown = |value: &str| (!self.is_sensitive).then(|| text(value));
        let synonyms = self
            .synonyms
            .iter()
            .filter(|_| request.include_synonyms)
            .map(|synonym| {
                DescribeConfigsSynonym::default()
                    .with_name(text(&synonym.name))
                    .with_value(shown(&synonym.value))
                    .with_source(synonym.source.code())
            });
        DescribeConfigsResourceResult::default()
            .with_name(text(&self.name))
            .with_value(self.value.as_deref().and_then(shown))
            .with_read_only(self.read_only)
            .with_config_source(self.source.code())
            .with_is_sensitive(self.is_sensitive)
            .with_synonyms(synonyms.collect())
            .with_config_type(self.kind)
            .with_documentation(self.documentation.said(request))
    }
}

/// What is said of a setting to those who ask for documentation.
enum Documentation {
    None,
    /// Of a logger, and then to everybody.
    Empty,
    Of(&'static Key),
}

impl Documentation {
    fn said(&self, request: &DescribeConfigsRequest) -> Option<StrBytes> {
        match self {
            Documentation::Empty => Some(text("")),
            Documentation::Of(key) if request.include_documentation => {
                Some(text(documentation(key)))
            }
            Documentation::Of(_) | Documentation::None => None,
        }
    }
}

/// What the table says of a setting.
fn documentation(key: &Key) -> String {
    let bounds = match key.valid {
        Valid::Between(least, i64::MAX) => format!(", at least {least}"),
        Valid::Between(least, most) => format!(", from {least} to {most}"),
        Valid::Within(least, most) => format!(", from {least} to {most}"),
        Valid::OneOf(of) | Valid::OneOfIgnoringCase(of) => format!(", one of {}", of.join(", ")),
        Valid::Distinct { of, .. } if !of.is_empty() => format!(", of {}", of.join(", ")),
        _ => String::new(),
    };
    let default = match key.default {
        Some("") => "empty",
        Some(default) => default,
        None => "none",
    };
    format!(
        "A value of type {}{bounds}. Default: {default}.",
        key.kind.name()
    )
}

/// DescribeConfigsResponse.ConfigType
fn kind_code(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}

type Described = Result<Vec<Setting>, (ErrorCode, String)>;

fn describe(view: View<'_>, resource: &DescribeConfigsResource) -> Described {
    let name: &str = &resource.resource_name;
    let invalid = |message: &str| Err((ErrorCode::InvalidRequest, message.to_owned()));
    match ResourceKind::of(resource.resource_type) {
        ResourceKind::Topic => topic(view, name),
        ResourceKind::Broker => broker(view, name),
        ResourceKind::BrokerLogger => loggers(view, name),
        ResourceKind::ClientMetrics if name.is_empty() => {
            invalid("Client metrics subscription name must not be empty")
        }
        ResourceKind::ClientMetrics => Ok(client_metrics(view, name)),
        ResourceKind::Group if name.is_empty() => invalid("Group name must not be empty"),
        ResourceKind::Group => Ok(group(view, name)),
        ResourceKind::Other(_) => invalid(MALFORMED),
    }
}

fn given(view: View<'_>, resource: Resource) -> Option<Arc<Values>> {
    view.image.configs().of(&resource).cloned()
}

fn broker_values(view: View<'_>) -> BrokerValues<'_> {
    BrokerValues::new(view.image.configs(), view.settings, view.settings.node_id())
}

fn topic(view: View<'_>, name: &str) -> Described {
    validate_name(name).map_err(|reason| (ErrorCode::InvalidTopicException, reason))?;
    if view.image.topics().by_name(name).is_none() {
        return Err((ErrorCode::UnknownTopicOrPartition, String::new()));
    }
    let own = given(view, Resource::topic(name));
    let settings = TOPIC_KEYS.iter().filter(|key| !key.internal).map(|key| {
        let mut effective = effective_topic_value(broker_values(view), own.as_deref(), key);
        // Kafka tells of the settings of the broker from the one on that has the same unit, though it heeds the others.
        let own_count = effective.synonyms.len().min(usize::from(
            own.as_ref().is_some_and(|own| own.contains_key(key.name)),
        ));
        let first = key.broker.first().map_or("", |(name, _)| name);
        let before = effective.synonyms[own_count..]
            .iter()
            .take_while(|synonym| synonym.name != first)
            .count();
        effective.synonyms.drain(own_count..own_count + before);
        effective.source = effective
            .synonyms
            .first()
            .map_or(Source::Default, |first| first.source);
        Setting::of(effective, false)
    });
    Ok(settings.collect())
}

/// One broker, which has to be this one, or with an empty name what was given to all brokers.
fn broker(view: View<'_>, name: &str) -> Described {
    let values = broker_values(view);
    if name.is_empty() {
        let all = given(view, Resource::all_brokers());
        let names = all.as_deref().into_iter().flat_map(|values| values.keys());
        let settings = names.map(|name| {
            let mut synonyms = match broker_key(name) {
                Some(key) => values.synonyms_of(key.name),
                None => values.foreign_synonyms(name),
            };
            synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
            broker_setting(name, synonyms)
        });
        return Ok(settings.collect());
    }
    check_node(view, name, "expected {} or empty string, but received")?;
    let known = BROKER_KEYS.iter().filter(|key| !key.internal).map(|key| {
        let mut synonyms = values.synonyms_of(key.name);
        let is_given = synonyms
            .first()
            .is_some_and(|first| first.source != Source::Default);
        if key.name == "broker.id" && !is_given {
            // The older name of node.id.
            let synonym = Synonym {
                name: key.name.into(),
                value: view.settings.node_id().to_string().into(),
                source: Source::StaticBroker,
            };
            synonyms.insert(0, synonym);
        }
        broker_setting(key.name, synonyms)
    });
    let foreign = values.foreign_names().into_iter().map(|name| {
        let mut synonyms = values.foreign_synonyms(name);
        if let Some(key) = listener_key(name) {
            synonyms.extend(values.synonyms_of(key.name));
        }
        broker_setting(name, synonyms)
    });
    Ok(known.chain(foreign).collect())
}

/// A setting of brokers with all that gives it a value. What nobody knows may be anything, a password too: it is not
/// shown.
fn broker_setting(name: &str, synonyms: Vec<Synonym>) -> Setting {
    let key = broker_key(name);
    let shape = key.or_else(|| listener_key(name));
    let source = synonyms
        .first()
        .map_or(Source::Default, |first| first.source);
    let value = shape
        .zip(synonyms.first())
        .map(|(key, first)| canonical(key, &first.value));
    Setting {
        name: name.into(),
        value,
        read_only: key.is_none_or(is_read_only),
        is_sensitive: shape.is_none_or(Key::is_sensitive),
        source,
        synonyms,
        kind: shape.map_or(0, |key| kind_code(key.kind)),
        documentation: shape.map_or(Documentation::None, Documentation::Of),
    }
}

fn broker_key(name: &str) -> Option<&'static Key> {
    [BROKER_KEYS, DYNAMIC_ONLY_KEYS]
        .into_iter()
        .find_map(|keys| Some(&keys[find(keys, name)?]))
}

/// The setting that a name gives for one listener, be it for one mechanism of that.
fn listener_key(name: &str) -> Option<&'static Key> {
    let base = base_name(name)?;
    let of_mechanism = || {
        MECHANISM_SETTINGS
            .into_iter()
            .find(|setting| base.ends_with(setting))
    };
    broker_key(base).or_else(|| broker_key(of_mechanism()?))
}

/// What may be given for one mechanism of a listener. (DynamicBrokerConfig.ListenerMechanismConfigs)
const MECHANISM_SETTINGS: [&str; 5] = [
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.login.class",
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
];

fn is_read_only(key: &Key) -> bool {
    key.update == UpdateMode::ReadOnly
}

/// A request for a broker has to come to that broker.
fn check_node(view: View<'_>, name: &str, expected: &str) -> Result<(), (ErrorCode, String)> {
    let own = view.settings.node_id();
    let message = match name.parse::<i32>() {
        Ok(id) if id == own.0 => return Ok(()),
        Ok(id) => format!(
            "Unexpected broker id, {} {id}",
            expected.replace("{}", &own.to_string())
        ),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err((ErrorCode::InvalidRequest, message))
}

/// Every logger at the level that counts for it, its own or one above.
fn loggers(view: View<'_>, name: &str) -> Described {
    check_node(view, name, "expected {} but received")?;
    let settings = loggers::NAMES.iter().map(|name| Setting {
        name: (*name).into(),
        value: Some(log_levels::name(loggers::level(name)).into()),
        read_only: false,
        is_sensitive: false,
        source: Source::DynamicBrokerLogger,
        synonyms: Vec::new(),
        kind: 0,
        documentation: Documentation::Empty,
    });
    Ok(settings.collect())
}

/// A group need not be there to have settings.
fn group(view: View<'_>, name: &str) -> Vec<Setting> {
    let own = given(view, Resource::group(name));
    let settings = GROUP_KEYS.iter().filter(|key| !key.internal).map(|key| {
        let mut synonyms = match key.broker.is_empty() {
            true => default_synonym(key).into_iter().collect(),
            false => broker_values(view).synonyms(key.broker.iter().map(|(name, _)| *name)),
        };
        if let Some(value) = own.as_deref().and_then(|values| values.get(key.name)) {
            synonyms.insert(
                0,
                Synonym {
                    name: key.name.into(),
                    value: value.clone(),
                    source: Source::Group,
                },
            );
        }
        let source = synonyms
            .first()
            .map_or(Source::Default, |first| first.source);
        let value = synonyms.first().map(|first| canonical(key, &first.value));
        Setting::of(
            Effective {
                key,
                value,
                source,
                synonyms,
            },
            false,
        )
    });
    settings.collect()
}

fn default_synonym(key: &Key) -> Option<Synonym> {
    Some(Synonym {
        name: key.name.into(),
        value: key.default?.into(),
        source: Source::Default,
    })
}

/// Nor need a subscription.
fn client_metrics(view: View<'_>, name: &str) -> Vec<Setting> {
    let own = given(view, Resource::client_metrics(name));
    let settings = CLIENT_METRICS_KEYS.iter().map(|key| {
        let own = own.as_deref().and_then(|values| values.get(key.name));
        let synonyms = own.map(|value| Synonym {
            name: key.name.into(),
            value: value.clone(),
            source: Source::ClientMetrics,
        });
        let source = synonyms
            .as_ref()
            .map_or(Source::Default, |synonym| synonym.source);
        let value = own
            .map(|value| canonical(key, value))
            .or_else(|| key.default.map(Arc::from));
        Setting::of(
            Effective {
                key,
                value,
                source,
                synonyms: synonyms.into_iter().collect(),
            },
            false,
        )
    });
    settings.collect()
}
