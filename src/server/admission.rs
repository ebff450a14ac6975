//! Counts the connections of all listeners against `max.connections` and `max.connections.per.ip`, as these are now.
//! (kafka.network.ConnectionQuotas)

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::{CurrentSettings, Settings};

pub(super) struct Connections {
    settings: CurrentSettings,
    limits: Mutex<Limits>,
    counts: Mutex<Counts>,
    /// Told when there may be room again.
    room: Notify,
    next_id: AtomicU64,
}

/// How many connections there may be.
struct Limits {
    all: usize,
    per_ip: usize,
    per_ip_overrides: HashMap<IpAddr, usize>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    per_ip: HashMap<IpAddr, usize>,
}

/// Room for a connection, taken until this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
}

/// A connection that is counted until this is dropped.
pub(super) struct Admitted {
    place: Place,
    ip: IpAddr,
}

impl Connections {
    pub(super) fn new(settings: CurrentSettings) -> Connections {
        Connections {
            limits: Mutex::new(Limits::of(&settings.now())),
            settings,
            counts: Mutex::default(),
            room: Notify::new(),
            next_id: AtomicU64::new(0),
        }
    }

    /// Takes other limits whenever they are given, until it is dropped. Connections that are there stay.
    pub(super) async fn follow_settings(self: Arc<Self>) {
        let mut changes = self.settings.subscribe();
        // Some may have come since the limits were read.
        changes.mark_changed();
        while changes.changed().await.is_ok() {
            let settings = self.settings.now();
            // Names have to be resolved.
            let limits = tokio::task::spawn_blocking(move || Limits::of(&settings)).await;
            let Ok(limits) = limits else { return };
            *lock(&self.limits) = limits;
            self.room.notify_one();
        }
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Waits until there is room for another connection: until then nothing is accepted.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            {
                let most = lock(&self.limits).all;
                let mut counts = lock(&self.counts);
                if counts.all < most {
                    counts.all += 1;
                    // Others may wait for what else there is.
                    if counts.all < most {
                        self.room.notify_one();
                    }
                    return Place {
                        connections: self.clone(),
                    };
                }
            }
            self.room.notified().await;
        }
    }

    /// `None` when this address has its share of connections.
    pub(super) fn admit(&self, ip: IpAddr, place: Place) -> Option<Admitted> {
        let most = {
            let limits = lock(&self.limits);
            let own = limits.per_ip_overrides.get(&ip);
            own.copied().unwrap_or(limits.per_ip)
        };
        let mut counts = lock(&self.counts);
        let count = counts.per_ip.entry(ip).or_default();
        if *count >= most {
            if *count == 0 {
                counts.per_ip.remove(&ip);
            }
            drop(counts);
            return None;
        }
        *count += 1;
        Some(Admitted { place, ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.connections.counts).all -= 1;
        self.connections.room.notify_one();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.place.connections.counts);
        if let Some(count) = counts.per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                counts.per_ip.remove(&self.ip);
            }
        }
    }
}

impl Limits {
    fn of(settings: &Settings) -> Limits {
        let overrides = settings.string("max.connections.per.ip.overrides");
        Limits {
            all: count(settings.max_connections()),
            per_ip: count(settings.max_connections_per_ip()),
            per_ip_overrides: per_ip_overrides(overrides.unwrap_or_default()),
        }
    }
}

/// `max.connections.per.ip.overrides`: `host:count`, separated by commas. What does not resolve limits nobody.
fn per_ip_overrides(setting: &str) -> HashMap<IpAddr, usize> {
    let mut overrides = HashMap::new();
    for (host, max) in setting.split(',').filter_map(|one| one.rsplit_once(':')) {
        let Ok(max) = max.trim().parse() else {
            continue;
        };
        let addresses = (host.trim(), 0).to_socket_addrs();
        for address in addresses.into_iter().flatten() {
            overrides.insert(address.ip().to_canonical(), max);
        }
    }
    overrides
}

fn count(setting: i32) -> usize {
    usize::try_from(setting).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn give(settings: &CurrentSettings, name: &str, value: &str) {
        let values = [(name.into(), value.into())].into();
        settings.update(&values, &Default::default());
    }

    #[tokio::test]
    async fn limits_follow_the_settings() {
        let file = Settings::default_for(Path::new("data"))
            .with(&[("max.connections", "1")])
            .unwrap();
        let settings = CurrentSettings::from(Arc::new(file));
        let connections = Arc::new(Connections::new(settings.clone()));
        let following = tokio::spawn(connections.clone().follow_settings());
        tokio::task::yield_now().await;
        let first = connections.place().await;
        let admitted = connections.admit(IP, first).unwrap();
        let waits = tokio::spawn({
            let connections = connections.clone();
            async move { connections.place().await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        give(&settings, "max.connections", "2");
        let second = waits.await.unwrap();
        assert!(connections.admit(IP, second).is_some());
        drop(admitted);
        following.abort();
    }
}
