//! The node's settings. One row each; flag, YAML key, variable, help, parsing and showing all come from it.

use super::Config;
use super::values::{DurationMs, Value};

/// One setting.
pub struct Setting {
    /// Its name as a flag, without the dashes in front: `http.listen`.
    pub name: &'static str,
    /// One line for `--help`.
    pub help: &'static str,
    /// Whether it may be given several times, and as a list in the file; the values add up.
    pub is_list: bool,
    apply: fn(&mut Config, &str) -> Result<(), String>,
    show: fn(&Config) -> String,
}

impl Setting {
    /// The name of its environment variable: `GYRE_HTTP_LISTEN`.
    pub fn variable(&self) -> String {
        let name = self.name.replace(['.', '-'], "_").to_uppercase();
        format!("{VARIABLE_PREFIX}{name}")
    }

    /// Its path in the YAML file: `["http", "listen"]`.
    pub fn yaml_path(&self) -> Vec<String> {
        self.name.split('.').map(|part| part.replace('-', "_")).collect()
    }

    /// Sets it; the error says what is wrong with the value.
    pub fn apply(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.apply)(config, text)
    }

    /// Its value in a configuration.
    pub fn show(&self, config: &Config) -> String {
        (self.show)(config)
    }
}

/// What the names of all variables begin with.
pub(super) const VARIABLE_PREFIX: &str = "GYRE_";

macro_rules! setting {
    ($name:literal, $field:ident, $help:literal) => {
        Setting {
            name: $name,
            help: $help,
            is_list: false,
            apply: |config, text| {
                config.$field = Value::parse(text)?;
                Ok(())
            },
            show: |config| Value::show(&config.$field),
        }
    };
}

/// All settings, in the order of `--help` and `/config`.
pub static SETTINGS: [Setting; 25] = [
    setting!("data-dir", data_dir, "folder that holds all data"),
    setting!(
        "storage.url",
        storage_url,
        "object store: file:///path or memory://; a folder in data-dir unless given"
    ),
    setting!("http.listen", http_listen, "address to serve HTTP on, host:port"),
    setting!("log.level", log_level, "error, warn, info, debug or trace"),
    setting!("node.id", node_id, "name of this node; the host's at first start unless given"),
    setting!(
        "node.zone",
        node_zone,
        "what may fail together with this node; replicas are in different zones"
    ),
    setting!(
        "node.roles",
        node_roles,
        "write: holds heads; read: computes answers to queries and looks after blocks; rules; all of them unless given"
    ),
    setting!(
        "cluster.secret-file",
        cluster_secret_file,
        "file with the secret of the cluster; makes this node one of several"
    ),
    Setting {
        name: "cluster.replace-dead-after",
        help: "others take over from a member that most have not heard of for so long; 0s: never",
        is_list: false,
        apply: |config, text| {
            config.cluster_replace_dead_after_ms = DurationMs::parse(text)?.0;
            Ok(())
        },
        show: |config| DurationMs(config.cluster_replace_dead_after_ms).show(),
    },
    setting!("rpc.listen", rpc_listen, "address to serve other nodes on, host:port"),
    setting!("gossip.listen", gossip_listen, "UDP address to gossip on, host:port; a private one"),
    Setting {
        name: "gossip.join",
        help: "nodes to gossip with first, host:port, with commas; may be repeated",
        is_list: true,
        apply: |config, text| config.gossip_join.add(text),
        show: |config| config.gossip_join.show(),
    },
    setting!(
        "auth.mode",
        auth_mode,
        "optional: no X-Scope-OrgID means tenant \"fake\"; header: it is required"
    ),
    setting!(
        "wal.sync",
        wal_sync,
        "commit: a write is acknowledged when it is fsynced; os: when it is written"
    ),
    setting!(
        "wal.snapshot-bytes",
        wal_snapshot_bytes,
        "bytes of log, of each core, after which what is in memory is written out; bounds a restart"
    ),
    setting!(
        "wal.keep-bytes-max",
        wal_keep_bytes_max,
        "bytes of log files kept only for replicas that were away; beyond it the oldest go"
    ),
    Setting {
        name: "push.request-bytes-max",
        help: "bytes of one write request, decompressed",
        is_list: false,
        apply: |config, text| {
            let bytes = u64::parse(text)?;
            // Offsets into a request are 32 bits wide, and its labels may have to be copied once.
            if !(1..1 << 30).contains(&bytes) {
                return Err("must be between 1 and 1073741823".to_owned());
            }
            config.push_request_bytes_max = bytes;
            Ok(())
        },
        show: |config| config.push_request_bytes_max.show(),
    },
    setting!(
        "push.inflight-bytes-max",
        push_inflight_bytes_max,
        "bytes of all write requests in flight; beyond it writes get 503"
    ),
    Setting {
        name: "query.timeout",
        help: "the longest a query may take",
        is_list: false,
        apply: |config, text| {
            config.query_timeout_ms = match DurationMs::parse(text)?.0 {
                0 => return Err("must not be zero".to_owned()),
                timeout_ms => timeout_ms,
            };
            Ok(())
        },
        show: |config| DurationMs(config.query_timeout_ms).show(),
    },
    setting!("query.max-samples", query_samples_max, "samples that a query may hold at a time"),
    setting!("query.bytes-max", query_bytes_max, "bytes that a query may hold at a time"),
    setting!(
        "blocks.flush-on-shutdown",
        blocks_flush_on_shutdown,
        "whether all that is in memory becomes blocks before the node stops"
    ),
    setting!(
        "blocks.cache-memory-bytes",
        blocks_cache_memory_bytes,
        "bytes of memory for what was read of blocks in the object store"
    ),
    setting!(
        "blocks.cache-disk-bytes",
        blocks_cache_disk_bytes,
        "bytes in data-dir for the same; not used if the object store is a folder"
    ),
    Setting {
        name: "enable-feature",
        help: "experimental parts of PromQL by Prometheus's names, with commas; may be repeated",
        is_list: true,
        apply: |config, text| config.features.enable(text),
        show: |config| config.features.show(),
    },
];

/// Settings of later versions. Whoever gives one expects what it does, so starting without would deceive.
pub(super) const NOT_YET: [&str; 3] = ["auth.token-file", "target", "runtime-config.file"];
