//! The CPU time and the memory of a process, as /proc has them: of the broker, to tell what a load costs it, and of this
//! program, to tell whether it was the limit.

use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time of all its threads, those that have ended too; in ticks of 10 ms.
    pub cpu: Duration,
    /// The same to the nanosecond, of the threads that there are; nothing where the system does not tell.
    pub cpu_of_threads: Duration,
    /// Resident memory now.
    pub resident_bytes: u64,
    /// The most that it has been.
    pub resident_bytes_max: u64,
}

impl Usage {
    /// CPU time since an earlier reading: of the threads, unless one that has ended takes much of it with it.
    pub(super) fn cpu_since(&self, earlier: &Usage) -> Duration {
        let ticks = self.cpu.saturating_sub(earlier.cpu);
        let fine = self.cpu_of_threads.checked_sub(earlier.cpu_of_threads);
        match fine.filter(|_| !self.cpu_of_threads.is_zero()) {
            Some(fine) if fine.abs_diff(ticks) <= 2 * tick() => fine,
            _ => ticks,
        }
    }
}

/// Reads the usage of a process; `None` when there is none with that id, or it is not this user's.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: Duration::from_nanos(ticks(&stat)?.saturating_mul(tick().as_nanos() as u64)),
        cpu_of_threads: cpu_of_threads(pid).unwrap_or_default(),
        resident_bytes: kilobytes(&status, "VmRSS:")? * 1024,
        resident_bytes_max: kilobytes(&status, "VmHWM:")? * 1024,
    })
}

fn tick() -> Duration {
    Duration::from_nanos(1_000_000_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// The first number of each thread's schedstat: nanoseconds on a CPU. `None` in a kernel without them.
fn cpu_of_threads(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end meanwhile.
        let Ok(schedstat) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        let first = schedstat.split_ascii_whitespace().next()?;
        nanos += first.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
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
    fn the_finer_clock_counts_while_threads_stay() {
        let usage = |ms, of_threads| Usage {
            cpu: Duration::from_millis(ms),
            cpu_of_threads: Duration::from_micros(of_threads),
            ..Usage::default()
        };
        let since = |before: Usage, after: Usage| after.cpu_since(&before).as_micros();
        assert_eq!(since(usage(100, 99_000), usage(150, 153_500)), 54_500);
        // A thread that had used 80 ms has ended.
        assert_eq!(since(usage(100, 99_000), usage(150, 73_500)), 50_000);
        assert_eq!(since(usage(100, 99_000), usage(250, 173_500)), 150_000);
        // No such clock.
        assert_eq!(since(usage(100, 0), usage(110, 0)), 10_000);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(usage.resident_bytes_max >= usage.resident_bytes);
    }
}
