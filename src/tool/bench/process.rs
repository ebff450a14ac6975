//! The CPU time and the memory of a process, as /proc has them: of the broker, to tell what a load costs it, and of this
//! program, to tell whether it was the limit.

use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads.
    pub cpu: Duration,
    /// Resident memory now.
    pub resident_bytes: u64,
    /// The most that it has been.
    pub resident_bytes_max: u64,
}

/// Reads the usage of a process; `None` when there is none with that id, or it is not this user's.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    Some(Usage {
        cpu: Duration::from_nanos(ticks(&stat)?.saturating_mul(1_000_000_000 / ticks_per_second)),
        resident_bytes: kilobytes(&status, "VmRSS:")? * 1024,
        resident_bytes_max: kilobytes(&status, "VmHWM:")? * 1024,
    })
}

/// utime and stime of a line of /proc/PID/stat. The name before them may hold spaces and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_stat_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 12345 1 2";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("42 (cut off) S 1"), None);
        assert_eq!(
            kilobytes("VmHWM:\t  12 kB\nVmRSS:\t  7 kB\n", "VmRSS:"),
            Some(7)
        );
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(usage.resident_bytes_max >= usage.resident_bytes);
    }
}
