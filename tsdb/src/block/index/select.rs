//! Which series of a block satisfy label matchers: first which posting lists that takes, then, when they are here, the answer.
//!
//! As in the head, a label that a series lacks counts as empty. So a matcher that accepts the empty value cannot name its
//! series by posting lists; it names those to take away.

use std::ops::Range;

use super::header::IndexHeader;
use super::postings::parse_postings;
use super::table::PostingsList;
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::index::Matcher;

/// The posting lists that tell which series satisfy some matchers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingsPlan {
    /// Of each of these groups of lists, a series is in one.
    only: Vec<Vec<Range<u64>>>,
    /// A series is in none of these.
    not: Vec<Range<u64>>,
}

impl IndexHeader {
    /// Plans which posting lists to get. With no matcher, all series are meant.
    pub fn plan(&self, matchers: &[Matcher]) -> Result<PostingsPlan, BlockError> {
        let (mut only, mut not) = (Vec::new(), Vec::new());
        for matcher in matchers {
            if let Some(candidates) = &matcher.candidates {
                let lists = candidates
                    .iter()
                    .filter_map(|value| self.postings().list(&matcher.name, value).transpose());
                only.push(lists.map(|list| Ok(list?.range)).collect::<Result<Vec<_>, BlockError>>()?);
                continue;
            }
            let takes_away = (matcher.accepts)("");
            let is_chosen = |list: &Result<PostingsList<'_>, BlockError>| match list {
                Ok(list) => (matcher.accepts)(list.value) != takes_away,
                Err(_) => true,
            };
            let lists = self.postings().lists(&matcher.name).filter(is_chosen);
            let lists = lists.map(|list| Ok(list?.range)).collect::<Result<Vec<_>, BlockError>>()?;
            if takes_away {
                not.extend(lists);
            } else {
                only.push(lists);
            }
        }
        if only.iter().any(Vec::is_empty) {
            // No series can satisfy this: nothing else need be read.
            return Ok(PostingsPlan { only: vec![Vec::new()], not: Vec::new() });
        }
        if only.is_empty() {
            only.push(vec![self.postings().all()?]);
        }
        Ok(PostingsPlan { only, not })
    }
}

impl PostingsPlan {
    /// The ranges of the index to get, in no order.
    pub fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.only.iter().flatten().chain(&self.not)
    }

    /// The references of the series that satisfy all matchers, ascending. `get` gives the bytes of a range.
    pub fn select<'a>(&self, get: impl Fn(&Range<u64>) -> Option<&'a [u8]>) -> Result<Vec<u32>, BlockError> {
        let union = |ranges: &[Range<u64>]| {
            let mut union = Vec::new();
            for range in ranges {
                let missing = || damaged(BlockFile::Index, range.start, "a posting list was not got");
                union.extend(parse_postings(get(range).ok_or_else(missing)?, range.start)?);
            }
            if ranges.len() > 1 {
                union.sort_unstable();
                union.dedup();
            }
            Ok::<_, BlockError>(union)
        };
        let mut groups = self.only.iter().map(|ranges| union(ranges));
        let mut series = groups.next().transpose()?.unwrap_or_default();
        for group in groups {
            keep(&mut series, &group?, true);
        }
        keep(&mut series, &union(&self.not)?, false);
        Ok(series)
    }
}

/// Keeps the series that are in a list, or those that are not. Both ascend.
fn keep(series: &mut Vec<u32>, list: &[u32], those_in_it: bool) {
    let mut rest = list.iter().peekable();
    series.retain(|series| {
        while rest.next_if(|other| *other < series).is_some() {}
        (rest.peek() == Some(&series)) == those_in_it
    });
}
