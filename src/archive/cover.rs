//! What a block of ours covers: written into its `meta.json`, in the section of Thanos, as `extensions.gyre`.
//!
//! A replica drops what a *listed* block covers and nothing else (protocol rules 14 and 15). A block covers, for one window
//! of one segment, exactly the batches whose samples of that window it contains. A compacted block covers what its sources
//! did. Others ignore the extension; a block without it covers nothing.
//!
//! ```json
//! {"version": 1, "covers": [{"segment": "acme/0-of-2@1", "window": 241180,
//!   "batches": [{"boot": "00112233445566778899aabbccddeeff", "first": 1, "last": 500}]}]}
//! ```

use gyre_ring::{BatchNumber, BatchSet, BootId, Segment};
use gyre_tsdb::block::Meta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::shard::segment_name;

/// Where in the section of Thanos.
const EXTENSIONS: &str = "extensions";
const GYRE: &str = "gyre";

/// The version of the extension.
const VERSION: u32 = 1;

/// Batches of a window of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The segment.
    pub segment: Segment,
    /// The [window](gyre_tsdb::window_of).
    pub window: i64,
    /// The batches all of whose samples in that window are in the block.
    pub batches: BatchSet,
}

/// The section of Thanos, as far as this is concerned.
#[derive(Deserialize)]
struct Section<T> {
    extensions: Extensions<T>,
}

#[derive(Deserialize)]
struct Extensions<T> {
    gyre: T,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    version: u32,
    covers: Vec<CoverOnDisk>,
}

#[derive(Serialize, Deserialize)]
struct CoverOnDisk {
    segment: String,
    window: i64,
    batches: Vec<Interval>,
}

#[derive(Serialize, Deserialize)]
struct Interval {
    boot: String,
    first: u64,
    last: u64,
}

/// Whether a block is from heads of this program, itself or what it was compacted from: only then is its shard one of this
/// cluster's. Others number theirs by other hashes.
pub fn is_ours(meta: &Meta) -> bool {
    says::<Version>(meta).is_some_and(|says| says.version == VERSION)
}

/// What a block covers. One that says something that makes no sense covers nothing: then nothing is dropped for it.
pub fn covers_of(meta: &Meta) -> Vec<Cover> {
    match says(meta) {
        Some(OnDisk { version: VERSION, covers }) => {
            covers.iter().map(parse).collect::<Option<_>>().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The extension, if it has this form.
fn says<T: DeserializeOwned>(meta: &Meta) -> Option<T> {
    let section: Section<T> = meta.thanos.as_ref()?.other.read()?;
    Some(section.extensions.gyre)
}

fn parse(cover: &CoverOnDisk) -> Option<Cover> {
    let mut batches = BatchSet::default();
    for Interval { boot, first, last } in &cover.batches {
        if first > last {
            return None;
        }
        let boot = BootId(u128::from_str_radix(boot, 16).ok()?);
        batches.insert_interval(boot, BatchNumber(*first), BatchNumber(*last));
    }
    let segment = segment_name::decode(cover.segment.as_bytes())?;
    Some(Cover { segment, window: cover.window, batches })
}

/// Writes into a block's description what it covers, in place of what it said before. Covers of the same window of the same
/// segment become one.
pub fn set_covers(meta: &mut Meta, covers: impl IntoIterator<Item = Cover>) {
    let mut all: Vec<Cover> = Vec::new();
    for cover in covers {
        match all.iter_mut().find(|known| known.segment == cover.segment && known.window == cover.window) {
            Some(known) => known.batches.extend(&cover.batches),
            None => all.push(cover),
        }
    }
    all.sort_by(|a, b| (&a.segment, a.window).cmp(&(&b.segment, b.window)));
    let covers = all.iter().map(|cover| CoverOnDisk {
        segment: cover.segment.to_string(),
        window: cover.window,
        batches: cover
            .batches
            .intervals()
            .map(|(boot, first, last)| Interval {
                boot: format!("{:032x}", boot.0),
                first: first.0,
                last: last.0,
            })
            .collect(),
    });
    let on_disk = OnDisk { version: VERSION, covers: covers.collect() };
    let value = serde_json::to_value(on_disk).expect("text, numbers and lists become JSON");
    let thanos = meta.thanos.get_or_insert_default();
    thanos.other.change(|other| {
        let extensions = other.entry(EXTENSIONS).or_insert_with(|| Value::Object(Map::new()));
        if !extensions.is_object() {
            *extensions = Value::Object(Map::new());
        }
        extensions[GYRE] = value;
    });
}

#[cfg(test)]
mod tests {
    use gyre_tsdb::block::Ulid;

    use super::*;

    fn cover(window: i64, numbers: &[u64]) -> Cover {
        let mut batches = BatchSet::default();
        for number in numbers {
            batches.insert_interval(BootId(0xab), BatchNumber(*number), BatchNumber(*number + 1));
        }
        let segment = segment_name::decode(b"acme/1-of-2@3").unwrap();
        Cover { segment, window, batches }
    }

    #[test]
    fn covers_come_back_from_a_description_and_add_up() {
        let mut meta = Meta::of_head(Ulid(1), 0, 10);
        assert!(covers_of(&meta).is_empty());
        set_covers(&mut meta, [cover(5, &[1]), cover(6, &[9]), cover(5, &[3])]);
        let meta = Meta::parse(&meta.to_json()).unwrap();
        assert_eq!(covers_of(&meta), [cover(5, &[1, 3]), cover(6, &[9])]);
    }

    #[test]
    fn what_makes_no_sense_covers_nothing() {
        let mut meta = Meta::of_head(Ulid(1), 0, 10);
        set_covers(&mut meta, [cover(5, &[1])]);
        let json: Value = serde_json::from_slice(&meta.to_json()).unwrap();
        let odd = [
            ("version", Value::from(2)),
            ("covers/0/segment", Value::from("acme/2-of-2@3")),
            ("covers/0/batches/0/first", Value::from(9)),
            ("covers/0/batches/0/boot", Value::from("xy")),
            ("covers/0/window", Value::from("5")),
        ];
        for (place, value) in odd {
            let mut json = json.clone();
            let place = format!("/thanos/extensions/gyre/{place}");
            *json.pointer_mut(&place).unwrap() = value;
            let meta = Meta::parse(json.to_string().as_bytes()).unwrap();
            assert!(covers_of(&meta).is_empty(), "{place}");
        }
    }
}
