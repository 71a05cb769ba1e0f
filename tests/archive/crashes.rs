//! The program dies between two steps of an import, and is started again.

use std::path::Path;
use std::process::{Command, Output};

use gyre::archive::TenantBlocks;
use gyre::cluster::store::{Bucket, StorageUrl};

use crate::rig::{files_of, objects_of, small_block, tenant};

/// The program without the variables that would configure it.
pub fn gyre(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gyre"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GYRE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

fn import(bucket: &Path, folder: &Path, crash_point: &str) -> Output {
    let url = format!("--storage.url=file://{}", bucket.display());
    gyre(&["blocks", "import", "--tenant=acme", &url, folder.to_str().unwrap()])
        .env("GYRE_CRASH_POINT", crash_point)
        .output()
        .unwrap()
}

#[actix_rt::test]
async fn after_a_crash_at_any_step_of_an_import_the_next_one_leaves_exactly_one_whole_block() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    for point in
        ["import-verified", "upload-begin", "upload-after-chunks", "upload-after-index", "upload-after-meta"]
    {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bucket");
        let died = import(&path, &folder, point);
        let told = String::from_utf8_lossy(&died.stderr).into_owned();
        assert!(!died.status.success() && told.contains(point), "{point}: {told}");
        let bucket = Bucket::open(&StorageUrl::File(path.clone()), Path::new("")).unwrap();
        let list = TenantBlocks::load(&bucket, &tenant()).await.unwrap();
        assert_eq!(list.blocks().len(), usize::from(point == "upload-after-meta"), "{point}");

        let again = import(&path, &folder, "");
        assert!(again.status.success(), "{point}: {}", String::from_utf8_lossy(&again.stderr));
        let list = TenantBlocks::load(&bucket, &tenant()).await.unwrap();
        assert_eq!(list.blocks().keys().collect::<Vec<_>>(), [&meta.ulid], "{point}");
        assert!(list.partial().is_empty() && list.damaged().is_empty());
        let mut objects = objects_of(&bucket, meta.ulid).await;
        objects.remove("meta.json");
        assert_eq!(objects, files_of(&folder), "{point}");
    }
}
