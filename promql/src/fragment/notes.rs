//! Annotations as bytes.

use super::wire::{Reader, WireError, Writer};
use crate::annotations::{Annotation, Annotations, Detail, FloatKey, HistogramOperation, Monotonicity};
use crate::syntax::{AggregateOp, BinaryOp, Span};

/// A field of an annotation.
trait Field: Sized {
    fn put(&self, out: &mut Writer);
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

impl Field for String {
    fn put(&self, out: &mut Writer) {
        out.text(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.text().map(str::to_owned)
    }
}

impl Field for FloatKey {
    fn put(&self, out: &mut Writer) {
        out.float(self.value());
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        from.float().map(Self::from)
    }
}

impl Field for HistogramOperation {
    fn put(&self, out: &mut Writer) {
        out.u8(match self {
            Self::Addition => 0,
            Self::Subtraction => 1,
            Self::Aggregation => 2,
        });
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        match from.u8()? {
            0 => Ok(Self::Addition),
            1 => Ok(Self::Subtraction),
            2 => Ok(Self::Aggregation),
            _ => Err(WireError("an unknown operation on histograms")),
        }
    }
}

/// Names of types, operators and aggregations.
impl Field for &'static str {
    fn put(&self, out: &mut Writer) {
        out.text(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let text = from.text()?;
        let operators = BinaryOp::ALL.iter().map(|op| op.as_str());
        let aggregations = AggregateOp::ALL.iter().map(|op| op.as_str());
        let mut known = ["float", "histogram"].into_iter().chain(operators).chain(aggregations);
        known.find(|known| *known == text).ok_or(WireError("an annotation names an unknown operator"))
    }
}

macro_rules! annotations {
    ($($tag:literal $name:ident { $($field:ident),* }),* $(,)?) => {
        fn put_one(out: &mut Writer, annotation: &Annotation) {
            match annotation {
                $(Annotation::$name { $($field),* } => {
                    out.u8($tag);
                    $($field.put(out);)*
                })*
            }
        }

        fn take_one(from: &mut Reader<'_>) -> Result<Annotation, WireError> {
            Ok(match from.u8()? {
                $($tag => Annotation::$name { $($field: Field::take(from)?),* },)*
                _ => return Err(WireError("an unknown annotation")),
            })
        }
    };
}

annotations! {
    0 InvalidRatio { ratio, cap },
    1 InvalidQuantile { quantile },
    2 BadBucketLabel { metric, label },
    3 MixedFloatsHistograms { metric },
    4 MixedFloatsHistogramsInAggregation {},
    5 MixedClassicNativeHistograms { metric },
    6 NativeHistogramNotCounter { metric },
    7 NativeHistogramNotGauge { metric },
    8 MixedExponentialCustomHistograms { metric },
    9 IncompatibleBucketLayout { operator },
    10 SortInRangeQuery {},
    11 CounterResetCollision { operation },
    12 StartTimeOverlap { metric },
    13 Storage { message },
    14 PossibleNonCounter { metric },
    15 PossibleNonCounterLabel { metric, type_label },
    16 ForcedMonotonicity { metric },
    17 IncompatibleTypes { left, operator, right },
    18 HistogramIgnoredInAggregation { aggregation },
    19 HistogramIgnoredInMixedRange { metric },
    20 QuantileNanResult { metric },
    21 QuantileNanSkew { metric },
    22 FractionNans { metric },
    23 MismatchedCustomBuckets { operation },
}

pub(crate) fn put_annotations(out: &mut Writer, annotations: &Annotations) {
    out.length(annotations.iter().count());
    for (annotation, span, detail) in annotations.iter() {
        put_one(out, annotation);
        out.number(span.start.into());
        out.number(span.end.into());
        match detail {
            Detail::Plain => out.u8(0),
            Detail::Count(count) => {
                out.u8(1);
                out.number(count);
            }
            Detail::Monotonicity(detail) => {
                out.u8(2);
                out.signed(detail.mint_ms);
                out.signed(detail.maxt_ms);
                for value in [detail.bucket_min, detail.bucket_max, detail.diff_max] {
                    out.float(value);
                }
                out.number(detail.samples);
            }
        }
    }
}

pub(crate) fn take_annotations(from: &mut Reader<'_>) -> Result<Annotations, WireError> {
    let mut annotations = Annotations::default();
    for _ in 0..from.count(4)? {
        let annotation = take_one(from)?;
        let position = |number: u64| u32::try_from(number).map_err(|_| WireError("a position is too far"));
        let span = Span::new(position(from.number()?)?, position(from.number()?)?);
        let detail = match from.u8()? {
            0 => Detail::Plain,
            1 => Detail::Count(from.number()?),
            2 => Detail::Monotonicity(Monotonicity {
                mint_ms: from.signed()?,
                maxt_ms: from.signed()?,
                bucket_min: from.float()?,
                bucket_max: from.float()?,
                diff_max: from.float()?,
                samples: from.number()?,
            }),
            _ => return Err(WireError("an annotation has unknown details")),
        };
        annotations.add_with_detail(annotation, span, detail);
    }
    Ok(annotations)
}
