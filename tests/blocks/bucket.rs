//! Buckets that are folders, into which blocks are put by hand.

use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;

/// A folder that is a bucket.
pub struct BucketFolder(tempfile::TempDir);

impl BucketFolder {
    pub fn new() -> Self {
        BucketFolder(tempfile::tempdir().unwrap())
    }

    /// As an object store.
    pub fn store(&self) -> LocalFileSystem {
        LocalFileSystem::new_with_prefix(self.0.path()).unwrap()
    }

    /// As a setting.
    pub fn url(&self) -> String {
        format!("--storage.url=file://{}", self.0.path().display())
    }

    /// Where a tenant's block lies.
    pub fn block(&self, tenant: &str, ulid: &str) -> PathBuf {
        self.0.path().join(tenant).join(ulid)
    }

    /// Copies a block into it, `meta.json` last; gives its name.
    pub fn put(&self, tenant: &str, block: &Path) -> String {
        let ulid = block.file_name().unwrap().to_str().unwrap().to_owned();
        let to = self.block(tenant, &ulid);
        copy(block, &to, &|name| name != "meta.json");
        copy(block, &to, &|name| name == "meta.json");
        ulid
    }
}

fn copy(from: &Path, to: &Path, is_wanted: &dyn Fn(&str) -> bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = { entry.map(|entry| (entry.path(), entry.file_name())) }.unwrap();
        if path.is_dir() {
            copy(&path, &to.join(&name), is_wanted);
        } else if is_wanted(name.to_str().unwrap()) {
            std::fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}
