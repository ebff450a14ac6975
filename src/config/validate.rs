//! Checks of settings against each other, in Kafka's order and words (KafkaConfig.validateValues and the coordinators'
//! configs; `testdata/settings.tsv` holds its answers).

use super::broker_keys::BROKER_KEYS;
use super::key;
use super::listeners::{Listener, SecurityProtocol};
use super::settings::{Role, Settings};
use super::value::{ConfigException, Value};

/// What is wrong, with the setting to look at.
type Check = Result<(), (&'static str, ConfigException)>;

fn require(holds: bool, name: &'static str, text: impl FnOnce() -> String) -> Check {
    if holds {
        Ok(())
    } else {
        Err((name, ConfigException(text())))
    }
}

pub(super) fn check(settings: &Settings) -> Check {
    require(
        settings.int("broker.id") == settings.int("node.id"),
        "node.id",
        || "You must set `node.id` to the same value as `broker.id`.".to_owned(),
    )?;
    check_coordinators(settings)?;
    check_log(settings)?;
    check_replication(settings)?;
    check_roles(settings)?;
    check_listeners(settings)?;
    check_connections(settings)
}

fn check_coordinators(settings: &Settings) -> Check {
    for prefix in ["group.consumer", "group.share", "group.streams"] {
        for name in [
            "heartbeat.interval.ms",
            "session.timeout.ms",
            "assignment.interval.ms",
        ] {
            let of = |bound: &str| {
                let name = format!("{prefix}{bound}.{name}");
                (settings.int(&name), name)
            };
            let (least, most, value) = (of(".min"), of(".max"), of(""));
            at_least(&most, &least)?;
            at_least(&value, &least)?;
            require(value.0 <= most.0, static_name(&value.1), || {
                format!("{} must be less than or equal to {}", value.1, most.1)
            })?;
        }
        let [heartbeat, session] =
            ["heartbeat.interval.ms", "session.timeout.ms"].map(|name| format!("{prefix}.{name}"));
        require(
            settings.int(&heartbeat) < settings.int(&session),
            static_name(&heartbeat),
            || format!("{heartbeat} must be less than {session}"),
        )?;
    }
    for name in [
        "delivery.count.limit",
        "record.lock.duration.ms",
        "partition.max.record.locks",
    ] {
        let of = |bound: &str| {
            let name = format!("group.share.{bound}{name}");
            (settings.int(&name), name)
        };
        at_least(&of("max."), &of(""))?;
        at_least(&of(""), &of("min."))?;
    }
    let protocols = settings.list("group.coordinator.rebalance.protocols");
    require(
        protocols.iter().any(|one| one == "classic"),
        "group.coordinator.rebalance.protocols",
        || "Disabling the 'classic' protocol is not supported.".to_owned(),
    )?;
    for name in ["group.consumer.assignors", "group.share.assignors"] {
        let known = |one: &&String| !matches!(one.as_str(), "uniform" | "range" | "simple");
        let foreign = settings.list(name).iter().find(known);
        require(foreign.is_none(), name, || {
            format!("Class {} cannot be found", foreign.map_or("", |one| one))
        })?;
    }
    let codec = settings.int("offsets.topic.compression.codec");
    require(
        (0..=4).contains(&codec),
        "offsets.topic.compression.codec",
        || format!("Unknown compression type id: {codec}"),
    )
}

fn at_least(value: &(i32, String), least: &(i32, String)) -> Check {
    require(value.0 >= least.0, static_name(&value.1), || {
        format!("{} must be greater than or equal to {}", value.1, least.1)
    })
}

/// The name as it stands in the table.
fn static_name(name: &str) -> &'static str {
    key::find(BROKER_KEYS, name).map_or("", |at| BROKER_KEYS[at].name)
}

fn check_log(settings: &Settings) -> Check {
    let roll = settings.either("log.roll.ms", "log.roll.hours");
    require(roll >= 1, "log.roll.ms", || {
        "log.roll.ms must be greater than or equal to 1".to_owned()
    })?;
    let jitter = settings.either("log.roll.jitter.ms", "log.roll.jitter.hours");
    require(jitter >= 0, "log.roll.jitter.ms", || {
        "log.roll.jitter.ms must be greater than or equal to 0".to_owned()
    })?;
    let retention = [
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ]
    .into_iter()
    .find_map(|name| {
        settings
            .value(name)
            .and_then(Value::as_whole_number)
            .map(|value| (name, value))
    });
    if let Some((name, 0)) = retention {
        let text = "log.retention.ms must be unlimited (-1) or, greater than or equal to 1";
        return Err((name, ConfigException(text.to_owned())));
    }
    let cordoned = settings.list("cordoned.log.dirs");
    let all = cordoned.iter().any(|dir| dir == "*");
    require(!all || cordoned.len() == 1, "cordoned.log.dirs", || {
        "When cordoned.log.dirs is set to *, it must not contain other values".to_owned()
    })?;
    let is_foreign = |dir: &&String| {
        !all && !settings
            .log_dirs()
            .iter()
            .any(|one| one.to_str() == Some(dir.as_str()))
    };
    let foreign: Vec<&str> = cordoned
        .iter()
        .filter(is_foreign)
        .map(String::as_str)
        .collect();
    require(foreign.is_empty(), "cordoned.log.dirs", || {
        format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
            foreign.join(", ")
        )
    })?;
    let threads = i64::from(settings.int("log.cleaner.threads")).max(1);
    let buffer = settings.long("log.cleaner.dedupe.buffer.size");
    require(
        buffer / threads > 1024 * 1024,
        "log.cleaner.dedupe.buffer.size",
        || "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned(),
    )
}

fn check_replication(settings: &Settings) -> Check {
    let wait = settings.int("replica.fetch.wait.max.ms");
    require(
        settings.int("replica.socket.timeout.ms") >= wait,
        "replica.socket.timeout.ms",
        || {
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
         timeouts"
            .to_owned()
        },
    )?;
    require(
        i64::from(wait) <= settings.long("replica.lag.time.max.ms"),
        "replica.fetch.wait.max.ms",
        || {
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR"
            .to_owned()
        },
    )
}

fn check_roles(settings: &Settings) -> Check {
    let voters: Vec<String> = settings
        .voters()
        .iter()
        .map(|voter| voter.id.to_string())
        .collect();
    require(
        !voters.is_empty() || !settings.bootstrap_servers().is_empty(),
        "controller.quorum.voters",
        || {
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap \
         controllers or controller.quorum.voters must contain a parseable set of controllers."
            .to_owned()
        },
    )?;
    let node_id = settings.node_id();
    let votes = settings.voters().iter().any(|voter| voter.id == node_id);
    let set = || format!("controller.quorum.voters=Set({})", voters.join(", "));
    if settings.has_role(Role::Controller) {
        require(
            voters.is_empty() || votes,
            "controller.quorum.voters",
            || {
                format!(
                    "If process.roles contains the 'controller' role, the node id {node_id} must be included in the set of \
                 voters {}",
                    set()
                )
            },
        )?;
        return check_controller_listeners(settings);
    }
    require(!votes, "controller.quorum.voters", || {
        format!(
            "If process.roles contains just the 'broker' role, the node id {node_id} must not be included in the set of \
             voters {}",
            set()
        )
    })?;
    require(
        settings.controller_listeners().next().is_none(),
        "controller.listener.names",
        || {
            "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running \
         KRaft with just the broker role"
            .to_owned()
        },
    )?;
    require(
        !settings.boolean("controller.quorum.auto.join.enable"),
        "controller.quorum.auto.join.enable",
        || {
            "controller.quorum.auto.join.enable is only supported when process.roles contains the 'controller' role."
            .to_owned()
        },
    )
}

fn check_controller_listeners(settings: &Settings) -> Check {
    if !settings.has_role(Role::Broker) {
        require(
            settings.broker_listeners().next().is_none(),
            "listeners",
            || {
                "The listeners config must only contain KRaft controller listeners from controller.listener.names when \
             process.roles=controller"
                .to_owned()
            },
        )?;
        let given = settings.location("inter.broker.listener.name").is_some();
        let clash =
            given && settings.is_controller_listener(&settings.inter_broker_listener_name());
        require(!clash, "inter.broker.listener.name", || {
            "controller.listener.names must not contain an explicitly set inter.broker.listener.name configuration \
             value when process.roles=controller'"
                .to_owned()
        })?;
    }
    require(
        settings.controller_listeners().next().is_some(),
        "controller.listener.names",
        || {
            "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when \
         running the KRaft controller role"
            .to_owned()
        },
    )?;
    let names = settings.list("controller.listener.names");
    require(
        settings.controller_listeners().count() == names.len(),
        "controller.listener.names",
        || {
            "controller.listener.names must only contain values appearing in the 'listeners' configuration when running the \
         KRaft controller role"
            .to_owned()
        },
    )
}

fn check_listeners(settings: &Settings) -> Check {
    if settings.has_role(Role::Broker) {
        require(
            settings.advertised_broker_listeners().next().is_some(),
            "advertised.listeners",
            || {
                "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?"
                .to_owned()
            },
        )?;
        let name = settings.inter_broker_listener_name();
        let names: Vec<&str> = settings
            .advertised_broker_listeners()
            .map(|one| one.name.as_str())
            .collect();
        require(
            names.contains(&name.as_str()),
            "inter.broker.listener.name",
            || {
                format!(
                    "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
                 based on currently configured listeners are {}",
                    names.join(",")
                )
            },
        )?;
    }
    let listeners = joined(settings.listeners());
    let bound = |one: &Listener| {
        settings
            .listeners()
            .iter()
            .any(|listener| listener.name == one.name)
    };
    require(
        settings.advertised_listeners().iter().all(bound),
        "advertised.listeners",
        || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
             {}. The valid options based on the current configuration are {listeners}",
                joined(settings.advertised_listeners())
            )
        },
    )?;
    let anywhere = settings
        .advertised_listeners()
        .iter()
        .any(|one| one.host == "0.0.0.0");
    require(!anywhere, "advertised.listeners", || {
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.".to_owned()
    })?;
    for listener in settings.listeners() {
        if listener.protocol == SecurityProtocol::Ssl {
            let of_listener = settings.ssl(&listener.name);
            of_listener.map_err(|exception| ("listeners", exception))?;
        }
    }
    check_early_start(settings)
}

fn check_early_start(settings: &Settings) -> Check {
    for name in settings.list("early.start.listeners") {
        let known = settings
            .listeners()
            .iter()
            .any(|one| one.name.eq_ignore_ascii_case(name));
        require(
            known || settings.is_controller_listener(name),
            "early.start.listeners",
            || {
                format!(
                    "early.start.listeners contains listener {}, but this is not contained in listeners or \
                 controller.listener.names",
                    name.to_uppercase()
                )
            },
        )?;
    }
    Ok(())
}

fn joined(listeners: &[Listener]) -> String {
    listeners
        .iter()
        .map(|one| one.name.as_str())
        .collect::<Vec<_>>()
        .join(",")
}

fn check_connections(settings: &Settings) -> Check {
    let queued = settings.long("queued.max.request.bytes");
    let request = i64::from(settings.socket_request_max_bytes());
    require(
        queued <= 0 || queued >= request,
        "queued.max.request.bytes",
        || {
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes"
                .to_owned()
        },
    )?;
    let overrides = settings
        .string("max.connections.per.ip.overrides")
        .unwrap_or_default();
    require(
        settings.max_connections_per_ip() > 0 || !overrides.is_empty(),
        "max.connections.per.ip",
        || {
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.".to_owned()
        },
    )?;
    for entry in overrides
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let limit = entry.rsplit_once(':').map(|(_, limit)| limit.trim());
        require(
            limit.is_some_and(|limit| limit.parse::<i32>().is_ok()),
            "max.connections.per.ip.overrides",
            || {
                format!(
                    "Error parsing configuration property 'max.connections.per.ip.overrides': {entry} is not of the form \
                 {{host or address}}:{{limit}}"
                )
            },
        )?;
    }
    let (delay, idle) = (
        settings.int("connection.failed.authentication.delay.ms"),
        settings.connections_max_idle_ms(),
    );
    require(
        idle < 0 || i64::from(delay) < idle,
        "connection.failed.authentication.delay.ms",
        || {
            format!(
                "connection.failed.authentication.delay.ms={delay} should always be less than \
             connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
            )
        },
    )
}
