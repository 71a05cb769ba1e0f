//! What reads cost and where they went.

use std::borrow::Cow;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type ByLabel = Family<[(&'static str, Cow<'static, str>); 1], Counter>;

/// Counters of reads.
#[derive(Clone, Debug, Default)]
pub struct ReadMetrics {
    segments: ByLabel,
    checks: ByLabel,
    retries: ByLabel,
    places: ByLabel,
    fragments: Counter,
}

/// Why something was asked again or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The documents were old: the read began anew.
    Stale,
    /// A replica did not answer for a while: another one was asked as well.
    Slow,
    /// A replica lacked batches that another one has.
    Behind,
    /// A replica could not be reached, or refused.
    Failed,
    /// A replica failed while its data was read: the query began anew.
    Lost,
    /// Other nodes have whole shards of a query, and what they could compute of it cannot be had or used: it was
    /// evaluated over their chunks.
    Parts,
}

impl Retry {
    fn name(self) -> &'static str {
        match self {
            Retry::Stale => "stale",
            Retry::Slow => "slow",
            Retry::Behind => "behind",
            Retry::Failed => "failed",
            Retry::Lost => "lost",
            Retry::Parts => "parts",
        }
    }
}

impl ReadMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, family) in [
            ("gyre_read_segments", "Segments that were read, by where their data was", &self.segments),
            (
                "gyre_read_vector_checks",
                "Segments of which a second replica was asked what it holds, by where it was",
                &self.checks,
            ),
            ("gyre_read_retries", "What reads asked again or elsewhere, by reason", &self.retries),
            (
                "gyre_read_places",
                "Nodes that computed parts of queries beside the data, by where they were",
                &self.places,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        let help = "Fragments of other nodes' queries that were evaluated here";
        registry.register("gyre_read_fragments", help, self.fragments.clone());
    }

    /// Counts segments whose data is here or elsewhere.
    pub fn segments(&self, is_local: bool, count: u64) {
        if count > 0 {
            self.segments.get_or_create(&[("source", Cow::Borrowed(source(is_local)))]).inc_by(count);
        }
    }

    /// Counts vectors that were asked for.
    pub fn checks(&self, is_local: bool, count: u64) {
        self.checks.get_or_create(&[("source", Cow::Borrowed(source(is_local)))]).inc_by(count);
    }

    /// Counts places in which a query is evaluated in parts.
    pub fn places(&self, is_local: bool, count: u64) {
        if count > 0 {
            self.places.get_or_create(&[("source", Cow::Borrowed(source(is_local)))]).inc_by(count);
        }
    }

    /// Counts fragments that were evaluated for other nodes.
    pub fn fragments(&self, count: u64) {
        self.fragments.inc_by(count);
    }

    /// How many fragments were evaluated for other nodes.
    pub fn fragments_evaluated(&self) -> u64 {
        self.fragments.get()
    }

    /// Counts a retry.
    pub fn retry(&self, reason: Retry) {
        self.retries.get_or_create(&[("reason", Cow::Borrowed(reason.name()))]).inc();
    }

    /// How many retries there were for a reason.
    pub fn retries(&self, reason: Retry) -> u64 {
        self.retries.get_or_create(&[("reason", Cow::Borrowed(reason.name()))]).get()
    }
}

fn source(is_local: bool) -> &'static str {
    if is_local { "local" } else { "remote" }
}
