//! Random queries, valid by construction most of the time.

use crate::choices::{
    AGGREGATIONS, ARITHMETIC, COMPARISONS, DATE_FUNCTIONS, EXTENDED, FLOAT_FUNCTIONS, HISTOGRAM_FUNCTIONS,
    RANGE_FUNCTIONS,
};
use crate::random::Random;

/// Makes queries over the generated data.
pub struct Generator<'r> {
    pub random: &'r mut Random,
    /// Whether the query has more than one step.
    pub has_steps: bool,
}

/// Whether a query takes some series of several with the same values, so that the order of evaluation decides.
pub fn breaks_ties(query: &str) -> bool {
    let mut tops = query.split("topk").chain(query.split("bottomk")).skip(1);
    tops.any(|rest| {
        let start = rest.find(['1', '2', '3']);
        start.is_some_and(|start| rest[..start].ends_with('(') && rest[start + 1..].starts_with(','))
    })
}

impl Generator<'_> {
    /// An instant vector.
    pub fn vector(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.selector();
        }
        let inner = depth - 1;
        match self.random.below(22) {
            0 | 1 => self.selector(),
            2..=4 => self.range_call(inner),
            5..=7 => self.aggregation(inner),
            8 | 9 => self.binary(inner),
            10 => {
                let func = self.random.pick(FLOAT_FUNCTIONS);
                format!("{func}({})", self.vector(inner))
            }
            11 => match self.random.below(4) {
                0 => format!(
                    "{}(timestamp({}) * {})",
                    self.random.pick(DATE_FUNCTIONS),
                    self.vector(inner),
                    self.random.pick(&["1", "5000", "-3e5"])
                ),
                _ => format!("-{}", self.wrapped(inner)),
            },
            12 => self.with_scalar(inner),
            13 => self.set_operation(inner),
            14 => match self.random.below(4) {
                0 => format!("clamp({}, {}, {})", self.vector(inner), self.number(), self.number()),
                1 => format!("clamp_min({}, {})", self.vector(inner), self.scalar(inner)),
                2 => format!("clamp_max({}, {})", self.vector(inner), self.scalar(inner)),
                _ => format!("round({}, {})", self.vector(inner), self.random.pick(&["1", "0.5", "10"])),
            },
            15 => match self.random.below(5) {
                0 => format!("absent({})", self.vector(inner)),
                1 => format!("vector({})", self.scalar(inner)),
                2 => format!("label_replace({}, \"z\", \"v$1\", \"x\", \"(.*)\")", self.vector(inner)),
                3 => format!("label_replace({}, \"y\", \"p\", \"x\", \"1\")", self.vector(inner)),
                _ => format!("label_join({}, \"z\", \"-\", \"x\", \"y\")", self.vector(inner)),
            },
            16 | 17 => self.histogram_function(inner),
            18 => self.trim(inner),
            19 => {
                let name = self.random.pick(&["a_total", "b_total", "g", "one"]);
                let (range, modifiers) = (self.range_duration(), self.modifiers());
                let call = self.random.pick(EXTENDED);
                call.replace("{}", &format!("{name}[{range}]{modifiers}"))
            }
            20 => match self.random.below(6) {
                0 => format!("info(j_total{}{})", self.modifiers(), self.info_labels()),
                1 => format!(
                    "info(rate(j_total[{}]{}){})",
                    self.duration(),
                    self.modifiers(),
                    self.info_labels()
                ),
                2 => format!("sort_by_label({}, \"x\")", self.vector(inner)),
                3 => format!("sort_by_label_desc({}, \"y\", \"x\")", self.vector(inner)),
                4 => format!("start_timestamp({})", self.selector()),
                _ => format!(
                    "limit_ratio({}, {})",
                    self.random.pick(&["0.4", "-0.6", "1", "2"]),
                    self.selector()
                ),
            },
            _ => {
                let q = self.random.pick(&["0", "0.5", "0.9", "1", "1.5", "-1", "NaN"]);
                match self.random.below(3) {
                    0 => format!("histogram_quantile({q}, h_bucket)"),
                    1 => format!("histogram_quantile({q}, rate(h_bucket[{}]))", self.duration()),
                    _ => format!("histogram_quantile({q}, sum by (le) (h_bucket))"),
                }
            }
        }
    }

    /// The second argument of `info`.
    fn info_labels(&mut self) -> &'static str {
        self.random.pick(&[
            "",
            "",
            ", {version=\"v1\"}",
            ", {version=~\"v1|v2\"}",
            ", {version!=\"v1\"}",
            ", {x=\"2\",version=~\".*\"}",
            ", {version=\"\"}",
            ", {y=\"p\"}",
        ])
    }

    /// A vector that is likely to have histograms.
    fn histograms(&mut self, depth: usize) -> String {
        let name = self.random.pick(&["nh", "ng", "nc", "mix", "{__name__=~\"nh|mix|h_bucket\"}"]);
        match self.random.below(6) {
            0 | 1 => format!("{name}{}", self.modifiers()),
            2 => {
                let func =
                    self.random.pick(&["rate", "increase", "delta", "irate", "idelta", "last_over_time"]);
                format!("{func}({name}[{}])", self.range_duration())
            }
            3 => {
                format!("{}_over_time({name}[{}])", self.random.pick(&["sum", "avg"]), self.range_duration())
            }
            4 => format!("{}{} ({name})", self.random.pick(&["sum", "avg"]), self.grouping()),
            _ => self.vector(depth),
        }
    }

    fn histogram_function(&mut self, depth: usize) -> String {
        let vector = self.histograms(depth);
        let quantile = self.random.pick(&["0", "0.1", "0.5", "0.75", "0.99", "1", "2", "NaN"]);
        let bounds = ["-Inf", "-1", "0", "0.3", "1", "2.5", "8", "+Inf", "NaN"];
        match self.random.below(10) {
            0 | 1 => format!("histogram_quantile({quantile}, {vector})"),
            2 | 3 => {
                let (lower, upper) = (self.random.pick(&bounds), self.random.pick(&bounds));
                format!("histogram_fraction({lower}, {upper}, {vector})")
            }
            4 => format!(
                "histogram_quantiles({vector}, \"q\", 0.25, {})",
                self.random.pick(&["0.9", "1", "0"])
            ),
            5 => {
                let (a, b) = (self.histograms(depth), self.histograms(depth));
                format!(
                    "({a}) {} ({b})",
                    self.random.pick(&["+", "-", "==", "!=", "*", "/", "== bool", "< bool"])
                )
            }
            6 => format!("({vector}) {} {}", self.random.pick(&["*", "/", "+", "=="]), self.number()),
            _ => format!("{}({vector})", self.random.pick(HISTOGRAM_FUNCTIONS)),
        }
    }

    fn trim(&mut self, depth: usize) -> String {
        let vector = self.histograms(depth);
        let op = self.random.pick(&["</", ">/"]);
        let bound = self.random.pick(&["-3", "-0.1", "0", "0.3", "1", "2.5", "7", "+Inf", "-Inf", "one"]);
        if bound == "one" {
            return format!("({vector}) {op} on () group_left () (one)");
        }
        format!("({vector}) {op} {bound}")
    }

    /// The range in brackets: a duration, or an expression.
    fn range_duration(&mut self) -> String {
        match self.random.below(16) {
            0 => format!("{} + 30s", self.duration()),
            1 => format!("max_of({}, 90s)", self.duration()),
            2 => format!("min_of(3m, {})", self.duration()),
            3 => format!("({}) * 1.5", self.duration()),
            4 if self.has_steps => format!("step() + {}", self.duration()),
            _ => self.duration().to_owned(),
        }
    }

    fn wrapped(&mut self, depth: usize) -> String {
        format!("({})", self.vector(depth))
    }

    fn selector(&mut self) -> String {
        let plain = self.plain_selector();
        let modifiers = self.modifiers();
        format!("{plain}{modifiers}")
    }

    fn plain_selector(&mut self) -> String {
        let name = self.random.pick(&[
            "a_total", "b_total", "g", "h_bucket", "one", "nothing", "nh", "ng", "nc", "mix", "a_total", "g",
        ]);
        match self.random.below(9) {
            0 => format!("{name}{{x=\"1\"}}"),
            1 => format!("{name}{{y!=\"p\"}}"),
            2 => format!("{name}{{x=~\"1|3\"}}"),
            3 => format!("{name}{{y!~\"p|q\"}}"),
            4 => format!("{{__name__=~\"a_total|{name}\"}}"),
            _ => name.to_owned(),
        }
    }

    fn modifiers(&mut self) -> String {
        match self.random.below(15) {
            12 => " @ -100".to_owned(),
            13 => format!(" offset ({} - 30s)", self.duration()),
            14 if self.has_steps => " offset -step()".to_owned(),
            0 => format!(" offset {}", self.duration()),
            1 => format!(" offset -{}", self.duration()),
            2 => format!(" @ {}", self.random.below(1800)),
            3 => " @ start()".to_owned(),
            4 => format!(" @ end() offset {}", self.duration()),
            _ => String::new(),
        }
    }

    fn duration(&mut self) -> &'static str {
        self.random.pick(&["1m", "90s", "2m", "5m", "7m", "10m", "59s"])
    }

    fn range(&mut self, depth: usize) -> String {
        if depth > 0 && self.random.one_in(3) {
            let inner = match self.random.below(3) {
                0 => self.selector(),
                _ => self.wrapped(depth - 1),
            };
            let step = self.random.pick(&["", "30s", "1m", "47s"]);
            let modifiers = self.modifiers();
            return format!("{inner}[{}:{step}]{modifiers}", self.range_duration());
        }
        let selector = self.plain_selector();
        let modifiers = self.modifiers();
        format!("{selector}[{}]{modifiers}", self.range_duration())
    }

    fn range_call(&mut self, depth: usize) -> String {
        let range = self.range(depth);
        match self.random.below(12) {
            0 => format!("quantile_over_time({}, {range})", self.random.pick(&["0.5", "0.9", "0", "1", "2"])),
            1 => format!("predict_linear({range}, {})", self.random.pick(&["60", "3600", "-60"])),
            2 => format!("double_exponential_smoothing({range}, 0.5, {})", self.random.pick(&["0.1", "0.9"])),
            _ => format!("{}({range})", self.random.pick(RANGE_FUNCTIONS)),
        }
    }

    fn grouping(&mut self) -> &'static str {
        self.random.pick(&[
            "",
            " by (x)",
            " by (y)",
            " by (x, y)",
            " without (x)",
            " without (y, le)",
            " by (le)",
        ])
    }

    fn aggregation(&mut self, depth: usize) -> String {
        let grouping = self.grouping();
        let vector = self.vector(depth);
        match self.random.below(13) {
            0 => format!("quantile{grouping} ({}, {vector})", self.random.pick(&["0.5", "0.1", "1"])),
            // Values become labels: they must not depend on the order of summing.
            1 => format!("count_values{grouping} (\"v\", {})", self.selector()),
            // Which series are the first depends on the order of evaluation, which is known of selectors only.
            2 => format!("limitk{grouping} ({}, {})", self.random.below(4), self.selector()),
            // Otherwise ties would be decided by the order of evaluation: whole sets only.
            3 if self.random.one_in(3) => {
                // Ties fall as the heap has it.
                let (op, k) = (self.random.pick(&["topk", "bottomk"]), 1 + self.random.below(3));
                format!("{op}{grouping} ({k}, {})", self.selector())
            }
            3 => format!("topk{grouping} (100, {vector})"),
            4 => format!("bottomk{grouping} (100, {vector})"),
            _ => format!("{}{grouping} ({vector})", self.random.pick(AGGREGATIONS)),
        }
    }

    fn binary(&mut self, depth: usize) -> String {
        let comparison = self.random.one_in(3);
        let mut op = self.random.pick(if comparison { COMPARISONS } else { ARITHMETIC }).to_owned();
        if comparison && self.random.one_in(3) {
            op.push_str(" bool");
        }
        let matching = match self.random.below(10) {
            0 => " on (x, y)",
            1 => " on (x)",
            2 => " ignoring (y)",
            3 => " on (x) group_left ()",
            4 => " on (x) group_right ()",
            5 => " on (x) group_left (y)",
            6 => " on (x, y) fill (0)",
            7 => " ignoring (le) fill_left (1)",
            8 => " on (x, y) group_left () fill_right (2)",
            _ => "",
        };
        let (mut lhs, mut rhs) = (self.wrapped(depth), self.wrapped(depth));
        // Aggregates on the "one" side make most joins succeed.
        if matching.contains("group_left") && !matching.contains("x, y") {
            rhs = format!("sum by (x) ({rhs})");
        } else if matching.contains("group_right") {
            lhs = format!("sum by (x) ({lhs})");
        } else if matching.contains("(x)") {
            (lhs, rhs) = (format!("max by (x) ({lhs})"), format!("max by (x) ({rhs})"));
        } else if matching.contains("x, y") || matching.contains("(y)") {
            (lhs, rhs) = (format!("max by (x, y) ({lhs})"), format!("max by (x, y) ({rhs})"));
        }
        format!("{lhs} {op}{matching} {rhs}")
    }

    fn set_operation(&mut self, depth: usize) -> String {
        let op = self.random.pick(&["and", "or", "unless"]);
        let matching = self.random.pick(&["", "", " on (x)", " ignoring (y)", " on ()"]);
        format!("{} {op}{matching} {}", self.wrapped(depth), self.wrapped(depth))
    }

    fn with_scalar(&mut self, depth: usize) -> String {
        let comparison = self.random.one_in(2);
        let mut op = self.random.pick(if comparison { COMPARISONS } else { ARITHMETIC }).to_owned();
        if comparison && self.random.one_in(3) {
            op.push_str(" bool");
        }
        let (vector, scalar) = (self.wrapped(depth), self.scalar(depth));
        if self.random.one_in(3) {
            format!("{scalar} {op} {vector}")
        } else {
            format!("{vector} {op} {scalar}")
        }
    }

    fn number(&mut self) -> &'static str {
        self.random.pick(&["0", "1", "2.5", "-3", "10", "50", "Inf", "NaN"])
    }

    fn scalar(&mut self, depth: usize) -> String {
        match self.random.below(10) {
            8 => self.random.pick(&["start()", "end()", "range()", "step()"]).to_owned(),
            9 => format!("{}({}, {})", self.random.pick(&["min_of", "max_of"]), self.number(), self.number()),
            0 => "time()".to_owned(),
            1 if depth > 0 => format!("scalar({})", self.vector(depth - 1)),
            2 => format!("({} + {})", self.number(), self.number()),
            3 => "pi()".to_owned(),
            _ => self.number().to_owned(),
        }
    }
}
