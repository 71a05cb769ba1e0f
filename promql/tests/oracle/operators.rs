//! The naive evaluator's operators between vectors.

use std::collections::BTreeSet;

use gyre_promql::histogram::CounterReset;
use gyre_promql::syntax::BinaryOp;
use gyre_promql::syntax::ast::{BinaryExpr, Cardinality, VectorMatching};

use crate::data::LabelMap;
use crate::histogram_functions::trimmed;
use crate::naive::{Evaluated, Naive, Sample, Val, Value, nameless, unique};

impl Naive<'_> {
    pub fn binary(&self, binary: &BinaryExpr, time: i64) -> Evaluated<Value> {
        let (lhs, rhs) = (self.at(&binary.lhs, time)?, self.at(&binary.rhs, time)?);
        let op = binary.op;
        Ok(match (lhs, rhs) {
            (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(match holds(op, a, b) {
                Some(holds) => f64::from(u8::from(holds)),
                None => calculate(op, a, b),
            }),
            (Value::Vector(samples), Value::Scalar(scalar)) => {
                self.with_scalar(binary, samples, scalar, false)?
            }
            (Value::Scalar(scalar), Value::Vector(samples)) => {
                self.with_scalar(binary, samples, scalar, true)?
            }
            (Value::Vector(lhs), Value::Vector(rhs)) => {
                let matching = binary.matching.clone().unwrap_or_default();
                let samples = match op {
                    BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => set_operation(op, lhs, rhs, &matching),
                    _ => self.join(binary, lhs, rhs, &matching)?,
                };
                if !self.delayed_name_removal {
                    unique(&samples)?;
                }
                Value::Vector(samples)
            }
        })
    }

    fn with_scalar(
        &self,
        binary: &BinaryExpr,
        samples: Vec<Sample>,
        scalar: f64,
        left: bool,
    ) -> Evaluated<Value> {
        let mut results = Vec::new();
        for sample in samples {
            let scalar = Val::Float(scalar);
            let (a, b) = if left { (&scalar, &sample.value) } else { (&sample.value, &scalar) };
            let value = match (self.element(binary.op, a, b), binary.op.is_comparison()) {
                (Element::Incompatible, _) => continue,
                (element, _) if binary.return_bool => {
                    Val::Float(f64::from(u8::from(matches!(element, Element::Kept(_)))))
                }
                (Element::Kept(_), true) => sample.value.clone(),
                (Element::Kept(value), false) => value,
                (Element::Dropped, _) => continue,
            };
            let changes = !binary.op.is_comparison() && !binary.op.is_trim();
            let drops = changes || binary.return_bool;
            let labels =
                if drops && !self.delayed_name_removal { nameless(&sample.labels) } else { sample.labels };
            results.push(Sample { labels, value, drop_name: sample.drop_name || drops });
        }
        if !self.delayed_name_removal {
            unique(&results)?;
        }
        Ok(Value::Vector(results))
    }

    fn join(
        &self,
        binary: &BinaryExpr,
        lhs: Vec<Sample>,
        rhs: Vec<Sample>,
        matching: &VectorMatching,
    ) -> Evaluated<Vec<Sample>> {
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if (lhs.is_empty() || rhs.is_empty()) && !fills {
            return Ok(Vec::new());
        }
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (rhs, lhs) } else { (lhs, rhs) };
        for (i, sample) in one.iter().enumerate() {
            if one[..i].iter().any(|other| signature(other, matching) == signature(sample, matching)) {
                return Err("found duplicate series for the match group".to_owned());
            }
        }
        let mut results: Vec<Sample> = Vec::new();
        let mut taken: BTreeSet<(LabelMap, Option<LabelMap>)> = BTreeSet::new();
        let mut matched: BTreeSet<LabelMap> = BTreeSet::new();
        let mut pairs: Vec<(Sample, Sample)> = Vec::new();
        for sample in &many {
            let partner = one.iter().find(|other| signature(other, matching) == signature(sample, matching));
            let fill = matching.fill_right.map(|value| Sample {
                labels: signature(sample, matching),
                value: Val::Float(value),
                drop_name: false,
            });
            if let Some(partner) = partner.cloned().or(fill) {
                let (a, b) = if swapped { (&partner, sample) } else { (sample, &partner) };
                if matches!(self.element(binary.op, &a.value, &b.value), Element::Incompatible) {
                    // Then it does not count as matched.
                    continue;
                }
                matched.insert(signature(sample, matching));
                pairs.push((sample.clone(), partner));
            }
        }
        if let Some(fill) = matching.fill_left {
            for sample in &one {
                let key = signature(sample, matching);
                if !matched.contains(&key) {
                    pairs.push((
                        Sample { labels: key, value: Val::Float(fill), drop_name: false },
                        sample.clone(),
                    ));
                }
            }
        }
        for (many, one) in pairs {
            let (a, b) = if swapped { (&one.value, &many.value) } else { (&many.value, &one.value) };
            let element = self.element(binary.op, a, b);
            if matches!(element, Element::Incompatible) {
                continue;
            }
            let mut labels = many.labels.clone();
            if (!binary.op.is_comparison() && !binary.op.is_trim())
                || (binary.return_bool && !self.delayed_name_removal)
            {
                labels = nameless(&labels);
            }
            if matching.cardinality == Cardinality::OneToOne {
                labels.retain(|name, _| listed(matching, name) == matching.on);
            }
            for name in &matching.include {
                match one.labels.get(&**name) {
                    Some(value) => labels.insert(name.to_string(), value.clone()),
                    None => labels.remove(&**name),
                };
            }
            let key = signature(&many, matching);
            let one_to_one = matching.cardinality == Cardinality::OneToOne;
            if !taken.insert((key, (!one_to_one).then(|| labels.clone()))) {
                return Err("multiple matches for labels".to_owned());
            }
            let value = match element {
                element if binary.return_bool => {
                    Val::Float(f64::from(u8::from(matches!(element, Element::Kept(_)))))
                }
                Element::Kept(value) => value,
                Element::Dropped | Element::Incompatible => continue,
            };
            results.push(Sample { labels, value, drop_name: binary.return_bool });
        }
        unique(&results)?;
        Ok(results)
    }

    /// An operator between two values.
    fn element(&self, op: BinaryOp, a: &Val, b: &Val) -> Element {
        use BinaryOp as B;
        let incompatible = || {
            self.notes.add("incompatible types");
            Element::Incompatible
        };
        match (a, b) {
            (Val::Float(_), Val::Float(_)) if op.is_trim() => incompatible(),
            (Val::Float(a), Val::Float(b)) => match holds(op, *a, *b) {
                Some(true) => Element::Kept(Val::Float(*a)),
                Some(false) => Element::Dropped,
                None => Element::Kept(Val::Float(calculate(op, *a, *b))),
            },
            (Val::Float(a), Val::Histogram(b)) if op == B::Mul => {
                Element::Kept(b.times(*a).compacted().into())
            }
            (Val::Float(_), Val::Histogram(_)) => incompatible(),
            (Val::Histogram(a), Val::Float(b)) => match op {
                B::Mul => Element::Kept(a.times(*b).compacted().into()),
                B::Div => Element::Kept(a.divided(*b).compacted().into()),
                B::TrimUpper => Element::Kept(trimmed(a, *b, true).into()),
                B::TrimLower => Element::Kept(trimmed(a, *b, false).into()),
                _ => incompatible(),
            },
            (Val::Histogram(x), Val::Histogram(y)) => match op {
                B::Add | B::Sub => {
                    let Some((mut sum, added)) = x.plus(y, if op == B::Add { 1.0 } else { -1.0 }) else {
                        self.notes.add("incompatible layout");
                        return Element::Incompatible;
                    };
                    if op == B::Sub {
                        sum.hint = CounterReset::Gauge;
                    }
                    if added.collision {
                        self.notes.add("counter reset collision");
                    }
                    if added.reconciled {
                        self.notes.add("mismatched custom buckets");
                    }
                    Element::Kept(sum.compacted().into())
                }
                B::Eql | B::Neq if x.same(y) == (op == B::Eql) => Element::Kept(a.clone()),
                B::Eql | B::Neq => Element::Dropped,
                _ => incompatible(),
            },
        }
    }
}

/// What an operator makes of two values.
enum Element {
    Kept(Val),
    Dropped,
    /// There is no such operation, which is not the same as a comparison that does not hold.
    Incompatible,
}

fn listed(matching: &VectorMatching, name: &str) -> bool {
    matching.labels.iter().any(|label| **label == *name)
}

fn signature(sample: &Sample, matching: &VectorMatching) -> LabelMap {
    let kept = sample.labels.iter().filter(|(name, _)| {
        let listed = listed(matching, name);
        if matching.on { listed } else { !listed && *name != "__name__" }
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn set_operation(op: BinaryOp, lhs: Vec<Sample>, rhs: Vec<Sample>, matching: &VectorMatching) -> Vec<Sample> {
    let keys = |samples: &[Sample]| -> BTreeSet<LabelMap> {
        samples.iter().map(|sample| signature(sample, matching)).collect()
    };
    let (left, right) = (keys(&lhs), keys(&rhs));
    match op {
        BinaryOp::And => {
            lhs.into_iter().filter(|sample| right.contains(&signature(sample, matching))).collect()
        }
        BinaryOp::Unless => {
            lhs.into_iter().filter(|sample| !right.contains(&signature(sample, matching))).collect()
        }
        _ => {
            let added = rhs.into_iter().filter(|sample| !left.contains(&signature(sample, matching)));
            lhs.into_iter().chain(added.collect::<Vec<_>>()).collect()
        }
    }
}

fn holds(op: BinaryOp, a: f64, b: f64) -> Option<bool> {
    match op {
        BinaryOp::Eql => Some(a == b),
        BinaryOp::Neq => Some(a != b),
        BinaryOp::Gtr => Some(a > b),
        BinaryOp::Lss => Some(a < b),
        BinaryOp::Gte => Some(a >= b),
        BinaryOp::Lte => Some(a <= b),
        _ => None,
    }
}

fn calculate(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Mod => a % b,
        _ => a.atan2(b),
    }
}
