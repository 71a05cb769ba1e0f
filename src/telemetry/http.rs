//! How long requests take, under Cortex's name, so that its dashboards work.

use std::borrow::Cow;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds in seconds; those of Cortex.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0];

type Labels = [(&'static str, Cow<'static, str>); 4];

/// Durations of all requests by method, route and status.
#[derive(Clone, Debug)]
pub struct RequestDurations {
    family: Family<Labels, Histogram, fn() -> Histogram>,
}

impl RequestDurations {
    /// Makes the family and registers it.
    pub fn register(registry: &mut Registry) -> Self {
        let family = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register(
            "cortex_request_duration_seconds",
            "Time spent serving HTTP requests",
            family.clone(),
        );
        Self { family }
    }

    /// Counts one request.
    pub fn observe(&self, method: &'static str, route: &'static str, status: u16, duration: Duration) {
        let status = match status {
            200 => Cow::Borrowed("200"),
            204 => Cow::Borrowed("204"),
            400 => Cow::Borrowed("400"),
            429 => Cow::Borrowed("429"),
            503 => Cow::Borrowed("503"),
            other => Cow::Owned(other.to_string()),
        };
        let labels = [
            ("method", Cow::Borrowed(method)),
            ("route", Cow::Borrowed(route)),
            ("status_code", status),
            ("ws", Cow::Borrowed("false")),
        ];
        self.family.get_or_create(&labels).observe(duration.as_secs_f64());
    }
}
