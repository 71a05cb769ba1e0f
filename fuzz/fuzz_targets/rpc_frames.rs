//! What a peer, or a stranger, may send: headers and introductions are read or refused, and those that are read have
//! the bytes they were read from.
#![no_main]

use gyre::rpc::frame::{HEADER_BYTES, Header};
use gyre::rpc::handshake::{ClientHello, ServerHello};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hello) = ClientHello::parse(bytes) {
        let again = ClientHello::parse(&hello.to_bytes()).expect("what was written is read");
        assert_eq!(again, hello);
    }
    if let Ok(hello) = ServerHello::parse(bytes) {
        let again = ServerHello::parse(&hello.to_bytes()).expect("what was written is read");
        assert_eq!(again, hello);
    }
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return };
    for from_client in [true, false] {
        let Ok(announced) = Header::parse(header, from_client) else { continue };
        assert!(announced.payload_bytes <= announced.header.kind.payload_bytes_max());
        if announced.payload_bytes == payload.len() && announced.check(payload).is_ok() {
            let mut out = Vec::new();
            announced.header.put(&mut out, |out| out.extend_from_slice(payload));
            assert_eq!(out, bytes);
        }
    }
});
