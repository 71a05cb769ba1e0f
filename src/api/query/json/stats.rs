//! What a query took, for those who ask with `stats`.

use std::io::Write;
use std::time::Duration;

use crate::node::{QueryStats, QueryTimes};

/// Writes `,"stats":{...}`, to stand behind the result. Samples are listed step by step if the steps' times are given.
pub fn write_member(out: &mut Vec<u8>, stats: &QueryStats, steps: Option<QueryTimes>) {
    let timings = [
        ("evalTotalTime", stats.running),
        ("resultSortTime", stats.sorting),
        ("queryPreparationTime", stats.preparation),
        ("innerEvalTime", stats.evaluation),
        ("execQueueTime", stats.waiting),
        ("execTotalTime", stats.waiting + stats.running),
    ];
    out.extend_from_slice(b",\"stats\":{\"timings\":{");
    for (position, (name, duration)) in timings.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_duration(out, name, duration);
    }
    // Writing to a vector cannot fail.
    let _ = write!(out, "}},\"samples\":{{");
    if let Some(times) = steps {
        write_steps(out, &stats.samples_per_step, times);
    }
    let total: u64 = stats.samples_per_step.iter().sum();
    let _ = write!(out, "\"totalQueryableSamples\":{total},\"peakSamples\":{}}}}}", stats.samples_peak);
}

/// Writes `"totalQueryableSamplesPerStep":[[1435781451.781,3],...],`, unless there are no steps.
fn write_steps(out: &mut Vec<u8>, counts: &[u64], times: QueryTimes) {
    let (start_ms, step_ms) = match times {
        QueryTimes::Instant { time_ms } => (time_ms, 0),
        QueryTimes::Range { start_ms, step_ms, .. } => (start_ms, step_ms),
    };
    if counts.is_empty() {
        return;
    }
    out.extend_from_slice(b"\"totalQueryableSamplesPerStep\":[");
    let mut t_ms = start_ms;
    for (position, count) in counts.iter().enumerate() {
        out.extend_from_slice(if position > 0 { b",[" } else { b"[" });
        // A number of seconds without needless digits, not the three digits of other timestamps.
        let _ = write!(out, "{},{count}]", t_ms as f64 / 1000.0);
        t_ms = t_ms.saturating_add(step_ms);
    }
    out.extend_from_slice(b"],");
}

fn write_duration(out: &mut Vec<u8>, name: &str, duration: Duration) {
    let _ = write!(out, "\"{name}\":{}", duration.as_secs_f64());
}
