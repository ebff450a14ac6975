//! Who a client is: its name, and how the name of an SSL client follows from its certificate.
//! (KafkaPrincipal, DefaultKafkaPrincipalBuilder, SslPrincipalMapper)

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::{Captures, Regex};
use rustls::pki_types::CertificateDer;

use super::distinguished_name;

/// `User:name`; the default builder knows no other type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPrincipal {
    pub name: Arc<str>,
}

impl KafkaPrincipal {
    /// Of who has not said who they are.
    pub fn anonymous() -> KafkaPrincipal {
        static ANONYMOUS: OnceLock<Arc<str>> = OnceLock::new();
        let name = ANONYMOUS.get_or_init(|| "ANONYMOUS".into());
        KafkaPrincipal { name: name.clone() }
    }
}

impl fmt::Display for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User:{}", self.name)
    }
}

/// A rule of `ssl.principal.mapping.rules` that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("ssl.principal.mapping.rules: Invalid rule: `{rule}`{reason}")]
pub struct InvalidRule {
    rule: String,
    reason: String,
}

/// A certificate to which no name is given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMatchingRule {
    #[error("No rules apply to {0}")]
    NoRule(String),
    #[error("the subject of the certificate cannot be read")]
    Unreadable,
}

/// `ssl.principal.mapping.rules`
#[derive(Clone, Debug)]
pub(super) struct SslPrincipalMapper {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace {
        pattern: Regex,
        /// The same, for the whole of a name.
        whole: Regex,
        replacement: String,
        case: Case,
    },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    AsItIs,
    Lower,
    Upper,
}

impl SslPrincipalMapper {
    pub(super) fn parse(rules: &str) -> Result<SslPrincipalMapper, InvalidRule> {
        let mut rest = rules.trim();
        let mut parsed = Vec::new();
        while !rest.is_empty() {
            let (rule, after) = Rule::parse(rest)?;
            parsed.push(rule);
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(rest) => rest.trim_start(),
                None if after.is_empty() => after,
                None => return Err(invalid(rest, format!(", unmatched substring: `{after}`"))),
            };
        }
        if parsed.is_empty() {
            parsed.push(Rule::Default);
        }
        Ok(SslPrincipalMapper { rules: parsed })
    }

    pub(super) fn principal(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<KafkaPrincipal, NoMatchingRule> {
        let name = distinguished_name::of_subject(certificate).ok_or(NoMatchingRule::Unreadable)?;
        let name = self.name(&name).ok_or(NoMatchingRule::NoRule(name))?;
        Ok(KafkaPrincipal { name: name.into() })
    }

    /// What the first rule that matches makes of a distinguished name.
    fn name(&self, distinguished_name: &str) -> Option<String> {
        let mut rules = self.rules.iter();
        rules.find_map(|rule| rule.apply(distinguished_name))
    }
}

impl Rule {
    /// One rule, and what follows it: `DEFAULT`, or `RULE:pattern/replacement/` with `L` or `U` behind it. A backslash keeps
    /// what follows it from being read as a slash.
    fn parse(text: &str) -> Result<(Rule, &str), InvalidRule> {
        if let Some(rest) = text.strip_prefix("DEFAULT") {
            return Ok((Rule::Default, rest));
        }
        let parts = text.strip_prefix("RULE:").and_then(|body| {
            let (pattern, rest) = up_to_slash(body)?;
            let (replacement, rest) = up_to_slash(rest)?;
            Some((pattern, replacement, rest))
        });
        let (pattern, replacement, rest) = parts.ok_or_else(|| invalid(text, String::new()))?;
        let (case, rest) = match rest.as_bytes().first() {
            Some(b'L') => (Case::Lower, &rest[1..]),
            Some(b'U') => (Case::Upper, &rest[1..]),
            _ => (Case::AsItIs, rest),
        };
        let compile = |pattern: &str| {
            Regex::new(pattern).map_err(|error| invalid(text, format!(": {error}")))
        };
        let rule = Rule::Replace {
            whole: compile(&format!("^(?:{pattern})$"))?,
            pattern: compile(pattern)?,
            replacement: replacement.to_owned(),
            case,
        };
        Ok((rule, rest))
    }

    fn apply(&self, name: &str) -> Option<String> {
        let Rule::Replace {
            pattern,
            whole,
            replacement,
            case,
        } = self
        else {
            return Some(name.to_owned());
        };
        if !whole.is_match(name) {
            return None;
        }
        let replaced = pattern.replace_all(name, |found: &Captures<'_>| fill(replacement, found));
        Some(match case {
            Case::AsItIs => replaced.into_owned(),
            Case::Lower => replaced.to_lowercase(),
            Case::Upper => replaced.to_uppercase(),
        })
    }
}

/// What stands before the next slash that no backslash guards, and what behind it.
fn up_to_slash(text: &str) -> Option<(&str, &str)> {
    let mut guarded = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if guarded => guarded = false,
            b'\\' => guarded = true,
            b'/' => return Some((&text[..at], &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// A replacement as Java's Matcher.appendReplacement reads it: `$1` is a group, as many digits as there are groups for; a
/// backslash takes the meaning off what follows. A number that no group has stays as it is.
/// (SslPrincipalMapper.Rule.escapeLiteralBackReferences)
fn fill(replacement: &str, found: &Captures<'_>) -> String {
    let mut filled = String::new();
    let mut rest = replacement.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\\' => filled.extend(rest.next()),
            '$' => {
                let mut group = None;
                while let Some(digit) = rest.peek().and_then(|digit| digit.to_digit(10)) {
                    let longer = group.unwrap_or(0) * 10 + digit as usize;
                    if longer >= found.len() {
                        break;
                    }
                    group = Some(longer);
                    rest.next();
                }
                match group {
                    Some(group) => filled.push_str(found.get(group).map_or("", |one| one.as_str())),
                    None => filled.push('$'),
                }
            }
            other => filled.push(other),
        }
    }
    filled
}

fn invalid(rule: &str, reason: String) -> InvalidRule {
    InvalidRule {
        rule: rule.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(rules: &str, distinguished_name: &str) -> Option<String> {
        let mapper = SslPrincipalMapper::parse(rules).unwrap();
        mapper.name(distinguished_name)
    }

    /// SslPrincipalMapperTest.testSslPrincipalMapper
    #[test]
    fn names_are_mapped_by_the_first_rule_that_matches() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L, \
                     RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L, \
                     RULE:^cn=(.*?),ou=(.*?),dc=(.*?),dc=(.*?)$/$1@$2/U, \
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U, \
                     DEFAULT";
        for (given, expected) in [
            ("CN=Duke,OU=ServiceUsers,O=Org,C=US", "duke"),
            ("CN=Duke,OU=SME,O=mycp,L=Fulton,ST=MD,C=US", "duke@sme"),
            ("cn=duke,ou=sme,dc=mycp,dc=com", "DUKE@SME"),
            ("cN=duke,OU=JavaSoft,O=Sun Microsystems", "DUKE"),
            (
                "OU=JavaSoft,O=Sun Microsystems,C=US",
                "OU=JavaSoft,O=Sun Microsystems,C=US",
            ),
        ] {
            assert_eq!(name(rules, given).as_deref(), Some(expected));
        }
    }

    /// SslPrincipalMapperTest.testParseRules, testParseInvalidRules
    #[test]
    fn rules_are_read_as_kafka_reads_them() {
        for valid in [
            "DEFAULT",
            "RULE:/",
            "RULE:/test/",
            "RULE:.*?CN=(.*?)\\/x,.*/$1/,DEFAULT",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/L,DEFAULT",
        ] {
            let read = SslPrincipalMapper::parse(valid);
            assert_eq!(read.is_ok(), valid != "RULE:/", "{valid}: {read:?}");
        }
        for invalid in [
            "default",
            "DEFAUL",
            "DEFAULT/L",
            "DEFAULT/U",
            "RULE:CN",
            "RULE:CN=(.*?),OU=ServiceUsers.*/$1",
            "rule:^CN=(.*?),OU=ServiceUsers.*$/$1/",
            "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/LU/",
            "RULE:CN=(.*?),OU=ServiceUsers.*/$1/L/",
            "RULE:CN=(.*?,OU=ServiceUsers.*$/L,RULE:CN=(.*?)$/L",
        ] {
            assert!(SslPrincipalMapper::parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn no_rule_no_name() {
        assert_eq!(name("RULE:^CN=(.*?),O=.*$/$1/", "CN=a,OU=b"), None);
        assert_eq!(name("", "CN=a,OU=b").unwrap(), "CN=a,OU=b");
    }

    #[test]
    fn references_go_by_the_number_of_groups() {
        assert_eq!(name("RULE:^CN=(.*)$/$1$2\\$1x/", "CN=a").unwrap(), "a$2$1x");
        assert_eq!(name("RULE:^CN=(.*)$/$11/", "CN=a").unwrap(), "a1");
    }

    #[test]
    fn who_says_nothing_is_anonymous() {
        assert_eq!(KafkaPrincipal::anonymous().to_string(), "User:ANONYMOUS");
    }
}
