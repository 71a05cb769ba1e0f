//! `label_replace` and `label_join`.

use super::pipeline::{Stage, Worker};
use super::rows::SeriesRow;
use crate::engine::QueryError;
use crate::labels::{LabelsBuilder, METRIC_NAME_LABEL};
use crate::plan::{Relabel, RelabelValue};

pub(super) struct RelabelStage<'p>(pub &'p Relabel);

impl Stage for RelabelStage<'_> {
    fn apply(&self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        let value = match &self.0.value {
            RelabelValue::Replace { source, regex, replacement } => {
                regex.expand(series.labels.get(source), replacement)
            }
            RelabelValue::Join { separator, sources } => {
                let values: Vec<&str> = sources.iter().map(|source| series.labels.get(source)).collect();
                Some(values.join(separator))
            }
        };
        let Some(value) = value else { return Ok(()) };
        let mut builder = LabelsBuilder::new(&series.labels);
        series.labels = builder.set(&self.0.target, &value).build();
        if self.0.target == METRIC_NAME_LABEL {
            // The new name is meant to stay.
            series.drop_name = false;
        }
        Ok(())
    }
}
