//! What it takes to forget series, and what it costs to go on with those that stay: items are series, and samples.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gyre_ring::hash::HashSeed;
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::{Head, IdleSeries, SeriesRef, WINDOW_MS, labels, window_of};

/// Series that stay.
const SERIES: usize = 100_000;
const STEP_MS: i64 = 15_000;

fn main() {
    divan::main();
}

/// A head of so many series that go on, and before each of them one that has stopped in the window before.
fn head(disk: &SimDisk, series: usize) -> Head {
    let mut head = Head::new(disk, "head".as_ref()).expect("a simulated disk is writable");
    for index in 0..2 * series {
        let (pod, node) = (format!("web-7f9c{index:06x}"), format!("node-{}", index % 300));
        let route = format!("/api/v1/items/{}", index % 40);
        let bytes = labels::encode([
            ("__name__", "request_total"),
            ("cluster", "eu-1"),
            ("instance", &format!("10.0.{}.{}:4191", index >> 8 & 255, index & 255)),
            ("job", "kubernetes-pods"),
            ("namespace", "shop"),
            ("node", &node),
            ("pod", &pod),
            ("route", &route),
            ("status", if index % 7 == 0 { "500" } else { "200" }),
        ]);
        let set = labels::Labels::parse(&bytes).expect("encoded labels are canonical");
        let series = head.create(HashSeed(0).key(&bytes).0, set).expect("they fit");
        head.append(series, if index % 2 == 0 { 0 } else { WINDOW_MS }, 0);
    }
    head
}

fn release(head: &mut Head) -> IdleSeries {
    let mut idle = IdleSeries::stopped_before(WINDOW_MS);
    head.release(SeriesRef(0), usize::MAX, window_of(0), &mut idle);
    idle
}

/// In which time nothing is appended: half of the series go.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn forget_half(bencher: Bencher<'_, '_>) {
    let disk = SimDisk::default();
    let begin = || {
        let mut head = head(&disk, SERIES);
        let idle = release(&mut head);
        (head, idle)
    };
    bencher.counter(ItemsCount::new(SERIES)).with_inputs(begin).bench_local_refs(|(head, idle)| {
        head.forget(idle, |metric| {
            black_box(metric);
        })
        .expect("there was room for more");
        assert_eq!(head.series_count(), SERIES);
    });
}

fn append(bencher: Bencher<'_, '_>, forget: bool) {
    const SERIES: usize = 2_000;
    let mut head = head(&SimDisk::default(), SERIES);
    let idle = release(&mut head);
    if forget {
        head.forget(&idle, |_| {}).expect("there was room for more");
    }
    let mut t_ms = WINDOW_MS;
    bencher.counter(ItemsCount::new(SERIES)).bench_local(|| {
        t_ms += STEP_MS;
        for number in 0..SERIES as u32 {
            // A third of the values stays.
            let value = if number % 3 == 0 { 0.0 } else { (t_ms / STEP_MS * i64::from(number)) as f64 };
            black_box(head.append(SeriesRef(2 * number + 1), t_ms, value.to_bits()));
        }
    });
}

/// Every second number is of a series that has stopped, and is still there.
#[divan::bench]
fn append_among_stopped(bencher: Bencher<'_, '_>) {
    append(bencher, false);
}

/// Every second number is of a series that is gone.
#[divan::bench]
fn append_among_gone(bencher: Bencher<'_, '_>) {
    append(bencher, true);
}
