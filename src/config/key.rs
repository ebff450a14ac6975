//! What a setting is: its name, type, default and bounds, how it may be changed, and whether Dohle acts on it.
//! The tables in `broker_keys` and `topic_keys` are made of these; `value` checks texts against them.

/// The type of a setting, in the terms of Kafka's ConfigDef.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    String,
    Short,
    Int,
    Long,
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class. Dohle loads none; it knows those that Kafka ships.
    Class,
    /// A text that is never shown.
    Password,
}

impl Kind {
    /// The name as it stands in Kafka's error texts.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::String => "STRING",
            Kind::Short => "SHORT",
            Kind::Int => "INT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// What values a setting takes, beyond its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    Any,
    /// Whole numbers from the first to the second, both included.
    Between(i64, i64),
    /// The same for fractions.
    Within(f64, f64),
    NonEmpty,
    OneOf(&'static [&'static str]),
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list without duplicates and empty entries.
    Distinct {
        /// Whether the list itself may be empty.
        empty: bool,
        /// The entries that are possible; none given: all.
        of: &'static [&'static str],
    },
    /// 1 to 9, or -1 for zlib's default.
    GzipLevel,
    /// `{id}@{host}:{port}`, ...
    QuorumVoters,
    /// `{host}:{port}`, ...
    BootstrapServers,
    /// `*`, or `{partition}:{broker}`, ...
    ThrottledReplicas,
    /// `earliest`, `latest`, `by_duration:{ISO-8601}`
    AutoOffsetReset,
}

/// How a setting of a broker may be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only by a restart.
    ReadOnly,
    /// For one broker at a time.
    PerBroker,
    /// For one broker or for all at once.
    ClusterWide,
}

/// What Dohle makes of a setting that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what Kafka's documentation says.
    Acts,
    /// It is read and checked, and changes nothing so far.
    NotYet,
    /// Ignoring it would leave something unprotected, and nothing acts on it so far: a value other than the
    /// default refuses the start.
    Protects,
    /// It tunes a part that Kafka has and Dohle does not need.
    Moot,
}

/// One line of a table of settings.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// In text form; `None` is Kafka's `null`.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    pub valid: Valid,
    pub update: UpdateMode,
    /// Not part of Kafka's documentation, and not shown by DescribeConfigs.
    pub internal: bool,
    /// Whether Kafka does not have it.
    pub own: bool,
    /// Whether `listener.name.<listener>.<name>` sets it for one listener.
    pub per_listener: bool,
    pub effect: Effect,
    /// For settings of topics and groups: the settings of the broker that give the default, each with the factor
    /// that brings it to this one's unit. The first that is set counts.
    pub broker: &'static [(&'static str, i64)],
}

macro_rules! constructors {
    ($($name:ident: $kind:ident)*) => {
        $(pub(super) const fn $name(name: &'static str, default: &'static str) -> Key {
            Key::of(Kind::$kind, name, Some(default))
        })*
    };
}

constructors! {
    boolean: Boolean
    string: String
    short: Short
    int: Int
    long: Long
    double: Double
    list: List
    class: Class
}

/// A setting without a default.
pub(super) const fn unset(kind: Kind, name: &'static str) -> Key {
    Key::of(kind, name, None)
}

impl Key {
    const fn of(kind: Kind, name: &'static str, default: Option<&'static str>) -> Key {
        Key {
            name,
            kind,
            default,
            required: false,
            valid: Valid::Any,
            update: UpdateMode::ReadOnly,
            internal: false,
            own: false,
            per_listener: false,
            effect: Effect::NotYet,
            broker: &[],
        }
    }

    pub(super) const fn required(self) -> Key {
        Key {
            required: true,
            ..self
        }
    }

    pub(super) const fn valid(self, valid: Valid) -> Key {
        Key { valid, ..self }
    }

    pub(super) const fn min(self, least: i64) -> Key {
        self.valid(Valid::Between(least, i64::MAX))
    }

    pub(super) const fn between(self, least: i64, most: i64) -> Key {
        self.valid(Valid::Between(least, most))
    }

    pub(super) const fn within(self, least: f64, most: f64) -> Key {
        self.valid(Valid::Within(least, most))
    }

    pub(super) const fn one_of(self, texts: &'static [&'static str]) -> Key {
        self.valid(Valid::OneOf(texts))
    }

    /// A list without duplicates.
    pub(super) const fn distinct(self, of: &'static [&'static str]) -> Key {
        self.valid(Valid::Distinct { empty: true, of })
    }

    /// A list without duplicates and with at least one entry.
    pub(super) const fn filled(self, of: &'static [&'static str]) -> Key {
        self.valid(Valid::Distinct { empty: false, of })
    }

    pub(super) const fn per_broker(self) -> Key {
        Key {
            update: UpdateMode::PerBroker,
            ..self
        }
    }

    pub(super) const fn cluster_wide(self) -> Key {
        Key {
            update: UpdateMode::ClusterWide,
            ..self
        }
    }

    pub(super) const fn internal(self) -> Key {
        Key {
            internal: true,
            ..self
        }
    }

    /// Dohle's own, which Kafka's tools are not shown.
    pub(super) const fn own(self) -> Key {
        Key {
            own: true,
            internal: true,
            ..self
        }
    }

    pub(super) const fn per_listener(self) -> Key {
        Key {
            per_listener: true,
            ..self
        }
    }

    pub(super) const fn acts(self) -> Key {
        Key {
            effect: Effect::Acts,
            ..self
        }
    }

    pub(super) const fn protects(self) -> Key {
        Key {
            effect: Effect::Protects,
            ..self
        }
    }

    pub(super) const fn moot(self) -> Key {
        Key {
            effect: Effect::Moot,
            ..self
        }
    }

    pub(super) const fn broker(self, settings: &'static [(&'static str, i64)]) -> Key {
        Key {
            broker: settings,
            ..self
        }
    }

    /// A value that is not shown to anyone.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Kind::Password
    }
}

/// Finds a setting in a table that is in order of the names.
pub fn find(keys: &'static [Key], name: &str) -> Option<usize> {
    keys.binary_search_by(|key| key.name.cmp(name)).ok()
}

/// The place of a setting in its table, found while the program is compiled: a wrong name or type does not compile.
pub(super) const fn index_of(keys: &[Key], kind: Kind, name: &str) -> usize {
    let mut at = 0;
    while at < keys.len() {
        if same(keys[at].name, name) {
            assert!(
                keys[at].kind as u8 == kind as u8,
                "the setting has another type"
            );
            return at;
        }
        at += 1;
    }
    panic!("no such setting")
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
