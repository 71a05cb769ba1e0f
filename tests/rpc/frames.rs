//! Frames: bytes as documented, and any others refused.

use gyre::rpc::frame::{CallId, FrameError, HEADER_BYTES, Header, Kind};
use proptest::prelude::*;

/// CRC-32C by its definition: polynomial 1edc6f41, bits and result reflected and inverted.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

#[test]
fn bytes_are_as_documented() {
    let mut out = vec![0xee];
    let header = Header { kind: Kind::Request, flags: 1, code: 0x0203, call: CallId(0x0405) };
    assert_eq!(header.put(&mut out, |out| out.extend(b"payload")), 7);
    let checked = [&[7, 0, 0, 0][..], &[1, 1, 3, 2], &[5, 4, 0, 0, 0, 0, 0, 0], b"payload"].concat();
    let crc = crc32c(&checked).to_le_bytes();
    assert_eq!(out, [&[0xee][..], &checked[..4], &crc, &checked[4..]].concat());
    // RFC 3720's example, so that the definition above is the right one.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
}

#[test]
fn kinds_have_the_documented_numbers_sides_and_limits() {
    let documented = [
        (Kind::Request, 1, true, 16 << 20),
        (Kind::Cancel, 2, true, 0),
        (Kind::Credit, 3, true, 4),
        (Kind::Ping, 4, true, 0),
        (Kind::Chunk, 5, false, 256 << 10),
        (Kind::Reply, 6, false, 16 << 20),
        (Kind::Error, 7, false, 4 << 10),
        (Kind::Pong, 8, false, 0),
        (Kind::GoAway, 9, false, 0),
    ];
    for (kind, byte, from_client, max) in documented {
        assert_eq!((kind.byte(), kind.is_from_client(), kind.payload_bytes_max()), (byte, from_client, max));
        let mut out = Vec::new();
        Header::new(kind, CallId(1)).put(&mut out, |_| ());
        let header: &mut [u8; HEADER_BYTES] = (&mut out[..]).try_into().unwrap();
        assert_eq!(Header::parse(header, from_client).unwrap().header.kind, kind);
        assert_eq!(Header::parse(header, !from_client).unwrap_err(), FrameError::WrongSide(kind));
        header[..4].copy_from_slice(&(max as u32 + 1).to_le_bytes());
        assert!(matches!(Header::parse(header, from_client), Err(FrameError::TooLong { .. })));
    }
}

proptest! {
    #[test]
    fn frames_come_back_and_a_changed_byte_is_noticed(
        flags: u8,
        code: u16,
        call: u64,
        payload: Vec<u8>,
        at: prop::sample::Index,
        change in 1..=255u8,
    ) {
        let mut out = Vec::new();
        let header = Header { kind: Kind::Request, flags, code, call: CallId(call) };
        header.put(&mut out, |out| out.extend(&payload));
        let parse = |frame: &[u8]| {
            let announced = Header::parse(frame.first_chunk().unwrap(), true)?;
            // A reader waits for what is announced: here it would be more or less than was sent.
            if announced.payload_bytes != payload.len() {
                return Ok(None);
            }
            announced.check(&frame[HEADER_BYTES..]).map(|()| Some(announced.header))
        };
        prop_assert_eq!(parse(&out), Ok(Some(header)));
        let at = at.index(out.len());
        out[at] ^= change;
        prop_assert!(matches!(parse(&out), Err(_) | Ok(None)), "a change at {}", at);
    }

    #[test]
    fn any_header_is_one_or_an_error(bytes: [u8; HEADER_BYTES], from_client: bool) {
        if let Ok(announced) = Header::parse(&bytes, from_client) {
            prop_assert!(announced.payload_bytes <= announced.header.kind.payload_bytes_max());
        }
    }
}
