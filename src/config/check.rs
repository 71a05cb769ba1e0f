//! What settings have to have to do with each other.
//!
//! A node among others needs a secret, a bucket that the others have too, and an address that they can reach. Started
//! without one of these it would wait for ever, or be a cluster of its own, and look well.

use gyre_ring::Role;

use super::Config;
use crate::cluster::store::StorageUrl;

/// The error names the settings.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let default = Config::default();
    let Some(file) = &config.cluster_secret_file else {
        for (name, is_given) in [
            ("gossip.join", !config.gossip_join.0.is_empty()),
            ("gossip.listen", config.gossip_listen != default.gossip_listen),
            ("rpc.listen", config.rpc_listen != default.rpc_listen),
        ] {
            if is_given {
                return Err(format!(
                    "{name} is set, but cluster.secret-file is not: nodes of a cluster prove to each other that they know \
                     its secret; make one with: openssl rand -hex 32 > secret, and give all nodes the same"
                ));
            }
        }
        if !config.node_roles.contains(&Role::Write) {
            return Err(
                "node.roles lacks write, and cluster.secret-file is not set: this node is alone, and nobody holds heads"
                    .to_owned(),
            );
        }
        return Ok(());
    };
    let file = file.display();
    match config.storage_url {
        StorageUrl::DataDir => Err(format!(
            "cluster.secret-file is set to {file}, so this node is one of several, but storage.url is not set: all \
             nodes of a cluster need the same bucket, and the default is a folder in this node's own data directory"
        )),
        StorageUrl::Memory => Err(format!(
            "cluster.secret-file is set to {file}, so this node is one of several, but storage.url is memory://: all \
             nodes of a cluster need the same bucket, and that one is in this process"
        )),
        _ if config.gossip_listen.port == 0 => Err(format!(
            "gossip.listen is {}: other nodes are told to join this one at its port, so it cannot be chosen at start",
            config.gossip_listen
        )),
        _ => Ok(()),
    }
}
