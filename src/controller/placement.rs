//! Where the replicas of new partitions go: evenly over racks, and over the brokers of a rack, active brokers before
//! fenced ones, the leader always on an active one. (StripedReplicaPlacer; KIP-631)
//!
//! Racks are gone through in a circle, one step on for each partition, and so are the brokers within a rack; both
//! circles begin at random. Once every active broker has led once, all is shuffled.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::NodeId;
use crate::metadata::Image;

use super::machine::Random;

/// A broker that may hold a new replica.
#[derive(Clone, Debug)]
pub(super) struct UsableBroker {
    pub(super) id: NodeId,
    pub(super) rack: Option<Arc<str>>,
    pub(super) fenced: bool,
}

/// The registered brokers but those that are going down or have cordoned all their directories.
pub(super) fn usable_brokers(image: &Image) -> Vec<UsableBroker> {
    let is_cordoned = |broker: &crate::metadata::Broker| {
        let cordoned = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
        !broker.log_dirs.is_empty()
            && broker
                .log_dirs
                .iter()
                .all(|directory| cordoned.contains(directory))
    };
    let usable = image
        .brokers()
        .iter()
        .filter(|broker| !broker.in_controlled_shutdown && !is_cordoned(broker));
    let usable = usable.map(|broker| UsableBroker {
        id: broker.id,
        rack: broker.rack.clone(),
        fenced: broker.fenced,
    });
    usable.collect()
}

/// The replicas of so many partitions, each with its leader first. The error is Kafka's text.
pub(super) fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: i16,
    random: &mut impl Random,
) -> Result<Vec<Vec<NodeId>>, String> {
    let Some(replicas) = usize::try_from(replication_factor)
        .ok()
        .filter(|&replicas| replicas > 0)
    else {
        let factor = replication_factor;
        return Err(format!(
            "Invalid replication factor {factor}: the replication factor must be positive."
        ));
    };
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(
            "All brokers are currently fenced, or have all their log directories cordoned."
                .to_owned(),
        );
    }
    if replicas > brokers.len() {
        return Err(format!(
            "The target replication factor of {replicas} cannot be reached because only {} broker(s) are registered or \
             some brokers have all their log directories cordoned.",
            brokers.len()
        ));
    }
    let mut racks = Racks::new(brokers, random);
    Ok((0..partitions)
        .map(|_| racks.place(replicas, random))
        .collect())
}

/// Brokers in a circle that is entered one step further on in each round.
#[derive(Default)]
struct Circle {
    brokers: Vec<NodeId>,
    round: usize,
    taken: usize,
    offset: usize,
}

impl Circle {
    fn next(&mut self, round: usize) -> Option<NodeId> {
        let len = self.brokers.len();
        if len == 0 {
            return None;
        }
        if self.round != round {
            (self.round, self.taken, self.offset) = (round, 0, (self.offset + 1) % len);
        }
        if self.taken == len {
            return None;
        }
        self.taken += 1;
        Some(self.brokers[(self.taken - 1 + self.offset) % len])
    }
}

#[derive(Default)]
struct Rack {
    active: Circle,
    fenced: Circle,
}

struct Racks {
    racks: Vec<Rack>,
    active: usize,
    round: usize,
    offset: usize,
}

impl Racks {
    fn new(brokers: &[UsableBroker], random: &mut impl Random) -> Racks {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for broker in brokers {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            let circle = if broker.fenced {
                &mut rack.fenced
            } else {
                &mut rack.active
            };
            circle.brokers.push(broker.id);
        }
        let mut racks: Vec<Rack> = by_name.into_values().collect();
        for circle in racks
            .iter_mut()
            .flat_map(|rack| [&mut rack.fenced, &mut rack.active])
        {
            if !circle.brokers.is_empty() {
                circle.brokers.sort_unstable();
                circle.offset = random.below(circle.brokers.len());
            }
        }
        let offset = random.below(racks.len());
        let active = brokers.iter().filter(|broker| !broker.fenced).count();
        Racks {
            racks,
            active,
            round: 0,
            offset,
        }
    }

    fn place(&mut self, replicas: usize, random: &mut impl Random) -> Vec<NodeId> {
        // A single active broker is never shuffled: its circle would begin again and again in the same round.
        if self.round == self.active && self.active > 1 {
            random.shuffle(&mut self.racks);
            for circle in self
                .racks
                .iter_mut()
                .flat_map(|rack| [&mut rack.fenced, &mut rack.active])
            {
                random.shuffle(&mut circle.brokers);
            }
            self.round = 0;
        }
        let (round, count) = (self.round, self.racks.len());
        self.offset %= count;
        let leader_at = (0..count).map(|step| (self.offset + step) % count);
        let mut leader_at =
            leader_at.filter_map(|at| Some((at, self.racks[at].active.next(round)?)));
        let (leader_rack, leader) = leader_at.next().expect("there is an active broker");
        let mut placed = vec![leader];
        let mut at = self.offset;
        let mut skip = Some(leader_rack);
        while placed.len() < replicas {
            // The leader's rack has had its turn in the first round through the racks.
            if skip == Some(at) {
                skip = None;
            } else if let Some(next) = self.racks[at].next(round) {
                placed.push(next);
            }
            at = (at + 1) % count;
        }
        self.round += 1;
        self.offset += 1;
        placed
    }
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<NodeId> {
        self.active.next(round).or_else(|| self.fenced.next(round))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::controller::Seeded;

    fn brokers(of: &[(i32, &str, bool)]) -> Vec<UsableBroker> {
        let broker = |&(id, rack, fenced): &(i32, &str, bool)| UsableBroker {
            id: NodeId(id),
            rack: (!rack.is_empty()).then(|| rack.into()),
            fenced,
        };
        of.iter().map(broker).collect()
    }

    #[test]
    fn replicas_are_spread_over_racks_and_leaders_too() {
        let racks = ["a", "b", "c"];
        let nine: Vec<_> = (0..9)
            .map(|id| (id, racks[id as usize / 3], false))
            .collect();
        for seed in 0..20 {
            let placed = place(&brokers(&nine), 9, 3, &mut Seeded::new(seed)).unwrap();
            for rack in 0..3 {
                let led = placed.iter().filter(|replicas| replicas[0].0 / 3 == rack);
                assert_eq!(led.count(), 3, "{placed:?}");
            }
            for replicas in placed {
                let racks: BTreeSet<_> = replicas.iter().map(|node| node.0 / 3).collect();
                assert_eq!(racks.len(), 3, "{replicas:?}");
            }
        }
    }

    #[test]
    fn without_racks_every_broker_leads_in_turn() {
        let four = brokers(&[
            (1, "", false),
            (2, "", false),
            (3, "", false),
            (4, "", false),
        ]);
        let placed = place(&four, 4, 2, &mut Seeded::new(5)).unwrap();
        let leaders: BTreeSet<_> = placed.iter().map(|replicas| replicas[0]).collect();
        assert_eq!(leaders.len(), 4);
    }

    #[test]
    fn fenced_brokers_come_last_and_never_first() {
        let some_fenced = brokers(&[(1, "", true), (2, "", false), (3, "", true), (4, "", false)]);
        for seed in 0..20 {
            for replicas in place(&some_fenced, 8, 3, &mut Seeded::new(seed)).unwrap() {
                let active: BTreeSet<_> = replicas[..2].iter().map(|node| node.0).collect();
                assert_eq!(active, BTreeSet::from([2, 4]));
                assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
            }
        }
    }

    #[test]
    fn one_active_broker_leads_everything() {
        let one = brokers(&[(1, "a", false), (2, "b", true)]);
        let placed = place(&one, 5, 2, &mut Seeded::new(3)).unwrap();
        assert!(
            placed
                .iter()
                .all(|replicas| *replicas == [NodeId(1), NodeId(2)])
        );
    }

    #[test]
    fn what_cannot_be_placed_is_said() {
        let refused = |brokers: &[UsableBroker], factor| {
            place(brokers, 1, factor, &mut Seeded::new(1)).unwrap_err()
        };
        let one = brokers(&[(1, "", false)]);
        assert!(refused(&one, 2).contains("only 1 broker(s) are registered"));
        assert!(refused(&one, -2).contains("must be positive"));
        assert!(
            refused(&brokers(&[(1, "", true)]), 1).starts_with("All brokers are currently fenced")
        );
    }
}
