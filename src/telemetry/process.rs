//! The process's own use of the machine, under the names that every Prometheus client uses.
//!
//! Read from `/proc` at each scrape; on a system without it these metrics are absent rather than wrong.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Collects `process_*`.
#[derive(Debug)]
pub struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(usage) = Usage::read() else { return Ok(()) };
        let cpu = ConstCounter::new(usage.cpu_seconds);
        let metric = encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system CPU time spent, in seconds",
            None,
            cpu.metric_type(),
        )?;
        cpu.encode(metric)?;
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory", usage.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory", usage.virtual_bytes),
            ("process_open_fds", "Open file descriptors", usage.open_fds),
            ("process_max_fds", "Open file descriptors allowed", usage.max_fds),
            ("process_threads", "Threads", usage.threads),
            (
                "process_start_time_seconds",
                "Start of the process in seconds since the Unix epoch",
                usage.start_time_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    start_time_seconds: f64,
    open_fds: f64,
    max_fds: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot_time = fs::read_to_string("/proc/stat").ok()?;
        let boot_time: f64 =
            boot_time.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let max_fds = limits.lines().find(|line| line.starts_with("Max open files"))?;
        let max_fds = max_fds.split_whitespace().nth(3)?.parse().unwrap_or(f64::INFINITY);
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as f64;
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let page_bytes = rustix::param::page_size() as f64;
        Some(Self { max_fds, open_fds, ..Self::from_stat(&stat, boot_time, ticks_per_second, page_bytes)? })
    }

    /// Reads a line of `/proc/<pid>/stat`; fields by their numbers in proc(5).
    fn from_stat(stat: &str, boot_time: f64, ticks_per_second: f64, page_bytes: f64) -> Option<Self> {
        // The program's name, field 2, may hold spaces and parentheses.
        let behind_name = &stat[stat.rfind(')')? + 1..];
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (number(14)? + number(15)?) / ticks_per_second,
            threads: number(20)?,
            start_time_seconds: boot_time + number(22)? / ticks_per_second,
            virtual_bytes: number(23)?,
            resident_bytes: number(24)? * page_bytes,
            open_fds: 0.0,
            max_fds: 0.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_line_is_read_by_the_numbers_of_its_fields() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 1 2 3 4 250 150 7 8 20 0 9 0 1000 8192000 30 0";
        let usage = Usage::from_stat(stat, 1_700_000_000.0, 100.0, 4096.0).unwrap();
        assert_eq!(usage.cpu_seconds, 4.0);
        assert_eq!(usage.threads, 9.0);
        assert_eq!(usage.start_time_seconds, 1_700_000_010.0);
        assert_eq!(usage.virtual_bytes, 8_192_000.0);
        assert_eq!(usage.resident_bytes, 122_880.0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let usage = Usage::read().unwrap();
        assert!(usage.resident_bytes > 100_000.0 && usage.open_fds >= 3.0 && usage.threads >= 1.0);
    }
}
