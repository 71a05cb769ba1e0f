//! Several blocks become one; blocks are cut by time and by series.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{Block, BlockError, Meta, SeriesFilter, Tombstones, Ulid, compact};
use gyre_tsdb::chunk::histogram;
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::{CounterReset, Histogram, Kind, Side, Span};
use gyre_tsdb::winner::{Value, compare};
use proptest::prelude::*;

use super::scene::{
    FOLDER, LabelSet, Model, OwnChunk, Sample, float_chunks, float_series, histogram_chunks, label_set,
    model_of, path_of, read, written,
};

const END_MS: i64 = 100_000;

fn block_of(number: u64, series: &BTreeMap<LabelSet, Vec<OwnChunk>>) -> Block {
    written(Meta::of_head(Ulid::new(number, 0), 0, END_MS), series, 1 << 20).1
}

fn compacted(
    blocks: &[Block],
    filter: Option<SeriesFilter<'_>>,
    meta: Meta,
) -> Result<Option<Block>, BlockError> {
    let disk = Arc::new(SimDisk::default());
    let meta = compact(disk.clone(), Path::new(FOLDER), blocks, filter, meta)?;
    Ok(meta.map(|meta| Block::open(disk.as_ref(), &path_of(meta.ulid)).unwrap()))
}

fn metas(blocks: &[Block]) -> Vec<&Meta> {
    blocks.iter().map(|block| &block.meta).collect()
}

/// All samples of some models; the greater value wins.
fn union(models: impl IntoIterator<Item = Model>) -> Model {
    let mut all = Model::new();
    for (labels, samples) in models.into_iter().flatten() {
        let own = all.entry(labels).or_default();
        for (t_ms, sample) in samples {
            let (Sample::Float(new), Some(Sample::Float(old))) = (&sample, own.get(&t_ms)) else {
                own.insert(t_ms, sample);
                continue;
            };
            if compare(Value::Float(*new), Value::Float(*old)).is_gt() {
                own.insert(t_ms, sample);
            }
        }
    }
    all
}

fn without_empty(mut model: Model) -> Model {
    model.retain(|_, samples| !samples.is_empty());
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn all_samples_of_all_blocks_are_in_the_one_they_become(
        series in proptest::collection::vec(float_series(END_MS, 15), 1..5),
    ) {
        let blocks: Vec<_> = series.iter().enumerate().map(|(i, series)| block_of(i as u64 + 1, series)).collect();
        let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
        let block = compacted(&blocks, None, meta).unwrap().unwrap();
        prop_assert_eq!(read(&block).unwrap(), union(series.iter().map(model_of)));
        let compaction = &block.meta.compaction;
        let names: Vec<Ulid> = blocks.iter().map(|block| block.meta.ulid).collect();
        prop_assert_eq!(&compaction.sources, &names);
        prop_assert_eq!(compaction.level, 2);
        prop_assert_eq!(compaction.parents.iter().map(|parent| parent.ulid).collect::<Vec<_>>(), names);
    }

    #[test]
    fn cut_by_time_and_by_series_every_sample_is_in_exactly_one_part(
        series in proptest::collection::vec(float_series(END_MS, 15), 1..4), shards in 1u64..4, windows in 1i64..4,
    ) {
        let blocks: Vec<_> = series.iter().enumerate().map(|(i, series)| block_of(i as u64 + 1, series)).collect();
        let expected = union(series.iter().map(model_of));
        let shard_of = |labels: &LabelSet| labels.iter().map(|(_, value)| value.len() as u64).sum::<u64>() % shards;
        let mut found = Model::new();
        for shard in 0..shards {
            for window in 0..windows {
                let (min_ms, end_ms) = (END_MS * window / windows, END_MS * (window + 1) / windows);
                let filter = |labels: gyre_tsdb::labels::Labels<'_>| shard_of(&label_set(labels)) == shard;
                let ulid = Ulid::new(50, u128::from(shard) * 100 + window as u128);
                let meta = Meta::of_part(ulid, min_ms, end_ms, &metas(&blocks));
                prop_assert_eq!(&meta.compaction.sources, &[ulid]);
                let Some(part) = compacted(&blocks, Some(&filter), meta).unwrap() else { continue };
                let symbols = part.header().unwrap();
                let read = read(&part).unwrap();
                let used: std::collections::BTreeSet<&str> =
                    read.keys().flatten().flat_map(|(name, value)| [name.as_str(), value]).collect();
                // Series may overlap the window with a chunk and have no sample in it.
                prop_assert!(used.is_subset(&symbols.symbols().iter().collect()));
                for (labels, samples) in read {
                    prop_assert_eq!(shard_of(&labels), shard);
                    prop_assert!(samples.keys().all(|t_ms| (min_ms..end_ms).contains(t_ms)));
                    for (t_ms, sample) in samples {
                        prop_assert_eq!(found.entry(labels.clone()).or_default().insert(t_ms, sample), None);
                    }
                }
            }
        }
        prop_assert_eq!(found, without_empty(expected));
    }

    #[test]
    fn deleted_samples_are_gone_and_only_those_of_the_block_that_names_them(
        series in proptest::collection::vec(float_series(END_MS, 8), 2..3), from in 0..END_MS, len in 0..END_MS, pick: u16,
    ) {
        let mut blocks: Vec<_> = series.iter().enumerate().map(|(i, series)| block_of(i as u64 + 1, series)).collect();
        let mut models: Vec<Model> = series.iter().map(model_of).collect();
        let which = usize::from(pick) % models[0].len();
        let mut stream = blocks[0].series().unwrap();
        let mut reference = 0;
        for _ in 0..=which {
            reference = stream.advance().unwrap().unwrap().0;
        }
        models[0].values_mut().nth(which).unwrap().retain(|t_ms, _| !(from..=from + len).contains(t_ms));
        blocks[0].tombstones = tombstones(reference, from, from + len);
        let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
        let block = compacted(&blocks, None, meta).unwrap();
        let got = block.map(|block| read(&block).unwrap()).unwrap_or_default();
        prop_assert_eq!(got, without_empty(union(models)));
    }
}

fn tombstones(series: u32, min_ms: i64, max_ms: i64) -> Tombstones {
    let uvarint = |mut value: u64, out: &mut Vec<u8>| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    let mut entry = Vec::new();
    uvarint(u64::from(series), &mut entry);
    // Zig-zag of what is not negative.
    uvarint(min_ms as u64 * 2, &mut entry);
    uvarint(max_ms as u64 * 2, &mut entry);
    let file = [&[0x01, 0x30, 0xba, 0x30, 1], &entry[..], &crc32c::crc32c(&entry).to_be_bytes()].concat();
    Tombstones::parse(&file).unwrap()
}

fn labels() -> LabelSet {
    vec![("__name__".to_owned(), "h".to_owned())]
}

/// A histogram of one bucket.
fn counted(count: u64) -> Histogram {
    let positive = Side { spans: vec![Span { offset: 0, length: 1 }], counts: vec![count] };
    Histogram { count, positive, sum: (count as f64).to_bits(), ..Histogram::default() }
}

/// The counter reset headers of the first series' chunks, and their times.
fn headers(block: &Block) -> Vec<(u8, i64, i64)> {
    let mut stream = block.series().unwrap();
    let (_, series) = stream.advance().unwrap().unwrap();
    let mut chunks = block.chunks();
    let header = |chunk: &gyre_tsdb::block::ChunkMeta| {
        (chunks.read(chunk.at).unwrap().data[2] >> 6, chunk.min_ms, chunk.max_ms)
    };
    series.chunks.iter().map(header).collect()
}

const UNKNOWN: u8 = 0;
const RESET: u8 = 2;
const GAUGE: u8 = 3;

fn histogram_block(number: u64, samples: &[(i64, Histogram)]) -> Block {
    block_of(number, &BTreeMap::from([(labels(), histogram_chunks(samples))]))
}

#[test]
fn a_copied_chunk_of_histograms_keeps_its_header_only_behind_the_chunk_it_followed() {
    // 10, 20 | reset: 5, 6 | reset: 1.
    let own: Vec<_> =
        [(0, 10), (100, 20), (200, 5), (300, 6), (400, 1)].map(|(t, count)| (t, counted(count))).to_vec();
    let alone = [histogram_block(1, &own)];
    assert_eq!(headers(&alone[0]), [(UNKNOWN, 0, 100), (RESET, 200, 300), (RESET, 400, 400)]);
    let meta = |blocks: &[Block]| Meta::of_whole(Ulid::new(99, 0), &metas(blocks));
    let same = compacted(&alone, None, meta(&alone)).unwrap().unwrap();
    assert_eq!(headers(&same), headers(&alone[0]));

    // Another block's sample lies between the second and the third: what the third said is not known any more.
    let two = [alone[0].clone(), histogram_block(2, &[(350, counted(3))])];
    let merged = compacted(&two, None, meta(&two)).unwrap().unwrap();
    let expected = [(UNKNOWN, 0, 100), (RESET, 200, 300), (UNKNOWN, 350, 350), (UNKNOWN, 400, 400)];
    assert_eq!(headers(&merged), expected);

    // Cut in front of the second.
    let part = Meta::of_part(Ulid::new(99, 0), 150, END_MS, &metas(&alone));
    let part = compacted(&alone, None, part).unwrap().unwrap();
    assert_eq!(headers(&part), [(UNKNOWN, 200, 300), (RESET, 400, 400)]);
}

#[test]
fn overlapping_chunks_of_histograms_are_merged_and_resets_between_their_samples_are_found() {
    let times =
        |pairs: &[(i64, u64)]| pairs.iter().map(|(t, count)| (*t, counted(*count))).collect::<Vec<_>>();
    // Merged: 10, 12 | 4, 13, 15: the reset is between samples of different blocks.
    let blocks = [
        histogram_block(1, &times(&[(0, 10), (300, 13)])),
        histogram_block(2, &times(&[(100, 12)])),
        histogram_block(3, &times(&[(200, 4), (400, 15)])),
    ];
    let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
    let merged = compacted(&blocks, None, meta).unwrap().unwrap();
    assert_eq!(headers(&merged), [(UNKNOWN, 0, 100), (RESET, 200, 400)]);

    let gauge = |count| Histogram { counter_reset: CounterReset::Gauge, ..counted(count) };
    let blocks = [
        histogram_block(1, &[(0, gauge(9)), (200, gauge(1))]),
        histogram_block(2, &[(100, gauge(5))]),
        histogram_block(3, &[(300, gauge(5))]),
    ];
    let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
    let merged = compacted(&blocks, None, meta).unwrap().unwrap();
    assert_eq!(headers(&merged), [(GAUGE, 0, 200), (GAUGE, 300, 300)]);
}

#[test]
fn chunks_that_need_no_change_are_the_same_bytes_and_equal_ones_are_there_once() {
    let chunks = float_chunks(&(0..300).map(|i| (i * 100, i as u64)).collect::<Vec<_>>(), 70);
    let own = BTreeMap::from([(labels(), chunks.clone())]);
    let late = float_chunks(&[(7050, 5)], 1);
    let blocks = [block_of(1, &own), block_of(2, &own), block_of(3, &BTreeMap::from([(labels(), late)]))];
    let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
    let block = compacted(&blocks, None, meta).unwrap().unwrap();
    let mut stream = block.series().unwrap();
    let places = stream.advance().unwrap().unwrap().1.chunks.clone();
    let mut reader = block.chunks();
    let got: Vec<Vec<u8>> = places.iter().map(|place| reader.read(place.at).unwrap().data.to_vec()).collect();
    let own: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.data.clone()).collect();
    // The late sample lies in the second chunk (7000 to 13900) and only that one is encoded anew.
    assert_eq!(got.len(), own.len());
    assert_eq!((&got[0], &got[2..]), (&own[0], &own[2..]));
    assert_eq!(block.meta.stats.num_samples, 301);
}

#[test]
fn a_chunk_that_must_be_decoded_and_cannot_be_is_named() {
    let broken = |at: i64| {
        // Says that it has more samples than it has.
        let mut chunk = float_chunks(&[(at, 1), (at + 10, 2)], 2).remove(0);
        chunk.data[1] = 9;
        BTreeMap::from([(labels(), vec![chunk])])
    };
    let blocks = [block_of(1, &broken(0)), block_of(2, &broken(5))];
    let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
    let error = compacted(&blocks, None, meta).map(drop).unwrap_err().to_string();
    let name = blocks[0].meta.ulid;
    assert_eq!(
        error,
        format!("block {name}: chunks/000001 is damaged at byte 8: chunk ends within a sample")
    );
}

#[test]
fn kinds_of_samples_take_turns_in_order_of_time() {
    let floats = BTreeMap::from([(labels(), float_chunks(&[(0, 1), (200, 2), (400, 3)], 3))]);
    let blocks = [block_of(1, &floats), histogram_block(2, &[(100, counted(1)), (300, counted(2))])];
    let meta = Meta::of_whole(Ulid::new(99, 0), &metas(&blocks));
    let block = compacted(&blocks, None, meta).unwrap().unwrap();
    let read = read(&block).unwrap();
    let kinds: Vec<(i64, bool)> =
        read[&labels()].iter().map(|(t, sample)| (*t, matches!(sample, Sample::Float(_)))).collect();
    assert_eq!(kinds, [(0, true), (100, false), (200, true), (300, false), (400, true)]);
    assert_eq!(histogram::encoding_of(Kind::Integer), 2);
    assert_eq!((block.meta.stats.num_float_samples, block.meta.stats.num_histogram_samples), (3, 2));
}
