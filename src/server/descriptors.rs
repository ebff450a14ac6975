//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// The limit that holds now; `None` is no limit.
pub(super) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Takes as many as an administrator allows, as a JVM does (`-XX:+MaxFDLimit`): connections and segments need one each.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(from = ?current, to = ?maximum, "limit of open files"),
        Err(error) => debug!(limit = ?current, "the limit of open files stays: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_taken() {
        raise_descriptor_limit();
        assert_eq!(limit(), getrlimit(Resource::Nofile).maximum);
    }
}
