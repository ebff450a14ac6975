//! Which topics a tool's `--topic` means: a regular expression over whole names, commas standing for "or".
//! (org.apache.kafka.server.util.TopicFilter.IncludeList)

use regex::Regex;

use super::Failure;

pub(super) struct TopicFilter {
    names: Option<Regex>,
    exclude_internal: bool,
}

impl TopicFilter {
    /// `None` lets every name through.
    pub(super) fn of(
        expression: Option<&str>,
        exclude_internal: bool,
    ) -> Result<TopicFilter, Failure> {
        let names = expression.map(|expression| {
            let either = expression
                .trim()
                .trim_matches(['"', '\''])
                .replace(' ', "")
                .replace(',', "|");
            Regex::new(&format!("^(?:{either})$"))
                .map_err(|error| Failure::new(format!("{expression} is an invalid regex: {error}")))
        });
        Ok(TopicFilter {
            names: names.transpose()?,
            exclude_internal,
        })
    }

    pub(super) fn admits(&self, name: &str, internal: bool) -> bool {
        self.names.as_ref().is_none_or(|names| names.is_match(name))
            && !(internal && self.exclude_internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_mean_either_and_names_match_whole() {
        let filter = TopicFilter::of(Some("a.*,b"), true).unwrap();
        assert!(filter.admits("abc", false) && filter.admits("b", false));
        assert!(!filter.admits("bc", false) && !filter.admits("a", true));
        assert!(TopicFilter::of(Some("("), false).is_err());
    }
}
