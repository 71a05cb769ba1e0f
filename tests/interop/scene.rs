//! Two node_exporters, a Prometheus that scrapes them and itself every second, and the server it remote-writes to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bench::query::api::{Call, Data, Point};
use bench::server::{ManagedChild, ManagedFolder, Product, Prometheus, Server, free_port};
use bench::stream::now_ms;
use bench::stream::recording::start_node_exporter;
use bench::{Error, Result};

/// Longest wait for scrapes to be made and to arrive.
const SCRAPE_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(200);
/// Targets: two node_exporters and Prometheus itself.
const TARGETS: usize = 3;
/// No expression looks further back than this from the window's start.
const LOOK_BACK_MS: i64 = 21_000;

/// Both servers, holding the same samples up to `end_ms`.
pub struct Scene {
    prometheus: Server,
    gyre: Server,
    /// Before the first scrape.
    pub started_ms: i64,
    /// First evaluation time.
    pub start_ms: i64,
    /// Last evaluation time; scrapes after it are in neither server's answers.
    pub end_ms: i64,
    /// Whether some samples lie where subqueries are evaluated.
    pub scraped_at_whole_seconds: bool,
    _exporters: [ManagedChild; 2],
    _folder: ManagedFolder,
}

impl Scene {
    /// Starts all of it and waits until `scrapes` scrapes of each target are in both servers.
    pub fn start(gyre: &Arc<dyn Product>, scrapes: usize) -> Result<Scene> {
        let started_ms = now_ms();
        let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
        let (first, first_address) = start_node_exporter()?;
        let (second, second_address) = start_node_exporter()?;
        let gyre = Server::start(gyre, folder.path())?;
        // One remote-write shard: what has arrived is a prefix of what was scraped.
        let own_address = free_port()?;
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: node, static_configs: [{{targets: ['{first_address}', '{second_address}']}}]}}\n\
             - {{job_name: prometheus, static_configs: [{{targets: ['{own_address}']}}]}}\n\
             remote_write:\n\
             - url: http://{}{}\n  \
               queue_config: {{min_shards: 1, max_shards: 1, batch_send_deadline: 500ms}}\n",
            gyre.address,
            gyre.product.write_path(),
        );
        let prometheus: Arc<dyn Product> = Arc::new(Prometheus::with_config(config));
        let prometheus = Server::start_at(&prometheus, folder.path(), own_address)?;
        let mut scene = Scene {
            prometheus,
            gyre,
            started_ms,
            start_ms: 0,
            end_ms: 0,
            scraped_at_whole_seconds: false,
            _exporters: [first, second],
            _folder: folder,
        };
        scene.wait_for_scrapes(scrapes)?;
        Ok(scene)
    }

    /// Prometheus's answer.
    pub fn ask_prometheus(&self, call: &Call) -> Result<Data> {
        call.ask(&self.prometheus, &mut self.prometheus.connect())
    }

    /// Gyre's answer.
    pub fn ask_gyre(&self, call: &Call) -> Result<Data> {
        call.ask(&self.gyre, &mut self.gyre.connect())
    }

    /// An expression as Prometheus formats it, and as gyre does.
    pub fn formatted(&self, expr: &str) -> Result<(String, String)> {
        let format = |server: &Server| {
            let answer = server.query(&mut server.connect(), "/api/v1/format_query", &[("query", expr)])?;
            answer.into_text()
        };
        Ok((format(&self.prometheus)?, format(&self.gyre)?))
    }

    /// How many samples Prometheus says that a query looked at, and how many gyre says.
    pub fn samples(&self, call: &Call) -> Result<(u64, u64)> {
        let samples = |server: &Server| {
            let body = call.send_with_stats(server, &mut server.connect(), "true")?;
            let json: serde_json::Value =
                serde_json::from_str(&body).map_err(|error| Error::malformed("an answer", error))?;
            let samples = json["data"]["stats"]["samples"]["totalQueryableSamples"].as_u64();
            samples.ok_or_else(|| Error::malformed("statistics", body))
        };
        Ok((samples(&self.prometheus)?, samples(&self.gyre)?))
    }

    fn wait_for_scrapes(&mut self, scrapes: usize) -> Result<()> {
        let give_up = Instant::now() + SCRAPE_LIMIT;
        let series = wait(give_up, "scrapes", || {
            let series = scrape_times(&self.prometheus)?;
            let enough = series.len() == TARGETS && series.iter().all(|times| times.len() >= scrapes);
            Ok(enough.then_some(series))
        })?;
        let first_ms = series.iter().filter_map(|times| times.first()).copied().max().unwrap_or(0);
        let last_ms = series.iter().filter_map(|times| times.last()).copied().min().unwrap_or(0);
        // Scrapes recur at the same millisecond of a second, mostly: one that none of them ever had is off all edges.
        let taken: BTreeSet<i64> = series.iter().flatten().map(|time| time.rem_euclid(1_000)).collect();
        self.scraped_at_whole_seconds = taken.contains(&0);
        let free_ms = (1..1_000).find(|ms| !taken.contains(ms));
        let free_ms =
            free_ms.ok_or_else(|| Error::malformed("scrape times", "every millisecond is taken"))?;
        self.end_ms = last_ms.div_euclid(1_000) * 1_000 - 1_000 + free_ms;
        self.start_ms = (first_ms + LOOK_BACK_MS).div_euclid(1_000) * 1_000 + free_ms;
        let end_ms = self.end_ms;
        wait(give_up, "remote-written samples", || {
            let arrived = scrape_times(&self.gyre)?;
            let complete = arrived.len() == TARGETS
                && arrived.iter().all(|times| times.last().is_some_and(|last| *last > end_ms));
            Ok(complete.then_some(()))
        })
    }
}

/// When each target was scraped, as one server knows it.
fn scrape_times(server: &Server) -> Result<Vec<Vec<i64>>> {
    server.check_running()?;
    let call = Call::Instant { expr: "up[10m]".into(), at_ms: now_ms() };
    match call.ask(server, &mut server.connect())? {
        Data::Series(_, series) => {
            let times = |points: &Vec<Point>| points.iter().map(|point| point.timestamp_ms).collect();
            Ok(series.values().map(times).collect())
        }
        other => Err(Error::malformed("scrape times", format!("{other:?}"))),
    }
}

/// Polls until there is a value, at most until `give_up`.
fn wait<T>(give_up: Instant, what: &str, poll: impl Fn() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(value) = poll()? {
            return Ok(value);
        }
        if Instant::now() > give_up {
            return Err(Error::malformed(what, format!("not there after {SCRAPE_LIMIT:?}")));
        }
        thread::sleep(POLL);
    }
}
