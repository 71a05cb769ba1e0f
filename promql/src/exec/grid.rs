//! The evaluation times of a (sub)query.

/// Evaluation times, evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// First time, milliseconds.
    pub start_ms: i64,
    /// Distance, milliseconds; 1 if there is a single time.
    pub step_ms: i64,
    /// Number of times. A subquery whose window lies between two multiples of its step has none.
    pub steps: usize,
    /// Whether this is an evaluation over a range, even one that happens to have a single step.
    pub ranged: bool,
    /// Which steps of the query the samples read here count for, if anybody asks.
    pub counted: Counted,
}

/// Where samples are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// At the step that looks at them.
    AtSteps,
    /// At each of so many steps, for which one value stands.
    AtEach(usize),
    /// Nowhere: what is computed of them is counted instead.
    Not,
}

impl Grid {
    /// A single time.
    pub fn instant(time_ms: i64) -> Self {
        Self { start_ms: time_ms, step_ms: 1, steps: 1, ranged: false, counted: Counted::AtSteps }
    }

    /// `start`, `start + step`, ... up to `end`.
    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let steps =
            if end_ms < start_ms { 0 } else { (end_ms.saturating_sub(start_ms) / step_ms) as usize + 1 };
        Self { start_ms, step_ms, steps, ranged: start_ms != end_ms, counted: Counted::AtSteps }
    }

    /// The time of a step, milliseconds.
    #[inline]
    pub fn timestamp(&self, step: usize) -> i64 {
        self.start_ms.saturating_add(self.step_ms.saturating_mul(step as i64))
    }

    /// The last time, milliseconds.
    pub fn end_ms(&self) -> i64 {
        self.timestamp(self.steps.saturating_sub(1))
    }

    /// The first time alone, for what does not depend on the step.
    pub fn first_only(&self) -> Self {
        let counted = match self.counted {
            Counted::AtSteps => Counted::AtEach(self.steps),
            other => other,
        };
        Self { steps: self.steps.min(1), ranged: false, counted, ..*self }
    }
}
