//! The query mix over six hours, from the head, from blocks, and from both, as a client sees it.
//!
//! Three nodes have the same samples. One of them has shipped everything to its bucket (`/flush`), one the first four
//! hours. Each query goes to one after the other, several rounds, so that the machine's moods hit all alike. Answers must
//! be the same.

use std::path::Path;
use std::sync::Arc;

use super::Plan;
use crate::error::{Error, Result};
use crate::query::{self, Row, mix};
use crate::report::Table;
use crate::sender::{self, Part};
use crate::server::{Product, Server};
use crate::stream::{Shape, k8s, now_ms};
use crate::targets::Target;

const SERIES: usize = 5_000;
const STEP_MS: i64 = 15_000;
/// From blocks the mix may take so many times what it takes from the head.
const RATIO_MAX: f64 = 1.3;

/// Where a node has its samples.
#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    Blocks,
    /// The last two hours in the head, the others in blocks.
    Both,
}

/// Measures; the table and the targets.
pub fn run(plan: &Plan, folder: &Path) -> Result<(String, Vec<Target>)> {
    let series = plan.count(SERIES);
    let steps = (mix::SPAN_MS / STEP_MS) as u32;
    let shape = Shape { steps, step_ms: STEP_MS, lanes: plan.lanes, end_ms: now_ms() & !1, tail_requests: 0 };
    eprintln!("generating {series} series x {steps} steps");
    let stream = k8s::generate(folder, series, shape, plan.seed)?;
    let mut servers = Vec::new();
    for place in [Place::Head, Place::Blocks, Place::Both] {
        let product: Arc<dyn Product> = Arc::new(plan.server()?);
        let server = Server::start(&product, folder)?;
        match place {
            Place::Head => drop(sender::send(&stream, &server, Part::Main)?),
            Place::Blocks => {
                sender::send(&stream, &server, Part::Main)?;
                flush(&server)?;
            }
            Place::Both => {
                let middle = steps / 3 * 2;
                sender::send(&stream, &server, Part::Before(middle))?;
                flush(&server)?;
                sender::send(&stream, &server, Part::From(middle))?;
            }
        }
        servers.push(server);
    }
    for server in &servers {
        server.processes().wait_quiescent(query::QUIET, query::QUIET_LIMIT)?;
    }
    let mut queries = mix::mix((shape.end_ms - query::END_BEFORE_MS) | 1);
    queries.retain(|query| query.name.contains(&plan.only));
    let rows = queries.iter().map(|query| query::measure(query, &servers, plan.rounds, Some(0)));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    // It does so by itself some time after samples have stopped to come.
    let metrics = servers[0].connect().get("/metrics", &[])?.into_text()?;
    if !metrics.lines().any(|line| line == "gyre_ship_blocks_total 0") {
        return Err(Error::malformed("the run", "it took so long that the head was shipped meanwhile"));
    }
    report(series, &rows)
}

fn flush(server: &Server) -> Result<()> {
    let flushed = server.connect().post_form("/flush", &[])?;
    if flushed.status != 204 {
        return Err(Error::malformed("the answer to /flush", format!("status {}", flushed.status)));
    }
    Ok(())
}

fn report(series: usize, rows: &[Row]) -> Result<(String, Vec<Target>)> {
    let mut table = Table::new([
        "query: wall ms, ratio to the head's",
        "head",
        "blocks",
        "ratio",
        "both",
        "ratio",
        "CPU ms: head",
        "blocks",
        "ratio",
        "both",
        "ratio",
    ]);
    let mut totals = [0.0; 6];
    let mut worst = 0.0f64;
    let mut unlike = 0;
    let cells = |name: &str, figures: [f64; 6]| {
        let mut cells = vec![name.to_owned()];
        for [head, blocks, both] in
            [[figures[0], figures[1], figures[2]], [figures[3], figures[4], figures[5]]]
        {
            cells.push(format!("{head:.1}"));
            cells.extend(
                [blocks, both].iter().flat_map(|of| [format!("{of:.1}"), format!("{:.2}", of / head)]),
            );
        }
        cells
    };
    for row in rows {
        let [Ok(head), Ok(blocks), Ok(both)] = &row.timings[..] else {
            return Err(Error::malformed("the answers to the query mix", format!("{}: {row:?}", row.query)));
        };
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let all = [head, blocks, both];
        let (wall, cpu) = (all.map(|timing| ms(timing.wall)), all.map(|timing| ms(timing.cpu)));
        let figures = [wall[0], wall[1], wall[2], cpu[0], cpu[1], cpu[2]];
        totals.iter_mut().zip(figures).for_each(|(total, figure)| *total += figure);
        table.row(cells(row.query, figures));
        // Of what takes a millisecond most is not reading.
        worst = worst.max(wall[1] / (wall[0] + 2.0));
        unlike += all.iter().filter(|timing| timing.difference.is_some()).count();
    }
    table.row(cells("total", totals));
    let targets = vec![
        Target::new("query mix from blocks / from the head", RATIO_MAX, totals[1] / totals[0]),
        Target::new("query mix from both / from the head", RATIO_MAX, totals[2] / totals[0]),
        // What is left of it on a machine that others use, too.
        Target::new("CPU of the query mix from blocks / from the head", RATIO_MAX, totals[4] / totals[3]),
        Target::new("slowest query from blocks / (from the head + 2 ms)", RATIO_MAX, worst),
        Target::new("answers that differ from the head's", 0.0, unlike as f64),
    ];
    Ok((
        format!("\n## queries: {series} series x 6 h, median wall and mean CPU\n\n{}", table.render()),
        targets,
    ))
}
