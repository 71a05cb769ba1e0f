//! Counters of what each tenant sends and what becomes of it. Names and meanings are Cortex's.

use std::borrow::Cow;
use std::sync::Arc;

use gyre_ring::TenantId;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Text = Cow<'static, str>;
type ByUser = Family<[(&'static str, Text); 1], Counter>;
type ByUserAndType = Family<[(&'static str, Text); 2], Counter>;
type ByReasonAndUser = Family<[(&'static str, Text); 2], Counter>;

/// The families of all tenants.
#[derive(Clone, Debug, Default)]
pub struct TenantMetrics {
    families: Arc<Families>,
}

#[derive(Debug, Default)]
struct Families {
    samples_in: ByUserAndType,
    received_samples: ByUserAndType,
    reduced_histograms: ByUser,
    metadata_in: ByUser,
    received_metadata: ByUser,
    discarded_samples: ByReasonAndUser,
    discarded_exemplars: ByReasonAndUser,
    discarded_metadata: ByReasonAndUser,
}

impl TenantMetrics {
    /// Makes the families and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let families = Arc::new(Families::default());
        let by_user_and_type = [
            (
                "cortex_distributor_samples_in",
                "Samples that came in, including those that were refused later",
                &families.samples_in,
            ),
            ("cortex_distributor_received_samples", "Samples that were accepted", &families.received_samples),
        ];
        for (name, help, family) in by_user_and_type {
            registry.register(name, help, family.clone());
        }
        let by_user = [
            (
                "cortex_reduced_resolution_histogram_samples",
                "Native histograms that were stored at a lower resolution to have fewer buckets",
                &families.reduced_histograms,
            ),
            (
                "cortex_distributor_metadata_in",
                "Metadata entries that came in, including those that were refused later",
                &families.metadata_in,
            ),
            (
                "cortex_distributor_received_metadata",
                "Metadata entries that were accepted",
                &families.received_metadata,
            ),
        ];
        for (name, help, family) in by_user {
            registry.register(name, help, family.clone());
        }
        let by_reason = [
            ("cortex_discarded_samples", "Samples that were discarded", &families.discarded_samples),
            ("cortex_discarded_exemplars", "Exemplars that were discarded", &families.discarded_exemplars),
            (
                "cortex_discarded_metadata",
                "Metadata entries that were discarded",
                &families.discarded_metadata,
            ),
        ];
        for (name, help, family) in by_reason {
            registry.register(name, help, family.clone());
        }
        Self { families }
    }

    /// The counters of one tenant.
    pub fn of(&self, tenant: &TenantId) -> TenantCounters {
        let user: Text = Cow::Owned(tenant.as_str().to_owned());
        let by_user = |family: &ByUser| family.get_or_create_owned(&[("user", user.clone())]);
        let by_type = |family: &ByUserAndType, kind| {
            family.get_or_create_owned(&[("user", user.clone()), ("type", Cow::Borrowed(kind))])
        };
        TenantCounters {
            samples_in: by_type(&self.families.samples_in, "float"),
            histograms_in: by_type(&self.families.samples_in, "histogram"),
            received_samples: by_type(&self.families.received_samples, "float"),
            received_histograms: by_type(&self.families.received_samples, "histogram"),
            reduced_histograms: by_user(&self.families.reduced_histograms),
            metadata_in: by_user(&self.families.metadata_in),
            received_metadata: by_user(&self.families.received_metadata),
            families: Arc::clone(&self.families),
            user,
        }
    }
}

/// The counters of one tenant, ready to be counted up.
#[derive(Debug)]
pub struct TenantCounters {
    /// Float samples that came in.
    pub samples_in: Counter,
    /// Native histograms that came in.
    pub histograms_in: Counter,
    /// Float samples that were accepted.
    pub received_samples: Counter,
    /// Native histograms that were accepted.
    pub received_histograms: Counter,
    /// Native histograms that were stored at a lower resolution.
    pub reduced_histograms: Counter,
    /// Metadata entries that came in.
    pub metadata_in: Counter,
    /// Metadata entries that were accepted.
    pub received_metadata: Counter,
    families: Arc<Families>,
    user: Text,
}

impl TenantCounters {
    /// Counts samples that were discarded.
    pub fn discard_samples(&self, reason: Cow<'static, str>, count: u64) {
        self.discard(&self.families.discarded_samples, reason, count);
    }

    /// Counts exemplars that were discarded.
    pub fn discard_exemplars(&self, reason: &'static str, count: u64) {
        self.discard(&self.families.discarded_exemplars, reason, count);
    }

    /// Counts metadata entries that were discarded.
    pub fn discard_metadata(&self, reason: &'static str, count: u64) {
        self.discard(&self.families.discarded_metadata, reason, count);
    }

    fn discard(&self, family: &ByReasonAndUser, reason: impl Into<Cow<'static, str>>, count: u64) {
        if count > 0 {
            let labels = [("reason", reason.into()), ("user", self.user.clone())];
            family.get_or_create(&labels).inc_by(count);
        }
    }
}
