//! What clients see of blocks that are damaged, or were replaced since they were listed.

use gyre_tsdb::block::Meta;
use serde_json::Value;

use crate::bucket::BucketFolder;
use crate::scene::{begin_ms, data, put, put_as, tenant};
use crate::server::{Response, Server};

const SERIES: usize = 20;
const SAMPLES: usize = 120;

async fn bucket_with_blocks() -> (BucketFolder, Vec<Meta>) {
    let bucket = BucketFolder::new();
    let mut metas = Vec::new();
    for block in 0..3 {
        metas.push(put(&bucket.store(), block, &data(block, SERIES)).await);
    }
    (bucket, metas)
}

fn get(server: &Server, path: &str) -> Response {
    server.send("GET", &format!("/prometheus/api/v1/{path}"), &[("X-Scope-OrgID", tenant().as_str())], &[])
}

/// Counts the samples of some blocks, the last of which is given.
fn count(server: &Server, hours: i64, last: usize) -> Response {
    let time = (begin_ms(last + 1) - 1) as f64 / 1000.0;
    get(server, &format!("query?query=sum(count_over_time(m%5B{hours}h%5D))&time={time}"))
}

fn value(response: &Response) -> f64 {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap()
}

fn damage(bucket: &BucketFolder, meta: &Meta) {
    let index = bucket.block(tenant().as_str(), &meta.ulid.to_string()).join("index");
    let bytes = std::fs::read(&index).unwrap();
    std::fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
}

fn all_time() -> String {
    format!("start={}&end={}", begin_ms(0) / 1000, begin_ms(3) / 1000)
}

fn warned(response: &Response, meta: &Meta) -> Value {
    let json = response.json();
    let warning = json["warnings"][0].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains("partial answer") && warning.contains(&meta.ulid.to_string()), "{json}");
    json["data"].clone()
}

#[tokio::test]
async fn a_damaged_block_fails_what_needs_it_and_nothing_else() {
    let (bucket, metas) = bucket_with_blocks().await;
    damage(&bucket, &metas[1]);
    let server = Server::start_with(&[&bucket.url()], None);
    for _ in 0..2 {
        assert_eq!(value(&count(&server, 2, 0)), (SERIES * SAMPLES) as f64);
        assert_eq!(value(&count(&server, 2, 2)), (SERIES * SAMPLES) as f64);
        let all = [
            count(&server, 6, 2),
            get(&server, &format!("labels?{}", all_time())),
            get(&server, &format!("series?match[]=m&{}", all_time())),
        ];
        for response in all {
            assert_eq!(response.status, 503, "{}", response.text());
            assert!(response.text().contains(&metas[1].ulid.to_string()), "{}", response.text());
        }
    }
    assert_eq!(server.metric("gyre_blocks_quarantined_total"), Some(1.0));
}

#[tokio::test]
async fn a_tenant_that_wants_partial_data_gets_the_rest_with_a_warning() {
    let (bucket, metas) = bucket_with_blocks().await;
    damage(&bucket, &metas[1]);
    let config = "limits: {query_partial_data: true}\n";
    let server = Server::start_with(&[&bucket.url()], Some(config));
    for _ in 0..2 {
        let response = count(&server, 6, 2);
        assert_eq!(value(&response), (2 * SERIES * SAMPLES) as f64);
        warned(&response, &metas[1]);
        let labels = get(&server, &format!("labels?{}", all_time()));
        assert_eq!(warned(&labels, &metas[1]), serde_json::json!(["__name__", "series", "zone"]));
        let series = get(&server, &format!("series?match[]=m&{}", all_time()));
        assert_eq!(warned(&series, &metas[1]).as_array().map(Vec::len), Some(SERIES));
        assert!(count(&server, 2, 2).json()["warnings"].is_null(), "nothing is missing there");
    }
}

#[tokio::test]
async fn a_block_that_was_replaced_since_it_was_listed_costs_nothing_but_another_look() {
    let (bucket, metas) = bucket_with_blocks().await;
    let server = Server::start_with(&[&bucket.url()], None);
    assert_eq!(value(&count(&server, 2, 0)), (SERIES * SAMPLES) as f64);
    put_as(&bucket.store(), 2, 99, &data(2, SERIES)).await;
    std::fs::remove_dir_all(bucket.block(tenant().as_str(), &metas[2].ulid.to_string())).unwrap();
    assert_eq!(value(&count(&server, 6, 2)), (3 * SERIES * SAMPLES) as f64);
    assert_eq!(server.metric("gyre_blocks_quarantined_total"), Some(0.0));
}
