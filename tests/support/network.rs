//! A network that can be cut: each node lives in a network namespace of its own, and all are joined by a bridge, over
//! which the test reaches them too. That takes root and `ip`.
//!
//! A cut makes packets of one node for another vanish without a trace, as a broken switch would: the sender is told a
//! hardware address that nobody has.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Networks of 256 addresses in 198.18.0.0/15, which is set aside for tests.
const NETWORKS: usize = 512;

/// Nobody's.
const NOWHERE: &str = "02:00:00:00:00:fe";

static MADE: AtomicUsize = AtomicUsize::new(0);

/// Namespaces on a bridge. They go with this value.
pub struct Network {
    number: usize,
    nodes: usize,
}

impl Network {
    /// A network for so many nodes; an error if this machine does not allow it.
    pub fn new(nodes: usize) -> Result<Self, String> {
        let first = std::process::id() as usize + MADE.fetch_add(1, Ordering::Relaxed) * 7;
        // Another process may have one of the same number.
        let mut tries = (first..first + 20).map(|number| number % NETWORKS).map(|number| {
            ip(&["link", "add", &bridge(number), "type", "bridge"]).map(|()| Network { number, nodes })
        });
        let mut problem = String::new();
        let network = tries.find_map(|made| made.map_err(|error| problem = error).ok()).ok_or(problem)?;
        let bridge = bridge(network.number);
        ip(&["address", "add", &format!("{}/24", network.host(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for node in 0..nodes {
            let (namespace, outside) = (network.namespace(node), format!("{bridge}-{node}"));
            ip(&["netns", "add", &namespace])?;
            ip(&["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
            ip(&["link", "set", &outside, "master", &bridge, "up"])?;
            let address = format!("{}/24", network.address(node));
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
            for device in ["lo", "eth0"] {
                ip(&["-n", &namespace, "link", "set", device, "up"])?;
            }
        }
        Ok(network)
    }

    /// A node's namespace.
    pub fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", bridge(self.number))
    }

    /// A node's address.
    pub fn address(&self, node: usize) -> String {
        self.host(node + 1)
    }

    fn host(&self, host: usize) -> String {
        format!("198.{}.{}.{host}", 18 + self.number / 256, self.number % 256)
    }

    /// What one node sends to another does not arrive any more.
    pub fn cut(&self, from: usize, to: usize) {
        let (namespace, to) = (self.namespace(from), self.address(to));
        let cut =
            ["-n", &namespace, "neigh", "replace", &to, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent"];
        ip(&cut).expect("what was made can be changed");
    }

    /// What one node sends to another arrives again.
    pub fn mend(&self, from: usize, to: usize) {
        let (namespace, to) = (self.namespace(from), self.address(to));
        ip(&["-n", &namespace, "neigh", "del", &to, "dev", "eth0"]).expect("what was made can be changed");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..self.nodes {
            // Some may never have been made.
            let _ = ip(&["netns", "del", &self.namespace(node)]);
        }
        let _ = ip(&["link", "del", &bridge(self.number)]);
    }
}

fn bridge(number: usize) -> String {
    format!("gyre{number}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    let said = || format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    if output.status.success() { Ok(()) } else { Err(said()) }
}
