//! Rests between tries of what may succeed later.

use std::time::Duration;

/// Tries before it is given up, about 30 s in all.
const TRIES_MAX: u32 = 36;
const REST_MAX: Duration = Duration::from_secs(1);

/// Counts tries, resting longer after each.
#[derive(Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Rests; `false` once it has been tried often enough.
    pub async fn wait(&mut self) -> bool {
        self.tries += 1;
        let rest = Duration::from_millis(20 << self.tries.min(6)).min(REST_MAX);
        tokio::time::sleep(rest).await;
        self.tries < TRIES_MAX
    }
}
