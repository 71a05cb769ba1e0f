//! A node's facts as gossip carries them: a name, short texts under fixed keys, and back.
//!
//! The name holds the incarnation too. Gossip tells runs of a name apart by a number that must grow, and a node that
//! lost its disk begins to count anew: under the same name it would not be heard before it had outlived its past.
//!
//! The texts come from whoever can send a datagram. Each is checked by the type it becomes; what does not fit makes
//! the peer *garbled*, which is shown and otherwise ignored.

use std::fmt::Display;

use gyre_ring::{ClusterId, Epoch, Incarnation, Member, NodeId, Role, Weight, Zone};

use super::{Announcement, Peer};

/// The most bytes of a fact. Gossip's own limit is 65,535, and one that is longer would block all that follow it.
const FACT_BYTES_MAX: usize = 300;

const RPC: &str = "rpc";
const ZONE: &str = "zone";
const WEIGHT: &str = "weight";
const ROLES: &str = "roles";
const READY: &str = "ready";
const CLUSTER: &str = "cluster";
const EPOCH: &str = "epoch";

/// The name that a node gossips under.
pub fn name(member: &Member) -> String {
    member.replica().to_string()
}

/// The facts that stay as they are while a node runs.
pub fn fixed(member: &Member, rpc: &str) -> Vec<(String, String)> {
    let roles: Vec<&str> = member.roles.iter().map(|role| role.as_str()).collect();
    let pairs = [
        (RPC, rpc.to_owned()),
        (ZONE, member.zone.to_string()),
        (WEIGHT, member.weight.get().to_string()),
        (ROLES, roles.join(",")),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The facts that change.
pub fn changing(announcement: &Announcement) -> Vec<(&'static str, String)> {
    let mut pairs = vec![(READY, announcement.ready.to_string())];
    pairs.extend(announcement.cluster.map(|cluster| (CLUSTER, cluster.to_string())));
    pairs.extend(announcement.newest_epoch.map(|epoch| (EPOCH, epoch.0.to_string())));
    pairs
}

/// Reads a peer's facts. `None`: not all have arrived yet. The error says what is wrong with them.
pub fn read<'a>(
    name: &str,
    generation: u64,
    alive: bool,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Peer>, String> {
    let facts = [RPC, ZONE, WEIGHT, ROLES].map(&get);
    let [Some(rpc), Some(zone), Some(weight), Some(roles)] = facts else {
        return Ok(None);
    };
    let long = [Some(rpc), Some(zone), Some(weight), Some(roles), get(READY), get(CLUSTER), get(EPOCH)];
    if let Some(fact) = long.into_iter().flatten().find(|fact| fact.len() > FACT_BYTES_MAX) {
        return Err(format!("a fact of {} bytes, {FACT_BYTES_MAX} are the most", fact.len()));
    }
    let wrong = |what: &str, text: &str| format!("{what} {text:?}");
    let (node, incarnation) = name.rsplit_once('#').ok_or_else(|| "a name without incarnation".to_owned())?;
    let incarnation = Incarnation::try_from(incarnation.to_owned());
    let member = Member {
        node: NodeId::new(node).ok_or_else(|| "a node id that is none".to_owned())?,
        incarnation: incarnation.map_err(|error| labelled("incarnation", error))?,
        zone: Zone::new(zone).ok_or_else(|| wrong(ZONE, zone))?,
        weight: weight.parse().ok().and_then(Weight::new).ok_or_else(|| wrong(WEIGHT, weight))?,
        roles: read_roles(roles).ok_or_else(|| wrong(ROLES, roles))?,
    };
    if !is_address(rpc) {
        return Err(wrong(RPC, rpc));
    }
    let ready = match get(READY) {
        Some("true") => true,
        None | Some("false") => false,
        Some(other) => return Err(wrong(READY, other)),
    };
    let cluster = get(CLUSTER).map(|text| ClusterId::try_from(text.to_owned())).transpose();
    let epoch = get(EPOCH).map(|text| text.parse().map(Epoch).map_err(|_| wrong(EPOCH, text))).transpose();
    Ok(Some(Peer {
        member,
        generation,
        rpc: rpc.to_owned(),
        ready,
        cluster: cluster.map_err(|error| labelled(CLUSTER, error))?,
        newest_epoch: epoch?,
        alive,
    }))
}

fn labelled(what: &str, error: impl Display) -> String {
    format!("{what} {error}")
}

fn read_roles(text: &str) -> Option<Vec<Role>> {
    let role = |name: &str| Role::ALL.into_iter().find(|role| role.as_str() == name);
    let mut roles: Vec<Role> = text.split(',').map(role).collect::<Option<_>>()?;
    roles.sort_unstable();
    roles.dedup();
    Some(roles)
}

/// host:port, with a host of letters and digits as names and addresses have them.
fn is_address(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && host.chars().all(allowed) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn member() -> Member {
        let node = NodeId::new("a").unwrap();
        Member {
            zone: Zone::of_node(&node),
            node,
            incarnation: Incarnation(5),
            weight: Weight::ORDINARY,
            roles: vec![Role::Write, Role::Rules],
        }
    }

    fn facts() -> BTreeMap<String, String> {
        let announcement =
            Announcement { ready: true, cluster: Some(ClusterId(9)), newest_epoch: Some(Epoch(12)) };
        let changing = changing(&announcement).into_iter().map(|(key, value)| (key.to_owned(), value));
        fixed(&member(), "host-1:9010").into_iter().chain(changing).collect()
    }

    fn read_map(name: &str, facts: &BTreeMap<String, String>) -> Result<Option<Peer>, String> {
        read(name, 3, true, |key| facts.get(key).map(String::as_str))
    }

    #[test]
    fn facts_arrive_as_they_were_told() {
        let peer = read_map(&name(&member()), &facts()).unwrap().unwrap();
        assert_eq!(peer.member, member());
        assert_eq!((peer.generation, peer.rpc.as_str(), peer.ready), (3, "host-1:9010", true));
        assert_eq!((peer.cluster, peer.newest_epoch), (Some(ClusterId(9)), Some(Epoch(12))));
    }

    #[test]
    fn a_peer_is_known_once_all_its_fixed_facts_are_there() {
        for (key, _) in fixed(&member(), "h:1") {
            let mut some = facts();
            some.remove(&key);
            assert_eq!(read_map(&name(&member()), &some), Ok(None), "{key}");
        }
        let mut quiet = facts();
        for key in [READY, CLUSTER, EPOCH] {
            quiet.remove(key);
        }
        let peer = read_map(&name(&member()), &quiet).unwrap().unwrap();
        assert_eq!((peer.ready, peer.cluster, peer.newest_epoch), (false, None, None));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (key, value) in [
            (RPC, "host"),
            (RPC, "host:0"),
            (RPC, "ho st:1"),
            (ZONE, ""),
            (WEIGHT, "0"),
            (WEIGHT, "many"),
            (ROLES, "write,king"),
            (READY, "yes"),
            (CLUSTER, "x"),
            (EPOCH, "-1"),
        ] {
            let mut wrong = facts();
            wrong.insert(key.to_owned(), value.to_owned());
            let error = read_map(&name(&member()), &wrong).unwrap_err();
            assert!(error.starts_with(key), "{key}={value}: {error}");
        }
        let zeros = "0".repeat(32);
        for (name, says) in [
            ("a", "without incarnation"),
            ("a#5", "incarnation \"5\""),
            (&format!("../a#{zeros}"), "node id"),
        ] {
            let error = read_map(name, &facts()).unwrap_err();
            assert!(error.contains(says), "{name}: {error}");
        }
        let mut long = facts();
        long.insert(ZONE.to_owned(), "z".repeat(70_000));
        assert!(read_map(&name(&member()), &long).unwrap_err().contains("70000 bytes"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(name: String, key in 0usize..7, value: String) {
            let keys = [RPC, ZONE, WEIGHT, ROLES, READY, CLUSTER, EPOCH];
            let mut wrong = facts();
            wrong.insert(keys[key].to_owned(), value);
            if let Ok(Some(peer)) = read_map(&name, &wrong) {
                prop_assert!(peer.rpc.len() <= FACT_BYTES_MAX);
            }
        }
    }
}
