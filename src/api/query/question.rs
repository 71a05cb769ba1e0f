//! What is asked of a tenant's data: a request of the query API, read and authenticated, whoever computes the answer.

use std::time::{Duration, Instant};

use gyre_ring::TenantId;

use super::error::ApiError;
use super::params::form::Form;
use super::stream::Answered;
use super::{expression, labels, series};
use crate::api::state::Api;

/// Which endpoint of those that read data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// `query`
    Instant,
    /// `query_range`
    Range,
    /// `series`
    Series,
    /// `labels`
    LabelNames,
    /// `label/<name>/values`; the name as it is stored.
    LabelValues(String),
}

/// A question of a tenant.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The endpoint.
    pub question: Question,
    /// Whose data, as the node found out that the client has asked.
    pub tenant: TenantId,
    /// The request's parameters.
    pub form: Form,
    /// Since when the client waits.
    pub since: Instant,
}

impl Asked {
    /// Asked at this moment.
    pub fn now(question: Question, tenant: TenantId, form: Form) -> Self {
        Self { question, tenant, form, since: Instant::now() }
    }

    /// Asked so long ago.
    pub fn waited_for(question: Question, tenant: TenantId, form: Form, waited_ms: u64) -> Self {
        let now = Instant::now();
        let since = now.checked_sub(Duration::from_millis(waited_ms)).unwrap_or(now);
        Self { question, tenant, form, since }
    }

    /// How long the client has been waiting.
    pub fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    /// Milliseconds that are left of the time that an answer may take.
    pub(super) fn left_of(&self, timeout_ms: i64) -> i64 {
        timeout_ms.saturating_sub(i64::try_from(self.waited().as_millis()).unwrap_or(i64::MAX))
    }

    /// This node's answer.
    pub async fn answer(&self, api: &Api) -> Result<Answered, ApiError> {
        match &self.question {
            Question::Instant => expression::answer_instant(api, self).await,
            Question::Range => expression::answer_range(api, self).await,
            Question::Series => series::answer(api, self).await,
            Question::LabelNames => labels::answer_names(api, self).await,
            Question::LabelValues(name) => labels::answer_values(api, self, name).await,
        }
    }
}
