//! A vector in doubling pages: an element never moves, and growing never copies.

use std::ops::{Index, IndexMut};

/// The first page's length; page `k` has `FIRST << k` elements.
const FIRST: usize = 32;

/// A growing sequence. Memory of a page that no element has been written to yet is not touched, so the
/// slack of the last page is address space, not memory.
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
    let shifted = index + FIRST;
    let page = (shifted.ilog2() - FIRST.ilog2()) as usize;
    (page, shifted - (FIRST << page))
}

impl<T> Paged<T> {
    /// Appends an element and tells its index.
    pub(crate) fn push(&mut self, value: T) -> usize {
        let index = self.len;
        let (page, _) = locate(index);
        if page == self.pages.len() {
            self.pages.push(Vec::with_capacity(FIRST << page));
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
    }
}
