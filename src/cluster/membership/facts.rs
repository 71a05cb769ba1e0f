//! A node's facts as gossip carries them: a name, short texts under fixed keys, and back.
//!
//! The name holds the incarnation too. Gossip tells runs of a name apart by a number that must grow, and a node that
//! lost its disk begins to count anew: under the same name it would not be heard before it had outlived its past.
//!
//! What stays as it is while a node runs is signed with the cluster's secret, so that nobody else can invent a node. (The
//! rest is not, and whoever hears gossip can repeat it: it still decides nothing.) The signature also shows a node that
//! was given the wrong secret before it becomes a member with whom nobody could talk.
//!
//! The texts come from whoever can send a datagram. Each is checked by the type it becomes; what does not fit makes
//! the peer *garbled*, which is shown and otherwise ignored.

use std::fmt::Display;

use gyre_ring::{ClusterId, Epoch, Incarnation, Member, NodeId, Role, Weight, Zone};

use super::{Announcement, Peer};
use crate::rpc::Secret;

/// The most bytes of a fact. Gossip's own limit is 65,535, and one that is longer would block all that follow it.
const FACT_BYTES_MAX: usize = 300;

const RPC: &str = "rpc";
const ZONE: &str = "zone";
const WEIGHT: &str = "weight";
const ROLES: &str = "roles";
const READY: &str = "ready";
const CLUSTER: &str = "cluster";
const EPOCH: &str = "epoch";
const GONE: &str = "gone";
const SIGNATURE: &str = "signature";

/// The most names of members that are gone; they fit a fact.
pub const GONE_MAX: usize = 4;

/// What the signature is for.
const PURPOSE: &str = "gyre gossip";

/// Why a peer's facts are not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It knows another secret, or none. Who it says it is.
    OtherSecret(String),
    /// They make no sense.
    Garbled(String),
}

impl From<String> for Unusable {
    fn from(problem: String) -> Self {
        Unusable::Garbled(problem)
    }
}

/// The name that a node gossips under.
pub fn name(member: &Member) -> String {
    member.replica().to_string()
}

/// The facts that stay as they are while a node runs.
pub fn fixed(member: &Member, generation: u64, rpc: &str, secret: &Secret) -> Vec<(String, String)> {
    let roles: Vec<&str> = member.roles.iter().map(|role| role.as_str()).collect();
    let pairs = [
        (RPC, rpc.to_owned()),
        (ZONE, member.zone.to_string()),
        (WEIGHT, member.weight.get().to_string()),
        (ROLES, roles.join(",")),
    ];
    let texts = [&pairs[0].1, &pairs[1].1, &pairs[2].1, &pairs[3].1].map(String::as_str);
    let signature = secret.sign(PURPOSE, &signed(&name(member), generation, texts));
    let signature = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    let pairs = pairs.into_iter().chain([(SIGNATURE, signature)]);
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What is signed: no two different facts give the same bytes.
fn signed(name: &str, generation: u64, texts: [&str; 4]) -> Vec<u8> {
    let mut bytes = generation.to_be_bytes().to_vec();
    for text in [name].into_iter().chain(texts) {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The facts that change.
pub fn changing(announcement: &Announcement) -> Vec<(&'static str, String)> {
    let mut pairs = vec![(READY, announcement.ready.to_string())];
    pairs.extend(announcement.cluster.map(|cluster| (CLUSTER, cluster.to_string())));
    pairs.extend(announcement.newest_epoch.map(|epoch| (EPOCH, epoch.0.to_string())));
    // Also when there are none: what was said before must go.
    let gone: Vec<&str> = announcement.gone.iter().take(GONE_MAX).map(NodeId::as_str).collect();
    pairs.push((GONE, gone.join(",")));
    pairs
}

/// Reads a peer's facts. `None`: not all have arrived yet. The error says what is wrong with them.
pub fn read<'a>(
    name: &str,
    generation: u64,
    alive: bool,
    secret: &Secret,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Peer>, Unusable> {
    let facts = [RPC, ZONE, WEIGHT, ROLES, SIGNATURE].map(&get);
    let [Some(rpc), Some(zone), Some(weight), Some(roles), Some(signature)] = facts else {
        return Ok(None);
    };
    let fixed = [Some(rpc), Some(zone), Some(weight), Some(roles), Some(signature)];
    let long = fixed.into_iter().chain([READY, CLUSTER, EPOCH, GONE].map(&get));
    if let Some(fact) = { long }.flatten().find(|fact| fact.len() > FACT_BYTES_MAX) {
        return Err(format!("a fact of {} bytes, {FACT_BYTES_MAX} are the most", fact.len()).into());
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
        return Err(wrong(RPC, rpc).into());
    }
    let message = signed(name, generation, [rpc, zone, weight, roles]);
    if !unhex(signature).is_some_and(|signature| secret.has_signed(PURPOSE, &message, &signature)) {
        return Err(Unusable::OtherSecret(format!("{node} at {rpc}")));
    }
    let ready = match get(READY) {
        Some("true") => true,
        None | Some("false") => false,
        Some(other) => return Err(wrong(READY, other).into()),
    };
    let cluster = get(CLUSTER).map(|text| ClusterId::try_from(text.to_owned())).transpose();
    let gone = get(GONE).filter(|text| !text.is_empty()).map_or(Ok(Vec::new()), |text| {
        let name = |name: &str| NodeId::new(name).ok_or_else(|| wrong(GONE, text));
        text.split(',').map(name).collect::<Result<Vec<_>, _>>()
    });
    let epoch = get(EPOCH).map(|text| text.parse().map(Epoch).map_err(|_| wrong(EPOCH, text))).transpose();
    Ok(Some(Peer {
        member,
        generation,
        rpc: rpc.to_owned(),
        ready,
        cluster: cluster.map_err(|error| labelled(CLUSTER, error))?,
        newest_epoch: epoch?,
        gone: gone?,
        alive,
    }))
}

fn labelled(what: &str, error: impl Display) -> String {
    format!("{what} {error}")
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok())).collect();
    Some(digits?.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
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
        let announcement = Announcement {
            ready: true,
            cluster: Some(ClusterId(9)),
            newest_epoch: Some(Epoch(12)),
            gone: vec![NodeId::new("c").unwrap(), NodeId::new("d").unwrap()],
        };
        let changing = changing(&announcement).into_iter().map(|(key, value)| (key.to_owned(), value));
        fixed(&member(), 3, "host-1:9010", &secret()).into_iter().chain(changing).collect()
    }

    fn secret() -> Secret {
        Secret::new(b"0123456789abcdef").unwrap()
    }

    fn read_map(name: &str, facts: &BTreeMap<String, String>) -> Result<Option<Peer>, Unusable> {
        read(name, 3, true, &secret(), |key| facts.get(key).map(String::as_str))
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
        for (key, _) in fixed(&member(), 3, "h:1", &secret()) {
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
            let error = garbled(read_map(&name(&member()), &wrong));
            assert!(error.starts_with(key), "{key}={value}: {error}");
        }
        let zeros = "0".repeat(32);
        for (name, says) in [
            ("a", "without incarnation"),
            ("a#5", "incarnation \"5\""),
            (&format!("../a#{zeros}"), "node id"),
        ] {
            let error = garbled(read_map(name, &facts()));
            assert!(error.contains(says), "{name}: {error}");
        }
        let mut long = facts();
        long.insert(ZONE.to_owned(), "z".repeat(70_000));
        assert!(garbled(read_map(&name(&member()), &long)).contains("70000 bytes"));
    }

    fn garbled(read: Result<Option<Peer>, Unusable>) -> String {
        match read {
            Err(Unusable::Garbled(problem)) => problem,
            other => panic!("not garbled but {other:?}"),
        }
    }

    #[test]
    fn nobody_without_the_secret_can_say_what_a_node_is() {
        let other = Err(Unusable::OtherSecret("a at host-1:9010".to_owned()));
        let elsewhere = Err(Unusable::OtherSecret("a at host-2:9010".to_owned()));
        let theirs = Secret::new(b"another secret..").unwrap();
        for (key, value, expected) in [
            (RPC, "host-2:9010".to_owned(), &elsewhere),
            (ZONE, ":b".to_owned(), &other),
            (WEIGHT, "101".to_owned(), &other),
            (ROLES, "write".to_owned(), &other),
            (SIGNATURE, String::new(), &other),
            (SIGNATURE, "x".repeat(64), &other),
            (SIGNATURE, fixed(&member(), 3, "host-1:9010", &theirs)[4].1.clone(), &other),
            (SIGNATURE, fixed(&member(), 2, "host-1:9010", &secret())[4].1.clone(), &other),
        ] {
            let mut changed = facts();
            changed.insert(key.to_owned(), value);
            assert_eq!(read_map(&name(&member()), &changed), *expected, "{key}");
        }
        let renamed = name(&Member { node: NodeId::new("b").unwrap(), ..member() });
        let renamed = read_map(&renamed, &facts());
        assert_eq!(renamed, Err(Unusable::OtherSecret("b at host-1:9010".to_owned())));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(name: String, key in 0usize..8, value: String) {
            let keys = [RPC, ZONE, WEIGHT, ROLES, READY, CLUSTER, EPOCH, SIGNATURE];
            let mut wrong = facts();
            wrong.insert(keys[key].to_owned(), value);
            if let Ok(Some(peer)) = read_map(&name, &wrong) {
                prop_assert!(peer.rpc.len() <= FACT_BYTES_MAX);
            }
        }
    }
}
