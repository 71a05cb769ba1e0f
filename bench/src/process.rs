//! What the kernel says a server used: CPU time, anonymous memory, bytes written, bytes in its folders.
//!
//! Source: proc(5). All of it is Linux's own accounting, the same for every server, whatever that reports of itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// `USER_HZ`: the unit of times in `/proc/PID/stat`, 100 on every architecture that Linux exports it on today.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process, watched through `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.0);
        fs::read_to_string(&path).map_err(Error::io(format!("reading {path}")))
    }

    /// CPU time of all its threads, past ones included, in seconds (resolution 10 ms).
    pub fn cpu_seconds(self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The command's name may hold spaces and parentheses; the fields after its last one do not.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => Ok((user + system) / TICKS_PER_SECOND),
            _ => Err(Error::malformed(format!("/proc/{}/stat", self.0), stat)),
        }
    }

    /// Anonymous resident memory in bytes: what the process allocated, without files that it mapped.
    pub fn rss_anon_bytes(self) -> Result<u64> {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(self, field: &str) -> Result<u64> {
        let status = self.read("status")?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes
            .map(|kilobytes| kilobytes * 1_024)
            .ok_or_else(|| Error::malformed(format!("/proc/{}/status", self.0), format!("no {field}")))
    }

    /// The most resident memory that it ever had in bytes, files that it mapped included.
    pub fn peak_bytes(self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Bytes that it caused to be written to the disk, so far.
    pub fn written_bytes(self) -> Result<u64> {
        let io = self.read("io")?;
        io.lines()
            .find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok())
            .ok_or_else(|| Error::malformed(format!("/proc/{}/io", self.0), "no write_bytes"))
    }
}

/// The processes that a server consists of, looked at as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes(pub Vec<Process>);

impl Processes {
    /// CPU seconds of all, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.0.iter().map(|process| process.cpu_seconds()).sum()
    }

    /// Anonymous resident memory of all in bytes.
    pub fn rss_anon_bytes(&self) -> Result<u64> {
        self.0.iter().map(|process| process.rss_anon_bytes()).sum()
    }

    /// Bytes that they caused to be written to the disk, so far.
    pub fn written_bytes(&self) -> Result<u64> {
        self.0.iter().map(|process| process.written_bytes()).sum()
    }

    /// Runs `work`, and says what the highest anonymous memory was meanwhile, read every `poll`.
    pub fn rss_anon_peak_during<T>(&self, poll: Duration, work: impl FnOnce() -> T) -> (u64, T) {
        let peak_bytes = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            // Raised when `work` ends in whatever way, or the scope would wait for ever after a panic.
            let _done = RaiseAtEnd(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let Ok(bytes) = self.rss_anon_bytes() else { return };
                    peak_bytes.fetch_max(bytes, Ordering::Relaxed);
                    thread::sleep(poll);
                }
            });
            work()
        });
        (peak_bytes.into_inner(), result)
    }

    /// Waits until they used under 3 % of one core each for `quiet`, at most `limit`. False when it did not
    /// become quiet, which is a finding and not an error.
    pub fn wait_quiescent(&self, quiet: Duration, limit: Duration) -> Result<bool> {
        const WINDOW: Duration = Duration::from_millis(500);
        let give_up = Instant::now() + limit;
        let mut quiet_since = Instant::now();
        let mut before = self.cpu_seconds()?;
        while Instant::now() < give_up {
            thread::sleep(WINDOW);
            let now = self.cpu_seconds()?;
            if now - before > (0.03 * WINDOW.as_secs_f64() + 1.0 / TICKS_PER_SECOND) * self.0.len() as f64 {
                quiet_since = Instant::now();
            }
            before = now;
            if quiet_since.elapsed() >= quiet {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

struct RaiseAtEnd<'a>(&'a AtomicBool);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What the machine is, for the head of a report.
pub fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or_else(|| line.to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let model = first("/proc/cpuinfo", "model name");
    let memory = first("/proc/meminfo", "MemTotal");
    let kernel = first("/proc/sys/kernel/osrelease", "");
    format!("{cores} cores of {model}, {memory}, Linux {kernel}")
}

/// Disk space of all files under a folder or of one file in bytes, as `du` counts it: files may be sparse. What vanishes meanwhile counts nothing.
pub fn path_bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.blocks() * 512;
    }
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries.flatten().map(|entry| path_bytes(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_used_cpu_and_memory() {
        let this = Process(std::process::id());
        let before = this.cpu_seconds().unwrap();
        let mut sum = 0u64;
        while this.cpu_seconds().unwrap() - before < 0.05 {
            sum = (0..100_000u64).fold(sum, |sum, x| std::hint::black_box(sum ^ x));
        }
        // A thread that has ended counts on.
        let ended = thread::spawn(move || {
            let mut sum = 0u64;
            while this.cpu_seconds().unwrap() - before < 0.1 {
                sum = (0..100_000u64).fold(sum, |sum, x| std::hint::black_box(sum ^ x));
            }
        });
        ended.join().unwrap();
        assert!(this.cpu_seconds().unwrap() - before >= 0.1);
        assert!(this.rss_anon_bytes().unwrap() > 4_096);
        assert!(this.peak_bytes().unwrap() >= this.rss_anon_bytes().unwrap());
        assert!(this.written_bytes().is_ok());
    }

    #[test]
    fn the_peak_is_seen_although_it_is_gone_at_the_end() {
        const BYTES: usize = 64 << 20;
        let this = Processes(vec![Process(std::process::id())]);
        let before = this.rss_anon_bytes().unwrap();
        let (peak, sum) = this.rss_anon_peak_during(Duration::from_millis(1), || {
            let block = vec![1u8; BYTES];
            // Long enough for several polls, however they are scheduled.
            let begun = Instant::now();
            let mut sum = 0;
            while begun.elapsed() < Duration::from_millis(100) {
                sum = block.iter().map(|byte| usize::from(std::hint::black_box(*byte))).sum();
            }
            sum
        });
        assert_eq!(sum, BYTES);
        assert!(peak > before + (BYTES as u64) / 2, "{before} before, {peak} at the peak");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_that_names_the_file() {
        let error = Process(u32::MAX).cpu_seconds().unwrap_err().to_string();
        assert!(error.contains("/proc/4294967295/stat"), "{error}");
    }

    #[test]
    fn disk_space_of_a_folder_is_that_of_all_files_below_without_their_holes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("wal")).unwrap();
        fs::write(folder.path().join("wal/1"), vec![1; 100_000]).unwrap();
        fs::write(folder.path().join("meta"), vec![1; 200_000]).unwrap();
        fs::File::create(folder.path().join("sparse")).unwrap().set_len(64 << 20).unwrap();
        assert!((300_000..400_000).contains(&path_bytes(folder.path())));
        assert!((100_000..150_000).contains(&path_bytes(&folder.path().join("wal/1"))));
        assert_eq!(path_bytes(&folder.path().join("absent")), 0);
    }
}
