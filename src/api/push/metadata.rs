//! Checks metric metadata against a tenant's limits. Texts and reasons are Cortex's.

use gyre_promql::gostd::quote;

use super::decode::WriteBatch;
use crate::tenant::limits::Limits;

/// Characters of a text that an error quotes.
const QUOTED_CHARS_MAX: usize = 200;

/// Metadata entries that were refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RefusedMetadata {
    /// How many, by reason.
    pub(super) counts: Vec<(&'static str, u64)>,
    /// What is wrong with the first.
    pub(super) first_error: Option<String>,
}

/// Removes the entries that break a limit from the batch.
pub(super) fn remove_invalid(batch: &mut WriteBatch, limits: &Limits) -> RefusedMetadata {
    let mut refused = RefusedMetadata::default();
    let mut entries = std::mem::take(&mut batch.metadata);
    entries.retain(|entry| {
        let family = batch.metadata_text(&entry.metric_family);
        let texts = [
            ("METRIC_NAME", "metric_name_too_long", family),
            ("HELP", "help_too_long", batch.metadata_text(&entry.help)),
            ("UNIT", "unit_too_long", batch.metadata_text(&entry.unit)),
        ];
        let too_long = texts.into_iter().find(|(_, _, text)| text.len() > limits.max_metadata_length);
        let (reason, error) = if family.is_empty() {
            ("missing_metric_name", "metadata missing metric name".to_owned())
        } else if let Some((kind, reason, text)) = too_long {
            let (cause, metric) = (quoted(text), quoted(family));
            (reason, format!("metadata '{kind}' value too long: {cause} metric {metric}"))
        } else {
            return true;
        };
        match refused.counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => refused.counts.push((reason, 1)),
        }
        refused.first_error.get_or_insert(error);
        false
    });
    batch.metadata = entries;
    refused
}

fn quoted(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).nth(QUOTED_CHARS_MAX).unwrap_or(text.len());
    quote(&text.as_bytes()[..end])
}
