//! The same on an S3 server: a process of moto's, if it is installed.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gyre::archive::marks::mark_deletion;
use gyre::archive::{TenantBlocks, Uploaded};
use gyre::cluster::store::{Bucket, PART_BYTES};
use gyre_tsdb::block::{DeletionMark, Meta, Ulid};
use object_store::aws::AmazonS3Builder;

use crate::rig::{HOUR_MS, block_of, files_of, must_upload, objects_of, small_block, tenant};

struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            let why = "skipped: moto_server, an S3 server, is not installed";
            assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "{why}");
            println!("{why}");
            return None;
        };
        let mut server = Server { process, port };
        while !server.makes_bucket() {
            assert!(server.process.try_wait().unwrap().is_none(), "moto_server has ended");
            std::thread::yield_now();
        }
        Some(server)
    }

    /// Makes the bucket: a plain PUT; the server checks no signatures.
    fn makes_bucket(&self) -> bool {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!(
            "PUT /blocks HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request\r\n\r\n",
            self.port
        );
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.split(' ').nth(1) == Some("200")
    }

    fn bucket(&self) -> Bucket {
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://127.0.0.1:{}", self.port))
            .with_allow_http(true)
            .with_bucket_name("blocks")
            .with_region("us-east-1")
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .build()
            .unwrap();
        Bucket::new("s3://blocks", Arc::new(store), Duration::from_secs(20))
    }
}

#[actix_rt::test]
async fn blocks_small_and_large_are_uploaded_to_s3_listed_marked_and_removed() {
    let Some(server) = Server::start() else { return };
    let bucket = server.bucket();
    assert!(TenantBlocks::load(&bucket, &tenant()).await.unwrap().blocks().is_empty());
    let blocks = tempfile::tempdir().unwrap();
    let small = small_block(blocks.path(), 1);
    let large = block_of(blocks.path(), Meta::of_head(Ulid::new(2, 1), 0, 4 * HOUR_MS), 2600);
    for (folder, meta) in [&small, &large] {
        assert_eq!(must_upload(&bucket, folder, meta).await, Uploaded::Now);
        assert_eq!(must_upload(&bucket, folder, meta).await, Uploaded::Before);
        let mut objects = objects_of(&bucket, meta.ulid).await;
        assert_eq!(Meta::parse(&objects.remove("meta.json").unwrap()).unwrap(), *meta);
        assert!(objects == files_of(folder), "the objects are not the files");
    }
    let chunks = format!("acme/{}/chunks/000001", large.1.ulid);
    let size_bytes = bucket.head(&chunks).await.unwrap().unwrap().size_bytes;
    assert!(size_bytes > 2 * PART_BYTES);
    let file = std::fs::read(large.0.join("chunks/000001")).unwrap();
    let range = bucket.get_range(&chunks, 9_000_000..9_000_100).await.unwrap().unwrap();
    assert_eq!(range, file[9_000_000..9_000_100]);
    // A range that the object does not have is an error, not fewer bytes.
    bucket.get_range(&chunks, size_bytes - 1..size_bytes + 1).await.unwrap_err();
    assert_eq!(bucket.get_range("acme/nothing", 0..1).await.unwrap(), None);

    mark_deletion(&bucket, &tenant(), &DeletionMark::new(small.1.ulid, String::new(), 7)).await.unwrap();
    let mut list = TenantBlocks::load(&bucket, &tenant()).await.unwrap();
    assert_eq!(list.blocks().len(), 2);
    assert_eq!(list.blocks()[&small.1.ulid].deletion.as_ref().map(|mark| mark.time_s), Some(7));

    bucket.delete(&format!("acme/{}/meta.json", small.1.ulid)).await.unwrap();
    bucket.delete(&format!("acme/{}/meta.json", small.1.ulid)).await.unwrap();
    list.refresh(&bucket, gyre::archive::list::Discovery::Listing).await.unwrap();
    assert_eq!(list.blocks().keys().collect::<Vec<_>>(), [&large.1.ulid]);
    assert!(list.partial().contains(&small.1.ulid));
}

#[actix_rt::test]
async fn of_two_that_create_an_object_on_s3_both_learn_whose_it_is() {
    let Some(server) = Server::start() else { return };
    let bucket = server.bucket();
    let (a, b) =
        futures_util::join!(bucket.create("acme/x", "a".into(), 10), bucket.create("acme/x", "b".into(), 10));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b);
    assert_eq!(bucket.create("acme/x", "c".into(), 10).await.unwrap(), a);
}
