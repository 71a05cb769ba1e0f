//! The steady state of the write path allocates next to nothing: counted over the whole process, from the socket to the
//! log and back.
#![expect(unsafe_code, reason = "a global allocator that counts cannot be written without")]

#[path = "support/counting_allocator.rs"]
mod counting_allocator;
#[path = "support/remote_write.rs"]
mod remote_write;
#[path = "support/series.rs"]
mod series;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use actix_web::web;
use counting_allocator::{ALLOCATIONS, Counting};
use gyre::api::handing::take::Taker;
use gyre::api::server::{Listening, listen};
use gyre::api::state::Api;
use gyre::config::Config;
use gyre::node::Node;
use gyre::node::handle::NodeHandle;
use prost::Message;
use remote_write::WriteRequest;
use series::series;

const SERIES: usize = 2000;
const WARM_UP_REQUESTS: usize = 30;
const COUNTED_REQUESTS: usize = 30;
const ALLOCATIONS_PER_SAMPLE_MAX: f64 = 0.05;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One scrape of all series as bytes on the wire, head and body.
fn request(t_ms: i64) -> Vec<u8> {
    let timeseries = (0..SERIES)
        .map(|number| {
            let pod = format!("voting-{number:04}");
            let labels = [
                ("__name__", "response_total"),
                ("classification", "success"),
                ("deployment", "voting"),
                ("direction", "inbound"),
                ("instance", "10.42.0.17:4191"),
                ("job", "linkerd-proxy"),
                ("namespace", "emojivoto"),
                ("pod", &pod),
                ("status_code", "200"),
                ("target_port", "8080"),
                ("tls", "true"),
            ];
            series(&labels, &[(t_ms, (t_ms / 1000 + number as i64) as f64)])
        })
        .collect();
    let message = WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&message).expect("the message is small");
    let head = format!(
        "POST /api/v1/push HTTP/1.1\r\nHost: gyre\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

fn start(config: Config) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let node = Arc::new(NodeHandle::default());
            let api = web::Data::new(Api::new(node.clone(), config));
            let questions = Arc::new(Taker::new(&api.clone().into_inner()));
            let started = Node::start(&api.config, &api.telemetry.cluster, &node, questions).await;
            node.started(started.expect("the folder is empty"));
            let Listening { server, addresses, .. } = listen(api, 1).expect("any port will do");
            sender.send(addresses[0]).expect("the test waits");
            server.await.expect("the server runs until the process ends");
        });
    });
    receiver.recv().expect("the server starts")
}

/// Sends a request and reads its answer, without allocating.
fn send(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).expect("the server reads");
    let mut answer = [0; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut answer[length..]).expect("the server answers");
        assert!(read > 0, "the server closed the connection");
        length += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
}

#[test]
fn a_sample_of_a_known_series_costs_less_than_a_twentieth_of_an_allocation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.http_listen.port = 0;
    let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("the clock is set").as_millis());
    let now_ms = now_ms.expect("not so far in the future");
    let requests: Vec<_> = (0..WARM_UP_REQUESTS + COUNTED_REQUESTS)
        .map(|step| request(now_ms - 1_800_000 + step as i64 * 15_000))
        .collect();
    let mut stream = TcpStream::connect(start(config)).expect("the server listens");

    let (warm_up, counted) = requests.split_at(WARM_UP_REQUESTS);
    warm_up.iter().for_each(|request| send(&mut stream, request));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    counted.iter().for_each(|request| send(&mut stream, request));
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;

    let per_request = allocations as f64 / COUNTED_REQUESTS as f64;
    let per_sample = per_request / SERIES as f64;
    println!("{per_request:.1} allocations per request of {SERIES} samples, {per_sample:.4} per sample");
    assert!(per_sample < ALLOCATIONS_PER_SAMPLE_MAX, "{per_sample} allocations per sample");
}
