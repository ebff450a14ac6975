//! Listeners, voters and bootstrap servers: their text forms, and which security protocol a listener speaks.
//! (SocketServerConfigs.listenerListToEndPoints, QuorumConfig.parseVoterConnections)

use std::collections::BTreeMap;
use std::fmt;

use super::value::ConfigException;
use crate::ids::NodeId;

/// How a listener's connections are protected and authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    /// Kafka's number of it, as it stands in broker registrations.
    pub fn id(self) -> i16 {
        match self {
            SecurityProtocol::Plaintext => 0,
            SecurityProtocol::Ssl => 1,
            SecurityProtocol::SaslPlaintext => 2,
            SecurityProtocol::SaslSsl => 3,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }

    pub fn parse(name: &str) -> Option<SecurityProtocol> {
        match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Some(SecurityProtocol::Plaintext),
            "SSL" => Some(SecurityProtocol::Ssl),
            "SASL_PLAINTEXT" => Some(SecurityProtocol::SaslPlaintext),
            "SASL_SSL" => Some(SecurityProtocol::SaslSsl),
            _ => None,
        }
    }
}

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// In upper case.
    pub name: String,
    pub protocol: SecurityProtocol,
    /// A name or an address, without brackets; empty: every interface.
    pub host: String,
    /// 0 asks the system for a free one.
    pub port: u16,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listener {
            name, host, port, ..
        } = self;
        if host.contains(':') {
            write!(f, "{name}://[{host}]:{port}")
        } else {
            write!(f, "{name}://{host}:{port}")
        }
    }
}

/// One entry of `controller.quorum.voters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub id: NodeId,
    pub host: String,
    pub port: u16,
}

/// Listener name (upper case) to protocol.
pub(super) type ProtocolMap = BTreeMap<String, SecurityProtocol>;

/// `listener.security.protocol.map`.
pub(super) fn parse_protocol_map(text: &str) -> Result<ProtocolMap, ConfigException> {
    let mut map = ProtocolMap::new();
    for entry in text
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
    {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(ConfigException(format!(
                "Error parsing configuration property 'listener.security.protocol.map': {entry} has no `:`"
            )));
        };
        let protocol = protocol.trim();
        let Some(protocol) = SecurityProtocol::parse(protocol) else {
            return Err(ConfigException(format!(
                "Invalid security protocol `{protocol}` defined in listener.security.protocol.map"
            )));
        };
        map.insert(name.trim().to_uppercase(), protocol);
    }
    Ok(map)
}

/// A list of listeners, each with a name and, unless they are told apart by IPv4 and IPv6, a port of its own. Ports may
/// repeat where `distinct_ports` is off, as in `advertised.listeners`.
pub(super) fn parse_listeners(
    list: &[String],
    protocols: &ProtocolMap,
    distinct_ports: bool,
) -> Result<Vec<Listener>, ConfigException> {
    let refuse = |reason: String| {
        let list = list.join(", ");
        ConfigException(format!(
            "Error creating broker listeners from '[{list}]': {reason}"
        ))
    };
    let mut listeners: Vec<Listener> = Vec::with_capacity(list.len());
    for entry in list {
        let Some((name, host, port)) = split_listener(entry) else {
            return Err(refuse(format!(
                "Unable to parse {entry} to a broker endpoint"
            )));
        };
        let name = name.to_uppercase();
        let Some(&protocol) = protocols.get(&name) else {
            return Err(refuse(format!(
                "No security protocol defined for listener {name}"
            )));
        };
        listeners.push(Listener {
            name,
            protocol,
            host,
            port,
        });
    }
    for (at, listener) in listeners.iter().enumerate() {
        for other in &listeners[..at] {
            let all = list.join(", ");
            if listener.name == other.name {
                return Err(refuse(format!(
                    "Each listener must have a different name, listeners: [{all}]"
                )));
            }
            if !distinct_ports || listener.port != other.port || listener.port == 0 {
                continue;
            }
            let port = listener.port;
            match (is_ipv6(&listener.host), is_ipv6(&other.host)) {
                (Some(one), Some(two)) if one != two => {}
                (Some(_), Some(_)) => {
                    return Err(refuse(format!(
                        "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                         listeners: [{all}], port: {port}"
                    )));
                }
                _ => {
                    return Err(refuse(format!(
                        "Each listener must have a different port, listeners: [{all}]"
                    )));
                }
            }
        }
    }
    Ok(listeners)
}

/// Whether a host is an IPv6 address; `None` when it is no address.
fn is_ipv6(host: &str) -> Option<bool> {
    host.parse::<std::net::IpAddr>()
        .ok()
        .map(|address| address.is_ipv6())
}

/// `NAME://host:port` or `NAME://[address]:port`.
fn split_listener(entry: &str) -> Option<(&str, String, u16)> {
    let (name, rest) = entry.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let possible = |byte: u8| byte.is_ascii_alphanumeric() || b"-%._:".contains(&byte);
    if name.is_empty() || !host.bytes().all(possible) {
        return None;
    }
    Some((name, host.to_owned(), port.parse().ok()?))
}

/// `controller.quorum.voters`; an id that is repeated counts once, with its last address.
pub(super) fn parse_voters(list: &[String]) -> Result<Vec<Voter>, ConfigException> {
    let mut voters: BTreeMap<i32, Voter> = BTreeMap::new();
    for entry in list {
        const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
        let Some((id, address)) = entry
            .split_once('@')
            .filter(|(_, address)| !address.contains('@'))
        else {
            return Err(ConfigException(format!(
                "Invalid configuration value for controller.quorum.voters. {FORM}"
            )));
        };
        let id: i32 = id.parse().map_err(|_| {
            ConfigException(format!("Failed to parse voter ID as an integer from {id}"))
        })?;
        let Some((host, port)) = split_address(address) else {
            return Err(ConfigException(format!(
                "Failed to parse host name from entry {entry} for the configuration controller.quorum.voters. {FORM}"
            )));
        };
        voters.insert(
            id,
            Voter {
                id: NodeId(id),
                host,
                port,
            },
        );
    }
    Ok(voters.into_values().collect())
}

/// `controller.quorum.bootstrap.servers` as hosts and ports.
pub(super) fn parse_bootstrap_servers(
    list: &[String],
) -> Result<Vec<(String, u16)>, ConfigException> {
    let parse = |entry: &String| {
        split_address(entry).ok_or_else(|| {
            ConfigException(format!(
                "Failed to parse host name from {entry} for the configuration controller.quorum.bootstrap.servers. \
                 Each entry should be in the form \"{{host}}:{{port}}\""
            ))
        })
    };
    list.iter().map(parse).collect()
}

pub(super) fn check_voters(list: &[String]) -> Result<(), ConfigException> {
    parse_voters(list).map(drop)
}

pub(super) fn check_bootstrap_servers(list: &[String]) -> Result<(), ConfigException> {
    parse_bootstrap_servers(list).map(drop)
}

/// `host:port` or `[address]:port`.
fn split_address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => host,
    };
    if host.is_empty() {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}
