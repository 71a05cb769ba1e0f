//! Which parts of the language are switched on, and how large a query may be.

/// What the parser accepts. The default is Prometheus's: no experimental syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParserOptions {
    /// `--enable-feature=promql-experimental-functions`: functions and aggregations marked experimental.
    pub experimental_functions: bool,
    /// `--enable-feature=promql-duration-expr`: arithmetic where a duration is expected.
    pub duration_expr: bool,
    /// `--enable-feature=promql-extended-range-selectors`: the modifiers `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `--enable-feature=promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
    /// How deep an expression may nest, in tree levels; a deeper one is an error. Code that recurses over a tree
    /// needs stack in proportion.
    pub nesting_depth_max: u32,
    /// How long a query may be, in bytes.
    pub query_bytes_max: usize,
}

impl Default for ParserOptions {
    fn default() -> Self {
        Self {
            experimental_functions: false,
            duration_expr: false,
            extended_range_selectors: false,
            binop_fill_modifiers: false,
            nesting_depth_max: 400,
            query_bytes_max: 1 << 20,
        }
    }
}

impl ParserOptions {
    /// The whole language of Prometheus HEAD, experimental parts included (what promqltest runs with).
    pub fn all() -> Self {
        Self {
            experimental_functions: true,
            duration_expr: true,
            extended_range_selectors: true,
            binop_fill_modifiers: true,
            ..Self::default()
        }
    }
}
