use std::io::Write as _;

use gyre_ring::Role;

use super::*;
use crate::config::{Feature, ListenAddress, LogLevel, WalSync};

fn flag(name: &str, value: &str) -> Flag {
    Flag { name: name.to_owned(), value: Some(value.to_owned()) }
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads a file of this content, and puts `FILE` for its path into errors.
fn load_file(text: &str, more_flags: &[Flag], environment: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let flags: Vec<Flag> =
        [flag("config.file", &path)].into_iter().chain(more_flags.iter().cloned()).collect();
    load(&flags, &variables(environment)).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn error(text: &str) -> String {
    let error = load_file(text, &[], &[]).unwrap_err();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[test]
fn nothing_at_all_is_a_valid_configuration() {
    let config = load(&[], &[]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:9009");
}

#[test]
fn flags_lie_over_variables_over_the_file_over_defaults() {
    let text = "http:\n  listen: h:1\nlog: {level: warn}\nwal:\n  sync: os\ndata_dir: from-file\n";
    let environment = [("GYRE_HTTP_LISTEN", "h:2"), ("GYRE_LOG_LEVEL", "error"), ("HOME", "/root")];
    let config = load_file(text, &[flag("http.listen", "h:3")], &environment).unwrap();
    assert_eq!(config.http_listen, ListenAddress { host: "h".to_owned(), port: 3 });
    assert_eq!(config.log_level, LogLevel::Error);
    assert_eq!(config.wal_sync, WalSync::Os);
    assert_eq!(config.data_dir, Path::new("from-file"));
    assert_eq!(config.query_timeout_ms, 120_000);
}

#[test]
fn the_file_itself_may_be_named_by_a_variable() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"log: {level: ${LEVEL:debug}}").unwrap();
    let path = file.path().to_str().unwrap();
    let environment = variables(&[("GYRE_CONFIG_FILE", path), ("GYRE_CONFIG_EXPAND_ENV", "true")]);
    assert_eq!(load(&[], &environment).unwrap().log_level, LogLevel::Debug);
}

#[test]
fn overrides_are_complete_limits_on_top_of_the_common_ones() {
    let text = "overrides:\n  big:\n    ingestion_rate: 1000\n  123: {max_series_per_user: 5}\n\
                limits:\n  max_series_per_user: 7\n  out_of_order_time_window: 2h\n";
    let config = load_file(text, &[], &[]).unwrap();
    let limits = config.tenant_limits();
    let of = |id| limits.of(&TenantId::new(id).unwrap()).clone();
    assert_eq!((of("big").ingestion_rate, of("big").max_series_per_user), (1000.0, 7));
    assert_eq!(of("123").max_series_per_user, 5);
    assert_eq!(of("other").max_series_per_user, 7);
    assert_eq!(of("big").out_of_order_time_window_ms, 7_200_000);
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_key() {
    assert_eq!(error("http:\n  lisen: x:1\n"), "FILE:2:3: unknown key http.lisen, did you mean http.listen?");
    assert_eq!(error("htpp:\n  listen: x:1\n"), "FILE:1:1: unknown key htpp, did you mean http?");
    assert_eq!(error("\nfrobnicate: 1\n"), "FILE:2:1: unknown key frobnicate");
    assert_eq!(
        error("limits:\n  ingestion_rat: 5\n"),
        "FILE:2:3: unknown key limits.ingestion_rat, did you mean ingestion_rate?"
    );
    assert_eq!(
        error("overrides:\n  acme:\n    max_series_per_usr: 5\n"),
        "FILE:3:5: unknown key overrides.acme.max_series_per_usr, did you mean max_series_per_user?"
    );
    assert_eq!(
        load(&[flag("http.lisen", "x:1")], &[]).unwrap_err().to_string(),
        "flag --http.lisen: unknown key http.lisen, did you mean --http.listen?"
    );
    assert_eq!(
        load(&[], &variables(&[("GYRE_HTP_LISTEN", "x:1")])).unwrap_err().to_string(),
        "environment variable GYRE_HTP_LISTEN: unknown key GYRE_HTP_LISTEN, did you mean GYRE_HTTP_LISTEN?"
    );
}

#[test]
fn a_bad_value_names_its_place_and_what_is_wrong() {
    assert_eq!(
        error("wal:\n  sync: comit\n"),
        "FILE:2:9: invalid value \"comit\" for wal.sync: must be one of commit, os, did you mean commit?"
    );
    assert_eq!(
        error("limits: {creation_grace_period: 10}"),
        "FILE:1:33: invalid value \"10\" for limits.creation_grace_period: \
         not a valid duration string: \"10\" (durations are written like 1h30m, 15s or 250ms)"
    );
    assert_eq!(error("http: 127.0.0.1:80"), "FILE:1:7: http must be a mapping");
    assert_eq!(error("http: {listen: [a, b]}"), "FILE:1:16: http.listen must be a single value");
    assert_eq!(error("- 1"), "FILE:1:1: the file must be a mapping");
    assert_eq!(
        error("overrides: {a/b: {}}"),
        "FILE:1:13: invalid value \"a/b\" for a tenant under overrides: \
         tenant ID 'a/b' contains unsupported character '/'"
    );
    assert_eq!(
        load(&[Flag { name: "http.listen".to_owned(), value: None }], &[]).unwrap_err().to_string(),
        "flag --http.listen: http.listen must be followed by a value"
    );
}

#[test]
fn settings_of_later_versions_are_refused_rather_than_ignored() {
    let later = "does not exist yet in this version";
    assert_eq!(error("auth:\n  token_file: x\n"), format!("FILE:2:3: auth.token-file {later}"));
    assert_eq!(
        load(&[flag("target", "all")], &[]).unwrap_err().to_string(),
        format!("flag --target: target {later}")
    );
    assert_eq!(
        load(&[], &variables(&[("GYRE_RUNTIME_CONFIG_FILE", "x")])).unwrap_err().to_string(),
        format!("environment variable GYRE_RUNTIME_CONFIG_FILE: runtime-config.file {later}")
    );
    let token = load(&[flag("auth.mode", "token")], &[]).unwrap_err().to_string();
    assert!(
        token.starts_with("flag --auth.mode: invalid value \"token\" for auth.mode: token does not exist")
    );
}

/// Flags of a node among others that lacks nothing.
fn among_others() -> Vec<Flag> {
    vec![flag("cluster.secret-file", "s"), flag("storage.url", "file:///b"), flag("gossip.join", "a:1")]
}

#[test]
fn nodes_to_join_add_up_and_may_be_a_list() {
    let text = "gossip:\n  join: ['a:1', \"[::1]:2\"]\n  listen: ':7'\n";
    let more = [flag("gossip.join", "b:3,c:4"), flag("gossip.join", "a:1, d:5")];
    let flags: Vec<Flag> = among_others().into_iter().chain(more).collect();
    let config = load_file(text, &flags, &[("GYRE_GOSSIP_JOIN", "e:6")]).unwrap();
    let seeds: Vec<String> = config.gossip_join.0.iter().map(ToString::to_string).collect();
    assert_eq!(seeds, ["a:1", "[::1]:2", "e:6", "b:3", "c:4", "d:5"]);
    assert_eq!(config.gossip_listen.to_string(), "0.0.0.0:7");
    assert_eq!(load_file(&config.to_yaml(), &[], &[]).unwrap(), config);
    for wrong in ["a", "a:", "a:0", ":9", "a:1;b:2"] {
        let error = load(&[flag("gossip.join", wrong)], &[]).unwrap_err().to_string();
        assert!(error.starts_with("flag --gossip.join: invalid value"), "{error}");
    }
    assert_eq!(
        error("gossip: {join: [a:1, b]}"),
        "FILE:1:22: invalid value \"b\" for gossip.join: \"b\" must be host:port, such as node-1:9011"
    );
    assert_eq!(error("gossip: {join: [[a:1]]}"), "FILE:1:17: gossip.join must be a single value");
}

#[test]
fn a_node_among_others_needs_a_secret_and_a_bucket_of_all() {
    load(&among_others(), &[]).unwrap();
    let refused = |change: &dyn Fn(&mut Vec<Flag>)| {
        let mut flags = among_others();
        change(&mut flags);
        load(&flags, &[]).unwrap_err().to_string()
    };
    let without = |name: &'static str| refused(&|flags| flags.retain(|flag| flag.name != name));
    let said = without("cluster.secret-file");
    assert!(said.starts_with("gossip.join is set, but cluster.secret-file is not"), "{said}");
    let said = without("storage.url");
    assert!(said.contains("storage.url is not set: all nodes of a cluster need the same bucket"), "{said}");
    let said = refused(&|flags| flags.push(flag("storage.url", "memory://")));
    assert!(said.contains("storage.url is memory://"), "{said}");
    let said = refused(&|flags| flags.push(flag("gossip.listen", "127.0.0.1:0")));
    assert!(said.starts_with("gossip.listen is 127.0.0.1:0"), "{said}");
    // The first of several knows of no others.
    let said = refused(&|flags| *flags = vec![flag("rpc.listen", "127.0.0.1:7")]);
    assert!(said.starts_with("rpc.listen is set, but cluster.secret-file is not"), "{said}");
}

#[test]
fn zones_and_roles_are_named_and_checked() {
    let config = load_file("node: {zone: west-1, roles: [read, write, rules]}", &[], &[]);
    assert_eq!(
        config.unwrap_err(),
        "FILE:1:29: node.roles must be a single value",
        "roles do not add up: those that are given are all"
    );
    let config = load_file("node: {zone: west-1, roles: 'rules,read, write'}", &[], &[]).unwrap();
    assert_eq!(config.node_zone.as_ref().map(ToString::to_string), Some("west-1".to_owned()));
    assert_eq!(config.node_roles, Config::default().node_roles);
    assert_eq!(load_file(&config.to_yaml(), &[], &[]).unwrap(), config);
    let roles = |text| load(&[flag("node.roles", text)], &[]).unwrap_err().to_string();
    assert!(roles("wirte").ends_with("did you mean write?"), "{}", roles("wirte"));
    assert!(roles("read").contains("holds heads"), "alone: {}", roles("read"));
    let secret = flag("cluster.secret-file", "secret");
    let readers = [secret, flag("storage.url", "file:///bucket"), flag("node.roles", "read")];
    assert_eq!(load(&readers, &[]).unwrap().node_roles, [Role::Read]);
    let zone = |text| load(&[flag("node.zone", text)], &[]).unwrap_err().to_string();
    assert!(zone(":a").contains("must be 1 to 63 letters") && zone("a b").contains("must be 1 to 63"));
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_are_not_settings() {
    let environment = variables(&[
        ("GYRE_PORT", "tcp://10.0.0.1:9009"),
        ("GYRE_PORT_9009_TCP_ADDR", "10.0.0.1"),
        ("GYRE_SERVICE_HOST", "10.0.0.1"),
        ("GYRE_SERVICE_PORT_HTTP", "9009"),
    ]);
    assert_eq!(load(&[], &environment), Ok(Config::default()));
}

#[test]
fn a_file_that_is_missing_or_broken_is_one_line() {
    let missing = load(&[flag("config.file", "/nowhere/gyre.yaml")], &[]).unwrap_err().to_string();
    assert!(missing.starts_with("flag --config.file: cannot read /nowhere/gyre.yaml: "), "{missing}");
    assert!(error("a: [1\n").starts_with("FILE:"));
    let unset = load_file("data_dir: ${NOT_SET}", &[flag("config.expand-env", "true")], &[]).unwrap_err();
    assert_eq!(unset, "FILE:1:11: environment variable NOT_SET is not set and has no default");
}

#[test]
fn the_effective_configuration_reads_back_to_itself() {
    let text = "http: {listen: '[::1]:80'}\nlimits: {ingestion_rate: 12.5, enforce_metric_name: false}\n\
                overrides: {acme: {max_metadata_length: 9}, \"007\": {max_series_per_metric: 3}}\n\
                query: {timeout: 90s}\ndata_dir: \"a: b # c\"\n";
    let config = load_file(text, &[], &[]).unwrap();
    assert_eq!(load_file(&config.to_yaml(), &[], &[]).unwrap(), config);
    let defaults = Config::default();
    assert_eq!(load_file(&defaults.to_yaml(), &[], &[]).unwrap(), defaults);
}

#[test]
fn features_add_up_and_unknown_ones_name_the_nearest() {
    let text = "enable_feature: promql-experimental-functions, type-and-unit-labels\n";
    let more = [flag("enable-feature", "promql-delayed-name-removal"), flag("enable-feature", "")];
    let config = load_file(text, &more, &[]).unwrap();
    for feature in [Feature::ExperimentalFunctions, Feature::TypeAndUnitLabels, Feature::DelayedNameRemoval] {
        assert!(config.features.has(feature), "{feature:?}");
    }
    assert!(!config.features.has(Feature::UseStartTimestamps));
    assert_eq!(load_file(&config.to_yaml(), &[], &[]).unwrap(), config);
    assert_eq!(
        load(&[flag("enable-feature", "promql-experimental-function")], &[]).unwrap_err().to_string(),
        "flag --enable-feature: invalid value \"promql-experimental-function\" for enable-feature: there is no \
         feature promql-experimental-function, did you mean promql-experimental-functions?"
    );
    let error = error("enable_feature: exemplar-storage\n");
    assert!(error.contains("there is no feature exemplar-storage here, only promql-"), "{error}");
}
