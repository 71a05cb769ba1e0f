//! The same on an S3 server, and `gyre blocks` there.

use std::path::Path;

use gyre::archive::marks::mark_deletion;
use gyre::archive::{TenantBlocks, Uploaded};
use gyre::cluster::store::PART_BYTES;
use gyre_tsdb::block::{DeletionMark, Meta, Ulid};
use serde_json::Value;

use crate::crashes::gyre;
use crate::rig::{HOUR_MS, block_of, files_of, must_upload, objects_of, small_block, tenant};
use crate::s3_server::{S3, URL};

#[actix_rt::test]
async fn blocks_small_and_large_are_uploaded_to_s3_listed_marked_and_removed() {
    let Some(server) = S3::start() else { return };
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
    let Some(server) = S3::start() else { return };
    let bucket = server.bucket();
    let (a, b) =
        futures_util::join!(bucket.create("acme/x", "a".into(), 10), bucket.create("acme/x", "b".into(), 10));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a, b);
    assert_eq!(bucket.create("acme/x", "c".into(), 10).await.unwrap(), a);
}

/// What `gyre blocks` prints, and its exit status.
fn blocks(server: &S3, arguments: &[&str]) -> (String, i32) {
    let url = format!("--storage.url={URL}/history");
    let output = gyre(&["blocks"]).args(arguments).arg(url).envs(server.variables()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().unwrap())
}

#[actix_rt::test]
async fn blocks_are_imported_listed_verified_and_exported_by_the_command_line_on_s3() {
    let Some(server) = S3::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (path, meta) = small_block(folder.path(), 1);
    let (told, code) = blocks(&server, &["import", "--tenant=acme", path.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("1 of 1 blocks imported"), "{told}");
    let (listed, code) = blocks(&server, &["list", "--json"]);
    assert_eq!(code, 0, "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["block"], meta.ulid.to_string());
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let (told, code) = blocks(&server, &["verify", "--tenant=acme"]);
    assert_eq!((code, told.contains("1 blocks verified, 0 damaged")), (0, true), "{told}");
    let out = folder.path().join("out");
    let (told, code) = blocks(&server, &["export", "--tenant=acme", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    let exported = files_of(Path::new(&out.join(meta.ulid.to_string())));
    assert_eq!(exported["index"], files_of(&path)["index"]);

    // Damage is found there, too.
    let name = format!("history/acme/{}/index", meta.ulid);
    let bucket = server.bucket();
    let mut index = bucket.get(&name, 1 << 20).await.unwrap().unwrap().to_vec();
    let middle = index.len() / 2;
    index[middle] ^= 1;
    bucket.put(&name, index.into()).await.unwrap();
    let (told, code) = blocks(&server, &["verify", "--tenant=acme"]);
    assert_eq!((code, told.contains("index is damaged")), (1, true), "{told}");
}
