//! The functions PromQL knows: names, argument and result types.
//!
//! A row is a function of Prometheus's registry; rows are sorted by name.

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per evaluation time.
    Scalar,
    /// Instant vector: one sample per series and evaluation time.
    Vector,
    /// Range vector: a window of samples per series and evaluation time.
    Matrix,
    /// A string literal.
    String,
}

impl ValueType {
    /// Prometheus's internal name, as in the `resultType` of an API answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// The name used in the documentation and in most error texts.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            other => other.as_str(),
        }
    }
}

/// How far a call's number of arguments may differ from [`Signature::args`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Not at all.
    Exactly,
    /// The last argument may be left out, or stand up to this many times.
    UpTo(usize),
    /// The last argument may be left out, or stand any number of times.
    Unbounded,
}

/// What a function takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name in a query.
    pub name: &'static str,
    /// Types of the arguments; the last one holds for all further arguments of a variadic function.
    pub args: &'static [ValueType],
    /// Whether the number of arguments may vary.
    pub variadic: Variadic,
    /// Type of the result.
    pub returns: ValueType,
    /// Whether the function needs `--enable-feature=promql-experimental-functions`.
    pub experimental: bool,
}

macro_rules! is_experimental {
    (stable) => {
        false
    };
    (experimental) => {
        true
    };
}

macro_rules! functions {
    ($($variant:ident $name:literal: [$($arg:ident),*] $variadic:ident $(($max:literal))? -> $returns:ident, $stage:ident;)*) => {
        /// A function of PromQL.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Function {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        /// Indexed by `Function as usize`, hence in the order of the names.
        static SIGNATURES: &[Signature] = &[$(Signature {
            name: $name,
            args: &[$(ValueType::$arg),*],
            variadic: Variadic::$variadic $(($max))?,
            returns: ValueType::$returns,
            experimental: is_experimental!($stage),
        },)*];

        impl Function {
            /// Every function, sorted by name.
            pub const ALL: &[Function] = &[$(Function::$variant,)*];
        }
    };
}

functions! {
    Abs "abs": [Vector] Exactly -> Vector, stable;
    Absent "absent": [Vector] Exactly -> Vector, stable;
    AbsentOverTime "absent_over_time": [Matrix] Exactly -> Vector, stable;
    Acos "acos": [Vector] Exactly -> Vector, stable;
    Acosh "acosh": [Vector] Exactly -> Vector, stable;
    Asin "asin": [Vector] Exactly -> Vector, stable;
    Asinh "asinh": [Vector] Exactly -> Vector, stable;
    Atan "atan": [Vector] Exactly -> Vector, stable;
    Atanh "atanh": [Vector] Exactly -> Vector, stable;
    AvgOverTime "avg_over_time": [Matrix] Exactly -> Vector, stable;
    Ceil "ceil": [Vector] Exactly -> Vector, stable;
    Changes "changes": [Matrix] Exactly -> Vector, stable;
    Clamp "clamp": [Vector, Scalar, Scalar] Exactly -> Vector, stable;
    ClampMax "clamp_max": [Vector, Scalar] Exactly -> Vector, stable;
    ClampMin "clamp_min": [Vector, Scalar] Exactly -> Vector, stable;
    Cos "cos": [Vector] Exactly -> Vector, stable;
    Cosh "cosh": [Vector] Exactly -> Vector, stable;
    CountOverTime "count_over_time": [Matrix] Exactly -> Vector, stable;
    DayOfMonth "day_of_month": [Vector] UpTo(1) -> Vector, stable;
    DayOfWeek "day_of_week": [Vector] UpTo(1) -> Vector, stable;
    DayOfYear "day_of_year": [Vector] UpTo(1) -> Vector, stable;
    DaysInMonth "days_in_month": [Vector] UpTo(1) -> Vector, stable;
    Deg "deg": [Vector] Exactly -> Vector, stable;
    Delta "delta": [Matrix] Exactly -> Vector, stable;
    Deriv "deriv": [Matrix] Exactly -> Vector, stable;
    DoubleExponentialSmoothing "double_exponential_smoothing": [Matrix, Scalar, Scalar] Exactly -> Vector, experimental;
    End "end": [] Exactly -> Scalar, experimental;
    Exp "exp": [Vector] Exactly -> Vector, stable;
    FirstOverTime "first_over_time": [Matrix] Exactly -> Vector, stable;
    Floor "floor": [Vector] Exactly -> Vector, stable;
    HistogramAvg "histogram_avg": [Vector] Exactly -> Vector, stable;
    HistogramCount "histogram_count": [Vector] Exactly -> Vector, stable;
    HistogramFraction "histogram_fraction": [Scalar, Scalar, Vector] Exactly -> Vector, stable;
    HistogramQuantile "histogram_quantile": [Scalar, Vector] Exactly -> Vector, stable;
    HistogramQuantiles "histogram_quantiles": [Vector, String, Scalar, Scalar] UpTo(9) -> Vector, experimental;
    HistogramStddev "histogram_stddev": [Vector] Exactly -> Vector, stable;
    HistogramStdvar "histogram_stdvar": [Vector] Exactly -> Vector, stable;
    HistogramSum "histogram_sum": [Vector] Exactly -> Vector, stable;
    Hour "hour": [Vector] UpTo(1) -> Vector, stable;
    Idelta "idelta": [Matrix] Exactly -> Vector, stable;
    Increase "increase": [Matrix] Exactly -> Vector, stable;
    Info "info": [Vector, Vector] UpTo(1) -> Vector, experimental;
    Irate "irate": [Matrix] Exactly -> Vector, stable;
    LabelJoin "label_join": [Vector, String, String, String] Unbounded -> Vector, stable;
    LabelReplace "label_replace": [Vector, String, String, String, String] Exactly -> Vector, stable;
    LastOverTime "last_over_time": [Matrix] Exactly -> Vector, stable;
    Ln "ln": [Vector] Exactly -> Vector, stable;
    Log10 "log10": [Vector] Exactly -> Vector, stable;
    Log2 "log2": [Vector] Exactly -> Vector, stable;
    MadOverTime "mad_over_time": [Matrix] Exactly -> Vector, experimental;
    MaxOf "max_of": [Scalar, Scalar] Exactly -> Scalar, experimental;
    MaxOverTime "max_over_time": [Matrix] Exactly -> Vector, stable;
    MinOf "min_of": [Scalar, Scalar] Exactly -> Scalar, experimental;
    MinOverTime "min_over_time": [Matrix] Exactly -> Vector, stable;
    Minute "minute": [Vector] UpTo(1) -> Vector, stable;
    Month "month": [Vector] UpTo(1) -> Vector, stable;
    Pi "pi": [] Exactly -> Scalar, stable;
    PredictLinear "predict_linear": [Matrix, Scalar] Exactly -> Vector, stable;
    PresentOverTime "present_over_time": [Matrix] Exactly -> Vector, stable;
    QuantileOverTime "quantile_over_time": [Scalar, Matrix] Exactly -> Vector, stable;
    Rad "rad": [Vector] Exactly -> Vector, stable;
    Range "range": [] Exactly -> Scalar, experimental;
    Rate "rate": [Matrix] Exactly -> Vector, stable;
    Resets "resets": [Matrix] Exactly -> Vector, stable;
    Round "round": [Vector, Scalar] UpTo(1) -> Vector, stable;
    Scalar "scalar": [Vector] Exactly -> Scalar, stable;
    Sgn "sgn": [Vector] Exactly -> Vector, stable;
    Sin "sin": [Vector] Exactly -> Vector, stable;
    Sinh "sinh": [Vector] Exactly -> Vector, stable;
    Sort "sort": [Vector] Exactly -> Vector, stable;
    SortByLabel "sort_by_label": [Vector, String] Unbounded -> Vector, experimental;
    SortByLabelDesc "sort_by_label_desc": [Vector, String] Unbounded -> Vector, experimental;
    SortDesc "sort_desc": [Vector] Exactly -> Vector, stable;
    Sqrt "sqrt": [Vector] Exactly -> Vector, stable;
    Start "start": [] Exactly -> Scalar, experimental;
    StartTimestamp "start_timestamp": [Vector] Exactly -> Vector, experimental;
    StddevOverTime "stddev_over_time": [Matrix] Exactly -> Vector, stable;
    StdvarOverTime "stdvar_over_time": [Matrix] Exactly -> Vector, stable;
    Step "step": [] Exactly -> Scalar, experimental;
    SumOverTime "sum_over_time": [Matrix] Exactly -> Vector, stable;
    Tan "tan": [Vector] Exactly -> Vector, stable;
    Tanh "tanh": [Vector] Exactly -> Vector, stable;
    Time "time": [] Exactly -> Scalar, stable;
    Timestamp "timestamp": [Vector] Exactly -> Vector, stable;
    TsOfFirstOverTime "ts_of_first_over_time": [Matrix] Exactly -> Vector, experimental;
    TsOfLastOverTime "ts_of_last_over_time": [Matrix] Exactly -> Vector, experimental;
    TsOfMaxOverTime "ts_of_max_over_time": [Matrix] Exactly -> Vector, experimental;
    TsOfMinOverTime "ts_of_min_over_time": [Matrix] Exactly -> Vector, experimental;
    Vector "vector": [Scalar] Exactly -> Vector, stable;
    Year "year": [Vector] UpTo(1) -> Vector, stable;
}

/// Where the search for a name starts.
const fn bucket_of(name: &[u8]) -> usize {
    let (mut hash, mut at) = (name.len(), 0);
    while at < name.len() {
        hash = hash.wrapping_mul(31).wrapping_add(name[at] as usize);
        at += 1;
    }
    hash % 256
}

/// A hash table of the names, filled at compile time: a call is looked up while a query is parsed.
static BUCKETS: [Option<Function>; 256] = {
    let mut buckets = [None; 256];
    let mut at = 0;
    while at < Function::ALL.len() {
        let mut bucket = bucket_of(SIGNATURES[at].name.as_bytes());
        while buckets[bucket].is_some() {
            bucket = (bucket + 1) % 256;
        }
        buckets[bucket] = Some(Function::ALL[at]);
        at += 1;
    }
    buckets
};

impl Function {
    /// The function called `name` (case-sensitive).
    pub fn by_name(name: &str) -> Option<Self> {
        let mut bucket = bucket_of(name.as_bytes());
        loop {
            let function = BUCKETS[bucket]?;
            if function.name() == name {
                return Some(function);
            }
            bucket = (bucket + 1) % BUCKETS.len();
        }
    }

    /// Argument and result types.
    pub fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }

    /// The name in a query.
    pub fn name(self) -> &'static str {
        self.signature().name
    }
}

#[cfg(test)]
mod tests {
    use super::Function;

    #[test]
    fn every_function_is_found_by_its_name() {
        assert_eq!(Function::ALL.len(), 90);
        for &function in Function::ALL {
            assert_eq!(Function::by_name(function.name()), Some(function));
        }
        assert_eq!(Function::by_name("RATE"), None);
    }
}
