//! A vector in pages that get longer: an element never moves, and growing never copies.

use std::ops::{Index, IndexMut};

/// The length of the first two pages. The next two are twice as long, and so on: page `k` has `FIRST << (k / 2)` elements.
const FIRST: usize = 16;

/// A growing sequence. Of a long page the memory that no element has been written to yet is not touched, so the
/// slack of the last page is address space, not memory. That of a short one is memory, in each of thousands of small heads.
pub(crate) struct Paged<T> {
    pages: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Paged { pages: Vec::new(), len: 0 }
    }
}

/// Page number and place in the page.
#[inline]
fn locate(index: usize) -> (usize, usize) {
    // With twice `FIRST` added, each pair of pages goes from one power of two to the next.
    let shifted = index + 2 * FIRST;
    let doubling = (shifted / (2 * FIRST)).ilog2();
    let half = FIRST << doubling;
    (2 * doubling as usize + usize::from(shifted & half != 0), shifted & (half - 1))
}

impl<T> Paged<T> {
    /// Appends an element and tells its index.
    pub(crate) fn push(&mut self, value: T) -> usize {
        let index = self.len;
        let (page, _) = locate(index);
        if page == self.pages.len() {
            self.pages.push(Vec::with_capacity(FIRST << (page / 2)));
        }
        self.pages[page].push(value);
        self.len += 1;
        index
    }

    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Index<usize> for Paged<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        let (page, at) = locate(index);
        &self.pages[page][at]
    }
}

impl<T> IndexMut<usize> for Paged<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let (page, at) = locate(index);
        &mut self.pages[page][at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_where_they_were_put() {
        let mut paged = Paged::default();
        for i in 0..10_000usize {
            assert_eq!(paged.push(i * 3), i);
        }
        assert!((0..10_000).all(|i| paged[i] == i * 3));
        assert_eq!(paged.len(), 10_000);
        let lengths: Vec<usize> = paged.pages.iter().map(Vec::len).collect();
        assert_eq!(lengths[..7], [16, 16, 32, 32, 64, 64, 128]);
        assert!(paged.pages.iter().all(|page| page.capacity() <= 10_000 / 2));
    }
}
