//! An object store that fails as real ones do, around one that works.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use gyre::cluster::store::Bucket;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails before it does anything.
    Before,
    /// It is done, and then fails.
    After,
    /// It is done, and then said to conflict: S3 does this to a retry of its own client.
    Conflict,
    /// It is done, and never answered.
    Hang,
}

/// What to do with a request: put or not, and its path.
type Plan = Box<dyn FnMut(bool, &str) -> Fault + Send>;

/// The store.
pub struct Faulty {
    inner: Mutex<Arc<dyn ObjectStore>>,
    plan: Mutex<Plan>,
}

impl Faulty {
    /// Around a store in memory.
    pub fn new(plan: impl FnMut(bool, &str) -> Fault + Send + 'static) -> Arc<Self> {
        Self::around(Arc::new(InMemory::new()), plan)
    }

    /// Around a store.
    pub fn around(
        inner: Arc<dyn ObjectStore>,
        plan: impl FnMut(bool, &str) -> Fault + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Faulty { inner: Mutex::new(inner), plan: Mutex::new(Box::new(plan)) })
    }

    /// From now on.
    pub fn set_plan(&self, plan: impl FnMut(bool, &str) -> Fault + Send + 'static) {
        *self.plan.lock().unwrap() = Box::new(plan);
    }

    /// From now on all goes to another store, and nothing fails.
    pub fn redirect(&self, to: Arc<dyn ObjectStore>) {
        *self.inner.lock().unwrap() = to;
        self.set_plan(|_, _| Fault::None);
    }

    fn inner(&self) -> Arc<dyn ObjectStore> {
        self.inner.lock().unwrap().clone()
    }

    /// It as a bucket with a deadline.
    pub fn bucket(self: &Arc<Self>, deadline: Duration) -> Bucket {
        Bucket::new("test://bucket", self.clone(), deadline)
    }

    fn next(&self, is_put: bool, path: &Path) -> Fault {
        (self.plan.lock().unwrap())(is_put, path.as_ref())
    }
}

fn broken() -> Error {
    Error::Generic { store: "test", source: "connection reset".into() }
}

async fn finish<T>(fault: Fault, path: &Path, result: Result<T>) -> Result<T> {
    match fault {
        Fault::None => result,
        Fault::Before | Fault::After => Err(broken()),
        Fault::Conflict => Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() }),
        Fault::Hang => std::future::pending().await,
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.next(true, path);
        if fault == Fault::Before {
            return Err(broken());
        }
        let result = self.inner().put_opts(path, payload, options).await;
        finish(fault, path, result).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.next(false, path);
        let result = self.inner().get_opts(path, options).await;
        finish(fault, path, result).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner().put_multipart_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner().delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner().list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner().list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner().copy_opts(from, to, options).await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
