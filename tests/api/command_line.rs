//! The program from the shell: help, errors, stopping.

use std::io::Write as _;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::server::{Response, Server, gyre};

fn run(arguments: &[&str]) -> Output {
    gyre(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_is_one_screen_and_names_every_flag() {
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    assert!(help.lines().count() <= 42, "{help}");
    for flag in ["--config.file", "--data-dir", "--http.listen", "--auth.mode", "--wal.sync", "check-config"]
    {
        assert!(help.contains(flag), "{flag} in {help}");
    }
}

#[test]
fn the_version_is_one_line() {
    let output = run(&["--version"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with(concat!("gyre ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_flag_is_one_line_on_standard_error_and_status_2() {
    for (arguments, line) in [
        (
            &["--http.lisen=:1"][..],
            "gyre: flag --http.lisen: unknown key http.lisen, did you mean --http.listen?\n",
        ),
        (
            &["-wal.sync", "sometimes"],
            "gyre: flag --wal.sync: invalid value \"sometimes\" for wal.sync: must be one of commit, os\n",
        ),
        (
            &["--gossip.join=a:1"],
            "gyre: gossip.join is set, but cluster.secret-file is not: nodes of a cluster prove to each other that they know its secret; make one with: openssl rand -hex 32 > secret, and give all nodes the same\n",
        ),
        (
            &["sreve"],
            "gyre: unknown command sreve, expected one of serve, check-config, status, drain, blocks\n",
        ),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(text(&output.stderr), line);
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn check_config_prints_what_a_file_comes_to_or_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gyre.yaml");
    let path_text = path.to_str().unwrap();
    std::fs::write(&path, "limits:\n  max_series_per_user: 5\n").unwrap();
    let output = run(&["check-config", path_text]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("  max_series_per_user: 5\n"));

    std::fs::write(&path, "limits:\n  max_series_per_usr: 5\n").unwrap();
    let output = run(&["check-config", path_text]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        format!(
            "gyre: {path_text}:2:3: unknown key limits.max_series_per_usr, did you mean max_series_per_user?\n"
        )
    );
}

#[test]
fn a_port_in_use_is_named() {
    let server = Server::start();
    let address = server.connect().peer_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let output = run(&["--http.listen", &address, "--data-dir", data.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}

#[test]
fn sigterm_stops_in_order_with_status_0() {
    let server = Server::start();
    assert_eq!(server.get("/ready").status, 200);
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn an_idle_connection_does_not_hold_up_the_stop() {
    let server = Server::start();
    let mut idle = server.connect();
    idle.write_all(b"GET /ready HTTP/1.1\r\nHost: gyre\r\n\r\n").unwrap();
    assert_eq!(Response::read(&mut idle).status, 200);
    let started = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(10), "stopped after {:?}", started.elapsed());
}
