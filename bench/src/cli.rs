//! The command line: which run, which servers, how large.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::ingest::{self, RecordingSource, Scenario};
use crate::process::machine;
use crate::query::memory;
use crate::server::{
    Gyre, GyreCluster, ManagedFolder, Product, Prometheus, VictoriaMetrics, clean_up_on_signals,
};
use crate::stream::recording::Recording;
use crate::{alloc, blocks, query, report, shape, targets};

/// Measures gyre and the installed peers side by side, on the same bytes.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Cli {
    #[command(subcommand)]
    run: Run,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Write streams into each server: CPU, memory, latency, disk, and what a kill -9 loses.
    Ingest(Ingest),
    /// Ask each server the query mix over six hours of 10,000 series.
    Query(Query),
    /// Count heap allocations per sample in steady state (gyre: built with --features count-allocations).
    Alloc(Common),
    /// Measure the memory that one aggregation over 100,000 bucket series needs.
    Memory(Common),
    /// Have a fourth node join a cluster under load, and drain it again.
    Shape(Shape),
    /// Measure blocks: CPU per sample, memory of compaction, a bucket with a thousand, queries beside the head.
    Blocks(Blocks),
    /// Record a real node_exporter for the node-exporter stream.
    Record(Record),
    /// Compact the blocks of a folder; `blocks` runs this as a process of its own.
    #[command(hide = true)]
    CompactOnce {
        /// The folder.
        folder: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServerName {
    Prometheus,
    VictoriaMetrics,
    /// gyre with fdatasync before each ack.
    Gyre,
    /// gyre that leaves syncing to the system, as the peers do.
    GyreOs,
    /// Three gyre processes as one cluster; CPU, memory and disk of all three.
    GyreCluster,
}

#[derive(Debug, Args)]
struct Common {
    /// Servers to run, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "prometheus,victoria-metrics,gyre")]
    servers: Vec<ServerName>,
    /// The gyre binary [default: the one beside this executable].
    #[arg(long)]
    gyre: Option<PathBuf>,
    /// Multiplies the number of series.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    scale: f64,
    /// Fixes the generated values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Connections to write over.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    connections: u8,
    /// Folder for data folders and streams, all removed at the end [default: the system's].
    #[arg(long)]
    tmp: Option<PathBuf>,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Ingest {
    #[command(flatten)]
    common: Common,
    /// Streams to send.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "10k,200k,1m,node-exporter")]
    scenario: Vec<Scenario>,
    /// A recording made by `bench record` [default: record now].
    #[arg(long)]
    recording: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Query {
    #[command(flatten)]
    common: Common,
    /// Rounds over the servers for each query; medians are of these.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Ask only the queries of the mix with this in their names.
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Debug, Args)]
struct Shape {
    /// The gyre binary [default: the one beside this executable].
    #[arg(long)]
    gyre: Option<PathBuf>,
    /// Folder for data folders, removed at the end [default: the system's].
    #[arg(long)]
    tmp: Option<PathBuf>,

    /// Tenants that write all the time.
    #[arg(long, default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..))]
    tenants: u32,

    /// Series of each tenant.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    series: u32,

    /// Milliseconds between two samples of a series.
    #[arg(long, default_value_t = 1000)]
    step_ms: u64,
}

#[derive(Debug, Args)]
struct Blocks {
    /// Parts to run.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rates,peaks,opening,queries")]
    parts: Vec<blocks::Part>,
    /// The gyre binary [default: the one beside this executable].
    #[arg(long)]
    gyre: Option<PathBuf>,
    /// Multiplies the number of series.
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    scale: f64,
    /// Fixes the generated values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds over the head and the blocks for each query; medians are of these.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Ask only the queries of the mix with this in their names.
    #[arg(long, default_value = "")]
    only: String,
    /// Folder for data folders and streams, all removed at the end [default: the system's].
    #[arg(long)]
    tmp: Option<PathBuf>,
    /// Also write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Record {
    /// File to write.
    #[arg(long)]
    out: PathBuf,
    /// Scrapes: hosts plus steps of the stream it is for.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    scrapes: u16,
    /// Time between two scrapes.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    interval_ms: u16,
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if value > 0.0 && value <= 10.0 { Ok(value) } else { Err("not in (0, 10]".into()) }
}

/// Interval when recording on the fly: 300 scrapes in a minute.
const RECORD_INTERVAL: Duration = Duration::from_millis(200);

fn folder_in(parent: Option<&Path>) -> Result<ManagedFolder> {
    ManagedFolder::create_in(&parent.map_or_else(std::env::temp_dir, Path::to_owned))
}

fn write_json(path: Option<&Path>, value: &Value) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, format!("{value:#}\n")).map_err(Error::io(format!("writing {}", path.display())))
}

impl Cli {
    /// Does what the command line asks for and prints it.
    pub fn run(self) -> Result<()> {
        clean_up_on_signals()?;
        match self.run {
            Run::Ingest(ingest) => ingest.run(),
            Run::Query(query) => query.run(),
            Run::Alloc(common) => common.run_alloc(),
            Run::Memory(common) => common.run_memory(),
            Run::Shape(shape) => shape.run(),
            Run::Blocks(blocks) => blocks.run(),
            Run::CompactOnce { folder } => blocks::peaks::compact_once(&folder),
            Run::Record(record) => {
                let interval = Duration::from_millis(record.interval_ms.into());
                let recording = Recording::record(record.scrapes.into(), interval)?;
                recording.save(&record.out)?;
                let (series, scrapes) = (recording.series.len(), recording.scrapes.len());
                println!("{series} series, {scrapes} scrapes in {}", record.out.display());
                Ok(())
            }
        }
    }
}

impl Common {
    /// The servers, or an error that names the first absent program.
    fn products(&self) -> Result<Vec<Arc<dyn Product>>> {
        let gyre = || self.gyre.clone().unwrap_or_else(Gyre::sibling_program);
        let product = |name: &ServerName| -> Result<Arc<dyn Product>> {
            Ok(match name {
                ServerName::Prometheus => Arc::new(Prometheus::receiver()),
                ServerName::VictoriaMetrics => Arc::new(VictoriaMetrics::new()),
                ServerName::Gyre => Arc::new(Gyre::committing(gyre())),
                ServerName::GyreOs => Arc::new(Gyre::os_synced(gyre())),
                ServerName::GyreCluster => Arc::new(GyreCluster::new(gyre())?),
            })
        };
        let products: Vec<_> = self.servers.iter().map(product).collect::<Result<_>>()?;
        match products.iter().find(|product| !product.program().exists()) {
            Some(absent) => {
                Err(Error::Missing { program: absent.program().into(), hint: absent.how_to_get().into() })
            }
            None => Ok(products),
        }
    }

    fn folder(&self) -> Result<ManagedFolder> {
        folder_in(self.tmp.as_deref())
    }

    fn write_json(&self, value: &Value) -> Result<()> {
        write_json(self.json.as_deref(), value)
    }

    fn run_alloc(&self) -> Result<()> {
        let products = self.products()?;
        let folder = self.folder()?;
        let counts = alloc::run(&products, self.scale, self.seed, self.connections.into(), folder.path())?;
        let targets = targets::of_allocations(&counts);
        print!("{}{}", report::alloc_markdown(&counts), report::targets_markdown(&targets));
        self.write_json(&report::alloc_json(&counts, &targets))
    }

    fn run_memory(&self) -> Result<()> {
        let products = self.products()?;
        let folder = self.folder()?;
        let peaks = memory::run(&products, self.scale, self.seed, self.connections.into(), folder.path())?;
        let targets = targets::of_memory(&peaks);
        print!("{}{}", report::memory_markdown(&peaks), report::targets_markdown(&targets));
        self.write_json(&report::memory_json(&peaks, &targets))
    }
}

impl Blocks {
    fn run(self) -> Result<()> {
        println!("{}", machine());
        let folder = folder_in(self.tmp.as_deref())?;
        let plan = blocks::Plan {
            parts: self.parts,
            gyre: self.gyre.unwrap_or_else(Gyre::sibling_program),
            scale: self.scale,
            seed: self.seed,
            lanes: 4,
            rounds: self.rounds.into(),
            only: self.only,
        };
        let targets = blocks::run(&plan, folder.path())?;
        write_json(self.json.as_deref(), &report::targets_json(&targets))
    }
}

impl Ingest {
    fn run(&self) -> Result<()> {
        let products = self.common.products()?;
        let folder = self.common.folder()?;
        println!("{}\n{}", machine(), report::FAIRNESS_NOTES);
        let recording = RecordingSource { path: self.recording.clone(), interval: RECORD_INTERVAL };
        let mut json = Vec::new();
        for scenario in &self.scenario {
            eprintln!("generating {scenario}");
            let lanes = self.common.connections.into();
            let stream =
                scenario.generate(folder.path(), self.common.scale, self.common.seed, lanes, &recording)?;
            let title = format!(
                "{} series, {} samples, {:.1} MB of requests",
                stream.series,
                stream.main_samples,
                stream.main_bytes as f64 / 1e6
            );
            let mut outcomes = Vec::new();
            for product in &products {
                eprintln!("running {} on {title}", product.name());
                outcomes.push(ingest::run(product, &stream, folder.path())?);
            }
            let targets = targets::of_ingest(*scenario, &outcomes);
            print!("{}", report::ingest_markdown(*scenario, &title, &outcomes, &targets));
            json.push(report::ingest_json(*scenario, &outcomes, &targets));
            // After each scenario: an interrupted run keeps what it has.
            self.common.write_json(&Value::Array(json.clone()))?;
        }
        Ok(())
    }
}

impl Shape {
    fn run(&self) -> Result<()> {
        let program = shape::program(self.gyre.clone())?;
        let scale = shape::Scale {
            tenants: self.tenants as usize,
            series: self.series as usize,
            step: Duration::from_millis(self.step_ms),
        };
        let folder = ManagedFolder::create_in(&self.tmp.clone().unwrap_or_else(std::env::temp_dir))?;
        let figures = shape::run(&program, folder.path(), scale)?;
        let targets = shape::report::targets(&figures);
        print!("{}\n{}{}", machine(), shape::report::head(&figures), report::targets_markdown(&targets));
        Ok(())
    }
}

impl Query {
    fn run(&self) -> Result<()> {
        let products = self.common.products()?;
        let names: Vec<&str> = products.iter().map(|product| product.name()).collect();
        let folder = self.common.folder()?;
        let lanes = self.common.connections.into();
        let (scale, seed) = (self.common.scale, self.common.seed);
        let asked = query::Asked { names_with: self.only.clone(), rounds: self.rounds.into() };
        let rows = query::run(&products, scale, seed, lanes, &asked, folder.path())?;
        let targets = targets::of_queries(&names, &rows);
        println!("{}\n{}", machine(), report::FAIRNESS_NOTES);
        print!("{}", report::query_markdown(&names, &rows, &targets));
        self.common.write_json(&report::query_json(&names, &rows, &targets))
    }
}
