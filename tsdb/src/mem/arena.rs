//! Byte strings packed behind each other, found by a 32-bit offset.

use crate::varint;

/// Strings never straddle a page. A page is this long, unless one string alone is longer.
const PAGE_BYTES: usize = 1 << 16;

/// An append-only store of byte strings.
#[derive(Default)]
pub(crate) struct ByteArena {
    pages: Vec<Vec<u8>>,
}

impl ByteArena {
    /// Stores a string and tells where; `None` when 4 GiB are used up.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<u32> {
        let needed = bytes.len() + varint::LEN_MAX;
        let fits = self.pages.last().is_some_and(|page| page.len() + needed <= PAGE_BYTES);
        if !fits {
            if self.pages.len() > usize::from(u16::MAX) {
                return None;
            }
            // The first page grows as it fills: a small tenant should not pay for a whole one.
            let capacity = if self.pages.is_empty() { needed } else { needed.max(PAGE_BYTES) };
            self.pages.push(Vec::with_capacity(capacity));
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        let offset = (number << 16 | page.len()) as u32;
        varint::put_u64(page, bytes.len() as u64);
        page.extend_from_slice(bytes);
        Some(offset)
    }

    /// Whether so many strings, of so many bytes in all, can be stored for sure.
    pub(crate) fn has_room(&self, strings: usize, bytes: usize) -> bool {
        // Of two pages in a row that were begun, the strings fill more than one.
        let pages = 2 * (bytes + strings * varint::LEN_MAX) / PAGE_BYTES + 2;
        self.pages.len() + pages <= usize::from(u16::MAX)
    }

    /// The string stored at an offset that [`ByteArena::push`] gave.
    pub(crate) fn get(&self, offset: u32) -> &[u8] {
        let mut rest = &self.pages[(offset >> 16) as usize][(offset & 0xffff) as usize..];
        let len = varint::take_u64(&mut rest).expect("push wrote a length here") as usize;
        &rest[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_any_length_come_back() {
        let mut arena = ByteArena::default();
        let strings: Vec<Vec<u8>> =
            (0..3000).map(|i| vec![i as u8; if i % 500 == 7 { 100_000 } else { i % 97 }]).collect();
        let offsets: Vec<u32> = strings.iter().map(|s| arena.push(s).unwrap()).collect();
        for (offset, string) in offsets.iter().zip(&strings) {
            assert_eq!(arena.get(*offset), string);
        }
    }
}
