//! A bounds-checked scanner over protobuf wire format that copies nothing.
//!
//! Every fault carries its byte offset in the whole message, however deep the scanner has descended, so that a
//! refused sender can be told where its bytes go wrong. Format: <https://protobuf.dev/programming-guides/encoding/>.

use std::fmt;

/// How many groups may lie inside one another in a skipped field. Nobody has sent groups since proto2.
const GROUP_DEPTH_MAX: usize = 32;

/// The low three bits of a field's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireType {
    /// Base-128 integer.
    Varint,
    /// Eight bytes, little endian.
    Fixed64,
    /// A length and that many bytes.
    Len,
    /// Start of a group (deprecated, still legal in unknown fields).
    StartGroup,
    /// End of a group.
    EndGroup,
    /// Four bytes, little endian.
    Fixed32,
}

impl WireType {
    /// The number in the tag's low bits.
    pub const fn number(self) -> u32 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Len => 2,
            Self::StartGroup => 3,
            Self::EndGroup => 4,
            Self::Fixed32 => 5,
        }
    }

    const fn of_tag(tag: u32) -> Option<Self> {
        match tag & 7 {
            0 => Some(Self::Varint),
            1 => Some(Self::Fixed64),
            2 => Some(Self::Len),
            3 => Some(Self::StartGroup),
            4 => Some(Self::EndGroup),
            5 => Some(Self::Fixed32),
            _ => None,
        }
    }
}

/// What is wrong with a message's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a number.
    Truncated,
    /// A varint that does not fit 64 bits.
    VarintTooLong,
    /// A tag with field number 0, a number above 2^29 - 1, or wire type 6 or 7.
    InvalidTag(u64),
    /// A known field with another wire type than its definition has.
    WrongWireType {
        /// The type found.
        got: u32,
        /// The type the field is defined with.
        want: u32,
    },
    /// A length that reaches past the end of the enclosing message.
    LengthOverrun {
        /// The length announced, in bytes.
        length: u64,
        /// The bytes that are left in the enclosing message.
        left: usize,
    },
    /// A string field that is not UTF-8.
    InvalidUtf8,
    /// A group that is not closed, or closed without having been opened.
    UnmatchedGroup,
    /// Groups nested deeper than any real message.
    GroupsTooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated => write!(f, "the message is cut off"),
            Self::VarintTooLong => write!(f, "varint does not fit 64 bits"),
            Self::InvalidTag(tag) => write!(f, "invalid field tag {tag}"),
            Self::WrongWireType { got, want } => write!(f, "wire type {got} where {want} belongs"),
            Self::LengthOverrun { length, left } => {
                write!(f, "length {length} reaches past the {left} bytes that are left")
            }
            Self::InvalidUtf8 => write!(f, "invalid UTF-8"),
            Self::UnmatchedGroup => write!(f, "unmatched group"),
            Self::GroupsTooDeep => write!(f, "groups nested deeper than {GROUP_DEPTH_MAX}"),
        }
    }
}

/// A fault and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    /// Bytes from the start of the outermost message.
    pub offset: usize,
    /// The field that was being read, named as in the message's definition.
    pub field: &'static str,
    /// What is wrong there.
    pub fault: Fault,
}

/// A window onto the bytes of one message. Nested messages are nested scanners over the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    rest: &'a [u8],
    /// Offset, in the outermost message, of the byte behind `rest`.
    end: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner over a whole message.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message, end: message.len() }
    }

    /// A scanner over `message`, which begins `start` bytes into the outermost message.
    pub const fn at(message: &'a [u8], start: usize) -> Self {
        Self { rest: message, end: start + message.len() }
    }

    /// True when this message has been read to its end.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Offset of the next byte in the outermost message.
    pub const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    /// The bytes not yet read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn fail<T>(&self, field: &'static str, fault: Fault) -> Result<T, WireError> {
        Err(WireError { offset: self.offset(), field, fault })
    }

    /// Reads a base-128 integer. Padded forms are legal, as they are for every protobuf reader.
    #[inline]
    pub fn varint(&mut self, field: &'static str) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.varint_long(field),
        }
    }

    fn varint_long(&mut self, field: &'static str) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte holds the one bit that is left of 64.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        let fault = if self.rest.len() < 10 { Fault::Truncated } else { Fault::VarintTooLong };
        self.fail(field, fault)
    }

    /// Reads a field's tag: `number << 3 | wire type`. `within` names the enclosing message.
    #[inline]
    pub fn tag(&mut self, within: &'static str) -> Result<u32, WireError> {
        let before = *self;
        let raw = self.varint(within)?;
        match u32::try_from(raw) {
            Ok(tag) if tag >= 8 && (tag & 7) <= 5 => Ok(tag),
            _ => before.fail(within, Fault::InvalidTag(raw)),
        }
    }

    /// Reads a length-delimited field: a string, bytes, or a nested message.
    #[inline]
    pub fn len_delimited(&mut self, field: &'static str) -> Result<Self, WireError> {
        let before = *self;
        let length = self.varint(field)?;
        let left = self.rest.len();
        if length > left as u64 {
            return before.fail(field, Fault::LengthOverrun { length, left });
        }
        let (inner, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(Self { rest: inner, end: self.end - rest.len() })
    }

    /// Skips the fields that come next, as long as they have this one-byte tag and less than 128 bytes: what
    /// nearly all labels are. What it leaves is read the usual way.
    #[inline]
    pub fn skip_short(&mut self, tag: u8) {
        while let [first, length, rest @ ..] = self.rest
            && *first == tag
            && *length < 0x80
            && let Some(rest) = rest.get(usize::from(*length)..)
        {
            self.rest = rest;
        }
    }

    /// Reads a string field and checks its encoding.
    pub fn string(&mut self, field: &'static str) -> Result<&'a str, WireError> {
        let inner = self.len_delimited(field)?;
        match str::from_utf8(inner.rest) {
            Ok(text) => Ok(text),
            Err(error) => Err(WireError {
                offset: inner.offset() + error.valid_up_to(),
                field,
                fault: Fault::InvalidUtf8,
            }),
        }
    }

    /// Reads eight bytes.
    #[inline]
    pub fn fixed64(&mut self, field: &'static str) -> Result<u64, WireError> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => self.fail(field, Fault::Truncated),
        }
    }

    /// Skips the value of a field that this reader does not know.
    pub fn skip(&mut self, tag: u32, within: &'static str) -> Result<(), WireError> {
        let mut open_groups = [0_u32; GROUP_DEPTH_MAX];
        let mut depth = 0;
        let mut tag = tag;
        loop {
            match WireType::of_tag(tag) {
                Some(WireType::Varint) => drop(self.varint(within)?),
                Some(WireType::Fixed64) => drop(self.fixed64(within)?),
                Some(WireType::Len) => drop(self.len_delimited(within)?),
                Some(WireType::Fixed32) => match self.rest.split_first_chunk::<4>() {
                    Some((_, rest)) => self.rest = rest,
                    None => return self.fail(within, Fault::Truncated),
                },
                Some(WireType::StartGroup) => {
                    let Some(slot) = open_groups.get_mut(depth) else {
                        return self.fail(within, Fault::GroupsTooDeep);
                    };
                    *slot = tag >> 3;
                    depth += 1;
                }
                Some(WireType::EndGroup) => {
                    if depth == 0 || open_groups[depth - 1] != tag >> 3 {
                        return self.fail(within, Fault::UnmatchedGroup);
                    }
                    depth -= 1;
                }
                None => return self.fail(within, Fault::InvalidTag(u64::from(tag))),
            }
            if depth == 0 {
                return Ok(());
            }
            tag = self.tag(within)?;
        }
    }

    /// The error for a known field that came with another wire type than `want`. Call it just behind the tag.
    pub fn wrong_wire_type<T>(&self, field: &'static str, tag: u32, want: WireType) -> Result<T, WireError> {
        self.fail(field, Fault::WrongWireType { got: tag & 7, want: want.number() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, Fault> {
        Scanner::new(bytes).varint("x").map_err(|error| error.fault)
    }

    #[test]
    fn varints_are_read_to_their_full_width() {
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[0x7f]), Ok(127));
        assert_eq!(varint(&[0x80, 0x01]), Ok(128));
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(u64::MAX));
        assert_eq!(varint(&[0x80, 0x80, 0x00]), Ok(0), "padding is legal");
    }

    #[test]
    fn truncated_and_overlong_varints_are_told_apart() {
        assert_eq!(varint(&[]), Err(Fault::Truncated));
        assert_eq!(varint(&[0x80]), Err(Fault::Truncated));
        assert_eq!(varint(&[0x80; 9]), Err(Fault::Truncated));
        assert_eq!(varint(&[0xff; 10]), Err(Fault::VarintTooLong));
        let mut too_wide = [0x80; 10];
        too_wide[9] = 2;
        assert_eq!(varint(&too_wide), Err(Fault::VarintTooLong));
        assert_eq!(varint(&[0x80; 11]), Err(Fault::VarintTooLong));
    }

    #[test]
    fn an_error_inside_a_nested_message_is_placed_in_the_outermost_one() {
        // Two bytes of an unknown varint field, then a message of two bytes whose varint is cut off.
        let body = [0x18, 0x05, 0x0a, 0x02, 0x10, 0x80];
        let mut outer = Scanner::new(&body);
        let tag = outer.tag("outer").unwrap();
        outer.skip(tag, "outer").unwrap();
        assert_eq!(outer.tag("outer").unwrap(), 0x0a);
        let mut inner = outer.len_delimited("inner").unwrap();
        assert!(outer.is_empty());
        assert_eq!(inner.tag("inner").unwrap(), 0x10);
        let error = inner.varint("inner.value").unwrap_err();
        assert_eq!(error, WireError { offset: 5, field: "inner.value", fault: Fault::Truncated });
    }

    #[test]
    fn a_length_past_the_end_is_refused_before_anything_is_read() {
        let error = Scanner::new(&[0x05, 1, 2]).len_delimited("labels").unwrap_err();
        assert_eq!(error.fault, Fault::LengthOverrun { length: 5, left: 2 });
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let error = Scanner::new(&huge).len_delimited("labels").unwrap_err();
        assert_eq!(error.fault, Fault::LengthOverrun { length: u64::MAX, left: 0 });
    }

    #[test]
    fn field_number_zero_and_unknown_wire_types_are_invalid_tags() {
        for tag in [0x00_u8, 0x07, 0x0e, 0x0f] {
            let error = Scanner::new(&[tag]).tag("x").unwrap_err();
            assert_eq!(error.fault, Fault::InvalidTag(u64::from(tag)));
        }
    }

    #[test]
    fn groups_are_skipped_when_they_match_and_refused_when_not() {
        let skip = |bytes: &[u8]| {
            let mut scanner = Scanner::new(bytes);
            let tag = scanner.tag("x")?;
            scanner.skip(tag, "x").map(|()| scanner.offset())
        };
        // Field 4 as a group that holds a varint and a nested group.
        assert_eq!(skip(&[0x23, 0x08, 0x01, 0x2b, 0x2c, 0x24, 0xff]), Ok(6));
        assert_eq!(skip(&[0x24]).unwrap_err().fault, Fault::UnmatchedGroup);
        assert_eq!(skip(&[0x23, 0x2c]).unwrap_err().fault, Fault::UnmatchedGroup);
        assert_eq!(skip(&[0x23]).unwrap_err().fault, Fault::Truncated);
        assert_eq!(skip(&[0x23; 64]).unwrap_err().fault, Fault::GroupsTooDeep);
    }
}
