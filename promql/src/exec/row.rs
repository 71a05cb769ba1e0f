//! The values of one series at the evaluation times.

use std::sync::Arc;

use super::Bitmap;
use crate::histogram::FloatHistogram;

/// One value per step, or none: floats in a dense lane with a presence bitmap, histograms (rare, large) in a list
/// beside it. Lanes without presence hold any number.
#[derive(Clone, Debug, Default)]
pub struct Row {
    values: Vec<f64>,
    present: Bitmap,
    /// Sorted by step.
    histograms: Vec<(u32, Arc<FloatHistogram>)>,
}

impl Row {
    /// `steps` steps without values.
    pub fn new(steps: usize) -> Self {
        Self { values: vec![0.0; steps], present: Bitmap::new(steps), histograms: Vec::new() }
    }

    /// A row with the same float at every step.
    pub fn constant(value: f64, steps: usize) -> Self {
        Self::full(vec![value; steps])
    }

    /// A row with a float at every step.
    pub fn full(values: Vec<f64>) -> Self {
        let mut present = Bitmap::new(values.len());
        present.fill();
        Self { values, present, histograms: Vec::new() }
    }

    /// A row of floats with their presence.
    pub(crate) fn from_lanes(values: Vec<f64>, present: Bitmap) -> Self {
        debug_assert_eq!(values.len(), present.len());
        Self { values, present, histograms: Vec::new() }
    }

    /// Makes it `steps` steps without values.
    pub fn reset(&mut self, steps: usize) {
        self.values.resize(steps, 0.0);
        self.present.reset(steps);
        self.histograms.clear();
    }

    /// Makes it the same as `other`, in the memory it has.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.values.clone_from(&other.values);
        self.present.clone_from(&other.present);
        self.histograms.clone_from(&other.histograms);
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.values.len()
    }

    /// The float lane; only lanes that are present mean anything.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The float lane; only lanes that are present mean anything.
    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// The float lane, to be changed in place.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Steps that have a float.
    pub fn present(&self) -> &Bitmap {
        &self.present
    }

    /// Steps that have a float, to be changed.
    pub fn present_mut(&mut self) -> &mut Bitmap {
        &mut self.present
    }

    /// Lane and presence, both to be changed.
    pub fn lanes_mut(&mut self) -> (&mut [f64], &mut Bitmap) {
        (&mut self.values, &mut self.present)
    }

    /// Whether no step has a value.
    pub fn is_empty(&self) -> bool {
        self.histograms.is_empty() && !self.present.any()
    }

    /// Sets a float.
    #[inline]
    pub fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.set(step);
    }

    /// Appends a histogram; `step` must be above the last histogram's.
    pub fn push_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        debug_assert!(self.histograms.last().is_none_or(|(last, _)| (*last as usize) < step));
        self.histograms.push((step as u32, histogram));
    }

    /// The float at a step.
    #[inline]
    pub fn float(&self, step: usize) -> Option<f64> {
        self.present.get(step).then(|| self.values[step])
    }

    /// The histogram at a step.
    pub fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        if self.histograms.is_empty() {
            return None;
        }
        let at = self.histograms.binary_search_by_key(&(step as u32), |(step, _)| *step).ok()?;
        Some(&self.histograms[at].1)
    }

    /// Whether a step has a value of either kind.
    pub fn has(&self, step: usize) -> bool {
        self.present.get(step) || self.histogram(step).is_some()
    }

    /// `(step, value)` of the floats.
    pub fn floats(&self) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
        self.present.ones().map(|step| (step, self.values[step]))
    }

    /// `(step, value)` of the histograms.
    pub fn histograms(&self) -> &[(u32, Arc<FloatHistogram>)] {
        &self.histograms
    }

    /// The histograms, to be changed.
    pub fn histograms_mut(&mut self) -> &mut Vec<(u32, Arc<FloatHistogram>)> {
        &mut self.histograms
    }

    /// Removes and returns the histograms.
    pub fn take_histograms(&mut self) -> Vec<(u32, Arc<FloatHistogram>)> {
        std::mem::take(&mut self.histograms)
    }

    /// Steps that have a value of either kind.
    pub fn presence(&self) -> Bitmap {
        let mut presence = self.present.clone();
        for (step, _) in &self.histograms {
            presence.set(*step as usize);
        }
        presence
    }

    /// The first step that has a value.
    pub fn first_step(&self) -> Option<usize> {
        let histogram = self.histograms.first().map(|(step, _)| *step as usize);
        [self.present.ones().next(), histogram].into_iter().flatten().min()
    }

    /// The last step that has a value.
    pub fn last_step(&self) -> Option<usize> {
        let histogram = self.histograms.last().map(|(step, _)| *step as usize);
        self.present.last().max(histogram)
    }

    /// Keeps the steps set in `steps`.
    pub fn retain_steps(&mut self, steps: &Bitmap) {
        self.present.intersect(steps);
        self.histograms.retain(|(step, _)| steps.get(*step as usize));
    }

    /// Drops the steps set in `steps`.
    pub fn drop_steps(&mut self, steps: &Bitmap) {
        self.present.subtract(steps);
        self.histograms.retain(|(step, _)| !steps.get(*step as usize));
    }

    /// Adds the values of `other`, which has none at the same steps and of the same kind; else returns false and
    /// leaves the row half merged.
    pub fn merge_disjoint(&mut self, other: &Self) -> bool {
        if self.present.intersects(&other.present) {
            return false;
        }
        other
            .present
            .for_each_run(|start, end| self.values[start..end].copy_from_slice(&other.values[start..end]));
        self.present.union(&other.present);
        if !other.histograms.is_empty() {
            self.histograms.extend(other.histograms.iter().cloned());
            self.histograms.sort_by_key(|(step, _)| *step);
            return self.histograms.windows(2).all(|pair| pair[0].0 != pair[1].0);
        }
        true
    }

    /// The value at the first step, at each of `steps` steps.
    pub fn broadcast(&self, steps: usize) -> Self {
        let mut row = match self.float(0) {
            Some(value) => Self::constant(value, steps),
            None => Self::new(steps),
        };
        if let Some(histogram) = self.histogram(0) {
            row.histograms = (0..steps as u32).map(|step| (step, Arc::clone(histogram))).collect();
        }
        row
    }

    /// Bytes held, histograms included.
    pub fn size_bytes(&self) -> usize {
        let histograms: usize =
            self.histograms.iter().map(|(_, histogram)| histogram.size_bytes() + 16).sum();
        self.values.len() * 8 + self.present.size_bytes() + histograms
    }

    /// What the row counts for against a limit on samples.
    pub fn size_in_samples(&self) -> usize {
        let histograms: usize =
            self.histograms.iter().map(|(_, histogram)| histogram.size_in_samples()).sum();
        self.present.count() + histograms
    }
}
