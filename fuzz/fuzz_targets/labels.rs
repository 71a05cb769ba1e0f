//! Label fields of any bytes are refused, or have a canonical form that is its own canonical form.
#![no_main]

use gyre::tenant::canonical::{Canonical, LabelLimits, canonicalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &[u8]| {
    let limits = LabelLimits {
        names_per_series_max: 30,
        name_bytes_max: 1024,
        value_bytes_max: 2048,
        labels_bytes_max: 0,
        enforce_metric_name: false,
    };
    let mut form = Vec::new();
    match canonicalize(raw, &limits, &mut form) {
        Ok(Canonical::AsIs) => assert!(form.is_empty()),
        Ok(Canonical::Rewritten) => {
            assert_ne!(form, raw);
            assert_eq!(canonicalize(&form, &limits, &mut Vec::new()), Ok(Canonical::AsIs));
        }
        Err(error) => assert!(error.to_string().len() < 8192),
    }
});
