//! Windows of time of a head as blocks, while the head goes on.

use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{Block, Meta, Ulid, WindowSeries};
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::{SeriesBatch, SeriesRef};
use proptest::prelude::*;

use super::common::histograms::{STEPS, histogram, is_histogram};
use super::common::{Content, Shard};
use super::scene::{FOLDER, Model, Sample, path_of, read};

const WINDOW_MS: i64 = 2 * 60 * 60 * 1000;
const BEGIN_MS: i64 = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS;

/// Makes a block of a window. `between` is called while it is being made.
fn block_of(
    shard: &mut Shard,
    range: (i64, i64),
    slice: usize,
    mut between: impl FnMut(&mut Shard),
) -> Option<Block> {
    let disk = Arc::new(SimDisk::default());
    let mut series = WindowSeries::default();
    let mut from = Some(SeriesRef(0));
    while let Some(first) = from {
        let (window, next) = shard.head.window_slice(first, slice, range);
        series.add(&window).unwrap();
        between(shard);
        from = next;
    }
    let meta = Meta::of_head(Ulid::new(1, 2), range.0, range.1);
    let mut block = series.begin(disk.clone(), Path::new(FOLDER), meta).unwrap();
    loop {
        let next = block.next_series(slice);
        if next.is_empty() {
            break;
        }
        let mut batch = SeriesBatch::default();
        for series in next {
            shard.head.read(series, range.0, range.1 - 1, &mut batch);
        }
        between(shard);
        block.push(&batch).unwrap();
    }
    let meta = block.finish().unwrap()?;
    Some(Block::open(disk.as_ref(), &path_of(meta.ulid)).unwrap())
}

fn model_within(content: &Content, (min_ms, end_ms): (i64, i64)) -> Model {
    let mut model = Model::new();
    for (name, samples) in content {
        let sample = |(t_ms, value): (&i64, &u64)| {
            let sample = match is_histogram(name, *value) {
                true => Sample::of(gyre_tsdb::winner::Value::Histogram(&histogram(*value))),
                false => Sample::Float(*value),
            };
            (*t_ms, sample)
        };
        let samples: std::collections::BTreeMap<_, _> = samples.range(min_ms..end_ms).map(sample).collect();
        if !samples.is_empty() {
            model.insert(vec![("__name__".to_owned(), name.clone())], samples);
        }
    }
    model
}

/// What the head's gauges say of themselves is lost in the content by seeds: compare without.
fn plain(mut model: Model) -> Model {
    for sample in model.values_mut().flat_map(|samples| samples.values_mut()) {
        if let Sample::Histogram(histogram) = sample {
            histogram.counter_reset = Default::default();
        }
    }
    model
}

fn samples() -> impl Strategy<Value = Vec<(u8, i64, u64)>> {
    let step = prop_oneof![
        20 => Just(15_000i64), 4 => -200_000i64..200_000, 1 => Just(0i64), 1 => 1_000_000i64..5_000_000,
    ];
    let value = prop_oneof![20 => 0u64..2, 2 => STEPS..u64::MAX];
    proptest::collection::vec((0u8..4, step, value), 1..900)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn windows_hold_exactly_what_the_head_had_in_them(
        samples in samples(), slice in 1usize..5, flushed: bool, odd in 0..WINDOW_MS,
    ) {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, 1 << 20);
        shard.decides = true;
        let (mut now, mut grown) = ([BEGIN_MS; 4], [0u64; 4]);
        for (s, step, value) in samples {
            let at = usize::from(s);
            let t = now[at] + step;
            now[at] = now[at].max(t);
            let value = if value < 2 { grown[at] += value; grown[at] } else { value };
            shard.append(&[(format!("{}{s}", ["f", "h", "x", "h"][at]), t, value)]);
        }
        if flushed {
            shard.flush(true);
        }
        let content = shard.content();
        let last = content.values().flat_map(|samples| samples.keys()).max().copied().unwrap();
        let mut later = last + 10 * WINDOW_MS;
        let aligned = (-1..=(last - BEGIN_MS) / WINDOW_MS).map(|n| BEGIN_MS + n * WINDOW_MS);
        // Also one that cuts through chunks.
        for begin in aligned.chain([BEGIN_MS + odd]) {
            let range = (begin, begin + WINDOW_MS);
            let block = block_of(&mut shard, range, slice, |shard| {
                // Beyond all windows: open chunks are sealed in between.
                later += 60_000;
                let all = content.keys().map(|name| (name.clone(), later, 6));
                shard.append(&all.collect::<Vec<_>>());
            });
            let expected = model_within(&content, range);
            let got = block.as_ref().map(|block| read(block).unwrap()).unwrap_or_default();
            prop_assert_eq!(plain(got), plain(expected));
        }
    }
}

#[test]
fn sealed_chunks_within_a_window_are_copied_as_they_are() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    for i in 0..480 {
        shard.append(&[("f".to_owned(), BEGIN_MS + i * 15_000, i as u64 / 7)]);
    }
    shard.append(&[("f".to_owned(), BEGIN_MS + WINDOW_MS, 1)]);
    let block = block_of(&mut shard, (BEGIN_MS, BEGIN_MS + WINDOW_MS), 10, |_| {}).unwrap();
    let mut stream = block.series().unwrap();
    let (_, series) = stream.advance().unwrap().unwrap();
    // The head seals after 120 samples and at the end of the window: four chunks, and none is touched.
    let times: Vec<_> = series.chunks.iter().map(|chunk| (chunk.min_ms, chunk.max_ms)).collect();
    let expected: Vec<_> =
        (0..4).map(|n| (BEGIN_MS + n * 1_800_000, BEGIN_MS + n * 1_800_000 + 119 * 15_000)).collect();
    assert_eq!(times, expected);
}
