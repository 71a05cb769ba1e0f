//! Control messages to bytes and back: small structs of which nobody sends thousands a second.
//!
//! The encoding is bincode's with fixed-size little-endian integers, behind a byte that tells the version of
//! this file's choice. bincode is complete but has no maintainer any more, so it is pinned and used here alone;
//! other crates write the same bytes. Bytes are not self-describing: a message whose shape changes is a new
//! message, with a method of its own.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::error::{DecodeError, EncodeError};
pub use bincode::{Decode, Encode};

/// First byte of every message.
const VERSION: u8 = 1;
/// Bytes of a message, and of the memory that lengths in it may claim.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<MESSAGE_BYTES_MAX>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<MESSAGE_BYTES_MAX>();

/// A message that was not encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Encoding failed: the message is too long.
    #[error("{message} cannot be encoded: {error}")]
    Encode {
        /// Its type.
        message: &'static str,
        /// Why.
        error: EncodeError,
    },
    /// The bytes are no such message.
    #[error("these bytes are no {message}: {error}")]
    Decode {
        /// Its type.
        message: &'static str,
        /// Why.
        error: DecodeError,
    },
    /// Another version of the encoding.
    #[error("{message} is encoded in version {got:?}, this node reads version {VERSION}")]
    Version {
        /// Its type.
        message: &'static str,
        /// The version found; none in an empty message.
        got: Option<u8>,
    },
    /// Something lies behind the message.
    #[error("{left} bytes lie behind {message}")]
    Trailing {
        /// Its type.
        message: &'static str,
        /// How many.
        left: usize,
    },
}

/// The bytes of a message.
pub fn encode<T: Encode>(message: &T) -> Result<Vec<u8>, CodecError> {
    let name = std::any::type_name::<T>();
    let mut out = vec![VERSION];
    let encode_error = |error| CodecError::Encode { message: name, error };
    bincode::encode_into_std_write(message, &mut out, CONFIG).map_err(encode_error)?;
    if out.len() > MESSAGE_BYTES_MAX {
        return Err(encode_error(EncodeError::Other("it is longer than a message may be")));
    }
    Ok(out)
}

/// The message in these bytes, all of them.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let message = std::any::type_name::<T>();
    let body = match bytes.split_first() {
        Some((&VERSION, body)) => body,
        other => return Err(CodecError::Version { message, got: other.map(|(&version, _)| version) }),
    };
    let decode_error = |error| CodecError::Decode { message, error };
    let (value, read) = bincode::decode_from_slice(body, CONFIG).map_err(decode_error)?;
    let left = body.len() - read;
    if left == 0 { Ok(value) } else { Err(CodecError::Trailing { message, left }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Sealed {
        epoch: u64,
        held: Vec<(u128, u64)>,
        reason: Option<String>,
    }

    proptest! {
        #[test]
        fn messages_come_back(epoch: u64, held: Vec<(u128, u64)>, reason: Option<String>) {
            let message = Sealed { epoch, held, reason };
            prop_assert_eq!(decode::<Sealed>(&encode(&message).unwrap()).unwrap(), message);
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(mut bytes: Vec<u8>, version in 0..3u8) {
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            if let Ok(message) = decode::<Sealed>(&bytes) {
                // A message has one encoding only.
                prop_assert_eq!(encode(&message).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn integers_have_a_fixed_size_lowest_byte_first() {
        let message = Sealed { epoch: 0x0102, held: vec![(3, 4)], reason: Some("no".into()) };
        let expected: Vec<u8> = [
            &[1][..],
            &[2, 1, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[4, 0, 0, 0, 0, 0, 0, 0],
            &[1, 2, 0, 0, 0, 0, 0, 0, 0],
            b"no",
        ]
        .concat();
        assert_eq!(encode(&message).unwrap(), expected);
    }

    #[test]
    fn errors_name_the_message_and_what_is_wrong() {
        let text = |bytes: &[u8]| decode::<Sealed>(bytes).unwrap_err().to_string();
        assert!(text(&[]).contains("Sealed is encoded in version None"));
        assert!(text(&[9]).contains("version Some(9), this node reads version 1"));
        let mut bytes = encode(&Sealed { epoch: 1, held: vec![], reason: None }).unwrap();
        bytes.push(0);
        assert!(text(&bytes).contains("1 bytes lie behind"), "{}", text(&bytes));
    }

    #[test]
    fn a_length_that_claims_more_than_a_message_may_hold_is_refused() {
        let claims = [&[1][..], &[0; 8], &u64::MAX.to_le_bytes()].concat();
        assert!(matches!(decode::<Sealed>(&claims), Err(CodecError::Decode { .. })));
        let long = "x".repeat(MESSAGE_BYTES_MAX);
        assert!(matches!(encode(&long), Err(CodecError::Encode { .. })));
    }
}
