//! Lookups that get only the ranges they asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_tsdb::Matcher;
use gyre_tsdb::block::{
    CHUNK_BYTES_GUESS, Got, IndexHeader, Meta, SeriesEntry, Toc, Ulid, chunk_ranges, coalesce, find,
    parse_chunk, parse_postings, parse_series,
};
use gyre_tsdb::disk::ReadAt;
use gyre_tsdb::labels::Labels;
use proptest::prelude::*;

use super::scene::{LabelSet, Model, Sample, float_series, label_set, model_of, written};

const END_MS: i64 = 100_000;

fn get(source: &dyn ReadAt, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    source.read_at(range.start, &mut bytes).unwrap();
    bytes
}

fn header(index: &dyn ReadAt) -> IndexHeader {
    let toc = Toc::parse(&get(index, Toc::range(index.len()).unwrap()), index.len()).unwrap();
    let ranges = toc.header_ranges();
    IndexHeader::parse(
        toc,
        &get(index, ranges.head),
        get(index, ranges.symbols),
        &get(index, ranges.postings_table),
    )
    .unwrap()
}

/// The series with a reference, by as many reads as it takes.
fn series(
    index: &dyn ReadAt,
    header: &IndexHeader,
    reference: u32,
    mut bytes: u64,
) -> (LabelSet, SeriesEntry) {
    let mut entry = SeriesEntry::default();
    loop {
        let range = header.series_range(reference, bytes);
        match parse_series(&get(index, range.clone()), range.start, &mut entry).unwrap() {
            Got::All(()) => break,
            Got::Needs(needed) => {
                assert!(needed > bytes);
                bytes = needed;
            }
        }
    }
    let mut labels = Vec::new();
    header.put_labels(&entry, &mut labels).unwrap();
    (label_set(Labels::parse(&labels).unwrap()), entry)
}

fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let values = proptest::collection::vec(prop_oneof![4 => "[a-c]{1,2}", 1 => Just(String::new())], 0..5);
    let matcher =
        (prop_oneof![4 => "[a-d]", 1 => Just("__name__".to_owned())], values, any::<bool>(), any::<bool>());
    let matcher = matcher.prop_map(|(name, values, negate, hint)| {
        let can_hint = hint && !negate && !values.iter().any(String::is_empty);
        let candidates = can_hint.then(|| values.clone());
        let accepts = Arc::new(move |value: &str| values.iter().any(|v| v == value) != negate);
        Matcher { name, accepts, candidates }
    });
    proptest::collection::vec(matcher, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn matchers_select_the_series_that_satisfy_them(
        written_series in float_series(END_MS, 60), matchers in matchers(), gap in 0u64..100,
    ) {
        let (_, block) = written(Meta::of_head(Ulid::new(1, 2), 0, END_MS), &written_series, 1 << 20);
        let index = block.index.as_ref();
        let header = header(index);
        let plan = header.plan(&matchers).unwrap();
        let ranges = coalesce(plan.ranges().cloned().collect(), gap, 1 << 20);
        let got: Vec<_> = ranges.into_iter().map(|range| (range.start, get(index, range))).collect();
        let selected = plan.select(|range| find(&got, range)).unwrap();
        let selected: Vec<_> = selected.into_iter().map(|n| series(index, &header, n, 1 << 10).0).collect();
        let satisfies = |labels: &&LabelSet| {
            matchers.iter().all(|matcher| {
                let value = labels.iter().find(|(name, _)| *name == matcher.name).map_or("", |(_, value)| value);
                (matcher.accepts)(value)
            })
        };
        prop_assert!(selected.iter().eq(written_series.keys().filter(satisfies)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn every_label_leads_to_its_series_and_their_samples(
        written_series in float_series(END_MS, 120), guess in prop_oneof![Just(1u64), Just(30), Just(CHUNK_BYTES_GUESS)],
    ) {
        let (_, block) = written(Meta::of_head(Ulid::new(1, 2), 0, END_MS), &written_series, 2000);
        let index = block.index.as_ref();
        let header = header(index);
        let model = model_of(&written_series);

        let mut lists: BTreeMap<(&str, &str), BTreeSet<&LabelSet>> = BTreeMap::new();
        for labels in model.keys() {
            for (name, value) in labels {
                lists.entry((name, value)).or_default().insert(labels);
            }
        }
        let names: BTreeSet<&str> = lists.keys().map(|(name, _)| *name).collect();
        prop_assert!(header.postings().names().eq(names.iter().copied()));
        let mut found = 0;
        for name in names {
            for list in header.postings().lists(name) {
                let list = list.unwrap();
                let single = header.postings().list(name, list.value).unwrap().unwrap();
                prop_assert_eq!(&single, &list);
                let numbers = parse_postings(&get(index, list.range.clone()), list.range.start).unwrap();
                let got: Vec<_> = numbers.iter().map(|n| series(index, &header, *n, guess).0).collect();
                prop_assert!(got.iter().eq(lists[&(name, list.value)].iter().copied()));
                found += 1;
            }
            prop_assert_eq!(header.postings().list(name, "not there").unwrap(), None);
        }
        prop_assert_eq!(found, lists.len());

        let all = header.postings().all().unwrap();
        let mut read = Model::new();
        for reference in parse_postings(&get(index, all.clone()), all.start).unwrap() {
            let (labels, entry) = series(index, &header, reference, 64 << 10);
            let samples = read.entry(labels).or_default();
            let mut by_segment: BTreeMap<u32, Vec<std::ops::Range<u64>>> = BTreeMap::new();
            for (segment, range) in chunk_ranges(&entry.chunks, guess) {
                let end = range.end.min(block.segments[segment as usize].len());
                by_segment.entry(segment).or_default().push(range.start..end);
            }
            let mut got = BTreeMap::new();
            for (segment, ranges) in by_segment {
                let source = block.segments[segment as usize].as_ref();
                let joined = coalesce(ranges, 100, 1 << 20).into_iter();
                got.insert(segment, joined.map(|range| (range.start, get(source, range))).collect::<Vec<_>>());
            }
            for (chunk, (segment, range)) in entry.chunks.iter().zip(chunk_ranges(&entry.chunks, guess)) {
                let source = block.segments[segment as usize].as_ref();
                let range = range.start..range.end.min(source.len());
                let mut bytes = find(&got[&segment], &range).unwrap().to_vec();
                if let Got::Needs(needed) = parse_chunk(&bytes, chunk.at).unwrap() {
                    bytes = get(source, range.start..(range.start + needed).min(source.len()));
                    // The length itself may have been cut off the first time.
                    if let Got::Needs(needed) = parse_chunk(&bytes, chunk.at).unwrap() {
                        bytes = get(source, range.start..range.start + needed);
                    }
                }
                let Got::All(parsed) = parse_chunk(&bytes, chunk.at).unwrap() else { panic!("too few bytes") };
                parsed.decode(chunk.at, |t_ms, value| drop(samples.insert(t_ms, Sample::of(value)))).unwrap();
            }
        }
        prop_assert_eq!(read, model);
    }
}
