//! What a query took, for those who ask with `stats`.

use std::io::Write;
use std::time::Duration;

use crate::node::QueryStats;

/// Writes `,"stats":{...}`, to stand behind the result.
pub fn write_member(out: &mut Vec<u8>, stats: &QueryStats) {
    let timings = [
        ("evalTotalTime", stats.evaluation),
        ("execQueueTime", stats.waiting),
        ("execTotalTime", stats.waiting + stats.evaluation),
    ];
    out.extend_from_slice(b",\"stats\":{\"timings\":{");
    for (position, (name, duration)) in timings.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_duration(out, name, duration);
    }
    // Writing to a vector cannot fail.
    let _ = write!(out, "}},\"samples\":{{\"peakSamples\":{}}}}}", stats.samples_peak);
}

fn write_duration(out: &mut Vec<u8>, name: &str, duration: Duration) {
    let _ = write!(out, "\"{name}\":{}", duration.as_secs_f64());
}
