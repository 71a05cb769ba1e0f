//! A body of any bytes is decompressed or refused, and never takes more memory than its bytes can hold.
#![no_main]

use gyre::api::push::snappy::decompress_into;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|compressed: &[u8]| {
    let mut body = Vec::new();
    let is_ok = decompress_into(compressed, 1 << 20, &mut body).is_ok();
    assert!(body.capacity() <= compressed.len() * 22);
    if is_ok {
        let again = snappy_of(&body);
        let mut same = Vec::new();
        assert!(decompress_into(&again, 1 << 20, &mut same).is_ok() && same == body);
    }
});

/// A snappy block of literals only.
fn snappy_of(plain: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    let mut length = plain.len();
    while length >= 0x80 {
        block.push(length as u8 | 0x80);
        length >>= 7;
    }
    block.push(length as u8);
    for literal in plain.chunks(60) {
        block.push(((literal.len() - 1) << 2) as u8);
        block.extend_from_slice(literal);
    }
    block
}
