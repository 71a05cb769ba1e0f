//! Index and chunks of any bytes behind right checksums are read, checked and compacted, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tsdb/tests/blocks/any_parts.rs"]
mod any_parts;

fuzz_target!(|parts: (u8, &[u8], &[u8], &[u8], &[u8], &[u8])| {
    let (version, symbols, series, postings, table, chunks) = parts;
    let parts = any_parts::Parts { version, symbols, series, postings, table, chunks };
    any_parts::reading_survives(&parts);
});
