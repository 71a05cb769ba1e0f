//! How far long work is: a bar on standard error, if that is a terminal, else nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar.
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        let style = "{wide_msg} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        Progress { bar }
    }

    /// What is worked on.
    pub(super) fn on(&self, what: String) {
        self.bar.set_message(what);
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// A line beside the bar, on standard error.
    pub(super) fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
