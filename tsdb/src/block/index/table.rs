//! The table of postings: for each name and value, where the list of series is.
//!
//! `len u32 | count u32 | (uvarint 2, name, value, uvarint offset)* | crc32c`, sorted; the first entry has no name and no
//! value and stands for all series. In memory are the section as it is, and the place of every 32nd value of a name.

use std::ops::Range;

use super::toc::{IndexVersion, Toc};
use super::{SPARSENESS, check_section, take_text, take_u32};
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::varint;

/// Where the posting lists of an index are.
#[derive(Debug)]
pub struct PostingsTable {
    /// Entries: name, value, offset.
    entries: Vec<u8>,
    names: Vec<Name>,
    toc: Toc,
    /// Version 1 alone: begins of all lists, ascending. Version 2 has lists in order of the entries.
    begins: Option<Vec<u64>>,
    offset: u64,
}

#[derive(Debug)]
struct Name {
    name: String,
    /// Places of every 32nd entry.
    sparse: Vec<u32>,
    end: u32,
}

/// A list of the series that have a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingsList<'a> {
    /// The label's value.
    pub value: &'a str,
    /// The bytes of the index that hold the list, for [`parse_postings`](super::parse_postings).
    pub range: Range<u64>,
}

struct Entry<'a> {
    name: &'a str,
    value: &'a str,
    list: u64,
}

fn take_entry<'a>(from: &mut &'a [u8]) -> Option<Entry<'a>> {
    if varint::take_u64(from)? != 2 {
        return None;
    }
    let name = str::from_utf8(take_text(from)?).ok()?;
    let value = str::from_utf8(take_text(from)?).ok()?;
    Some(Entry { name, value, list: varint::take_u64(from)? })
}

impl PostingsTable {
    pub(super) fn parse(bytes: &[u8], toc: &Toc, version: IndexVersion) -> Result<Self, BlockError> {
        let offset = toc.postings_table;
        let wrong = |what| damaged(BlockFile::Index, offset, what);
        let mut payload = check_section(bytes, offset)?;
        let count = take_u32(&mut payload).ok_or_else(|| wrong("a table without a count"))?;
        let mut table =
            PostingsTable { entries: Vec::new(), names: Vec::new(), toc: *toc, begins: None, offset };
        if version == IndexVersion::V1 {
            let mut entries = Vec::new();
            let mut rest = payload;
            for _ in 0..count {
                entries.push(take_entry(&mut rest).ok_or_else(|| wrong("an entry is malformed"))?);
            }
            let mut begins: Vec<u64> = entries.iter().map(|entry| entry.list).collect();
            begins.sort_unstable();
            entries.sort_unstable_by_key(|entry| (entry.name, entry.value));
            table.begins = Some(begins);
            let mut sorted = Vec::with_capacity(payload.len());
            for entry in &entries {
                put_entry(&mut sorted, entry.name.as_bytes(), entry.value.as_bytes(), entry.list);
            }
            table.entries = sorted;
        } else {
            table.entries = payload.to_vec();
        }
        table.find_names(count)?;
        Ok(table)
    }

    fn find_names(&mut self, count: u32) -> Result<(), BlockError> {
        let wrong = |what| damaged(BlockFile::Index, self.offset, what);
        let mut rest = self.entries.as_slice();
        let mut last: Option<(&str, &str)> = None;
        let mut of_name = 0;
        for _ in 0..count {
            let at = (self.entries.len() - rest.len()) as u32;
            let entry = take_entry(&mut rest).ok_or_else(|| wrong("an entry is malformed"))?;
            if last.is_some_and(|last| last >= (entry.name, entry.value)) {
                return Err(wrong("entries are not in order"));
            }
            if last.is_none_or(|last| last.0 != entry.name) {
                self.names.push(Name { name: entry.name.to_owned(), sparse: Vec::new(), end: 0 });
                of_name = 0;
            }
            let name = self.names.last_mut().expect("one was just pushed, or the last entry has the same");
            if of_name % SPARSENESS == 0 {
                name.sparse.push(at);
            }
            of_name += 1;
            name.end = (self.entries.len() - rest.len()) as u32;
            last = Some((entry.name, entry.value));
        }
        Ok(())
    }

    /// The list of all series, from the first bytes of the table's payload: in version 2 it comes first.
    pub(in crate::block) fn first_list(mut payload: &[u8], toc: &Toc) -> Result<Range<u64>, BlockError> {
        take_u32(&mut payload);
        match take_entry(&mut payload) {
            Some(Entry { name: "", value: "", list })
                if list >= toc.postings && list < toc.end_of_section(list) =>
            {
                Ok(list..toc.end_of_section(list))
            }
            _ => Err(damaged(BlockFile::Index, toc.postings_table, "there is no list of all series")),
        }
    }

    /// The list of all series.
    pub fn all(&self) -> Result<Range<u64>, BlockError> {
        let missing = || damaged(BlockFile::Index, self.offset, "there is no list of all series");
        Ok(self.list("", "")?.ok_or_else(missing)?.range)
    }

    /// All label names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| name.name.as_str()).filter(|name| !name.is_empty())
    }

    /// The lists of all values of a name, in order of values.
    pub fn lists(&self, name: &str) -> impl Iterator<Item = Result<PostingsList<'_>, BlockError>> {
        let (begin, end) = match self.find(name) {
            Some(name) => (name.sparse[0], name.end),
            None => (0, 0),
        };
        self.entries_from(begin, end)
    }

    /// The list of one value, if there is one.
    pub fn list(&self, name: &str, value: &str) -> Result<Option<PostingsList<'_>>, BlockError> {
        let Some(name) = self.find(name) else { return Ok(None) };
        let value_at = |at: &u32| {
            let mut rest = &self.entries[*at as usize..];
            take_entry(&mut rest).map_or("", |entry| entry.value)
        };
        let Some(sample) = name.sparse.partition_point(|at| value_at(at) <= value).checked_sub(1) else {
            return Ok(None);
        };
        let found =
            self.entries_from(name.sparse[sample], name.end).take(SPARSENESS).find(|list| match list {
                Ok(list) => list.value == value,
                Err(_) => true,
            });
        found.transpose()
    }

    fn find(&self, name: &str) -> Option<&Name> {
        let at = self.names.binary_search_by_key(&name, |name| name.name.as_str()).ok()?;
        self.names.get(at)
    }

    fn entries_from(
        &self,
        begin: u32,
        end: u32,
    ) -> impl Iterator<Item = Result<PostingsList<'_>, BlockError>> {
        let mut rest = &self.entries[begin as usize..];
        let left_at_end = self.entries.len() - end as usize;
        std::iter::from_fn(move || {
            if rest.len() <= left_at_end {
                return None;
            }
            let entry = take_entry(&mut rest)?;
            let mut next = rest;
            let end = self.list_end(entry.list, take_entry(&mut next).map(|next| next.list));
            if !(self.toc.postings..end).contains(&entry.list) {
                let what = "a posting list is not among the posting lists";
                return Some(Err(damaged(BlockFile::Index, entry.list, what)));
            }
            Some(Ok(PostingsList { value: entry.value, range: entry.list..end }))
        })
    }

    /// Where a list ends at the latest.
    fn list_end(&self, list: u64, next: Option<u64>) -> u64 {
        let end = self.toc.end_of_section(list);
        match &self.begins {
            None => next.map_or(end, |next| next.min(end)),
            Some(begins) => {
                begins.get(begins.partition_point(|begin| *begin <= list)).map_or(end, |next| *next)
            }
        }
    }
}

/// Appends an entry.
pub(in crate::block) fn put_entry(out: &mut Vec<u8>, name: &[u8], value: &[u8], list: u64) {
    varint::put_u64(out, 2);
    for text in [name, value] {
        varint::put_u64(out, text.len() as u64);
        out.extend_from_slice(text);
    }
    varint::put_u64(out, list);
}
