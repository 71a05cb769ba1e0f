//! An object store that fails as real ones do, around one that works.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use gyre::cluster::store::Bucket;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It fails before it does anything.
    Before,
    /// It is not allowed.
    Denied,
    /// It is done, and then fails.
    After,
    /// It is done, and then said to conflict: S3 does this to a retry of its own client.
    Conflict,
    /// It is done, and never answered.
    Hang,
    /// It is not done, and answered as if it were.
    Lie,
}

/// What is asked of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// An object, a part or the facts of it.
    Get,
    /// To put an object in one piece.
    Put,
    /// To begin an object in parts.
    BeginParts,
    /// To put a part.
    PutPart,
    /// To make an object of its parts.
    Complete,
    /// To remove an object.
    Delete,
    /// A listing. It is asked about each path in it too, and what has a fault is left out: it lags.
    List,
}

/// What to do with a request, by its kind and its path.
type Plan = Box<dyn FnMut(Request, &str) -> Fault + Send>;

/// The store.
pub struct Faulty {
    inner: Mutex<Arc<dyn ObjectStore>>,
    plan: Arc<Mutex<Plan>>,
}

impl Faulty {
    /// Around a store in memory.
    pub fn new(plan: impl FnMut(Request, &str) -> Fault + Send + 'static) -> Arc<Self> {
        Self::around(Arc::new(InMemory::new()), plan)
    }

    /// Around a store.
    pub fn around(
        inner: Arc<dyn ObjectStore>,
        plan: impl FnMut(Request, &str) -> Fault + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Faulty { inner: Mutex::new(inner), plan: Arc::new(Mutex::new(Box::new(plan))) })
    }

    /// From now on.
    pub fn set_plan(&self, plan: impl FnMut(Request, &str) -> Fault + Send + 'static) {
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

    fn next(&self, request: Request, path: &Path) -> Fault {
        next(&self.plan, request, path)
    }
}

fn next(plan: &Mutex<Plan>, request: Request, path: &Path) -> Fault {
    (plan.lock().unwrap())(request, path.as_ref())
}

fn broken() -> Error {
    Error::Generic { store: "test", source: "connection reset".into() }
}

fn denied(path: &Path) -> Error {
    Error::PermissionDenied { path: path.to_string(), source: "403".into() }
}

async fn finish<T>(fault: Fault, path: &Path, result: Result<T>) -> Result<T> {
    match fault {
        Fault::None | Fault::Lie => result,
        Fault::Before | Fault::After => Err(broken()),
        Fault::Denied => Err(denied(path)),
        Fault::Conflict => Err(Error::AlreadyExists { path: path.to_string(), source: "409".into() }),
        Fault::Hang => std::future::pending().await,
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fault = self.next(Request::Put, path);
        match fault {
            Fault::Before => return Err(broken()),
            Fault::Denied => return Err(denied(path)),
            Fault::Lie => {
                return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
            }
            _ => {}
        }
        let result = self.inner().put_opts(path, payload, options).await;
        finish(fault, path, result).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.next(Request::Get, path);
        let result = self.inner().get_opts(path, options).await;
        finish(fault, path, result).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        match self.next(Request::BeginParts, path) {
            Fault::None => {}
            Fault::Denied => return Err(denied(path)),
            _ => return Err(broken()),
        }
        let inner = self.inner().put_multipart_opts(path, options).await?;
        Ok(Box::new(FaultyParts { inner, path: path.clone(), plan: self.plan.clone() }))
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, plan) = (self.inner(), self.plan.clone());
        let delete = paths.then(move |path| {
            let (inner, plan) = (inner.clone(), plan.clone());
            async move {
                let path = path?;
                let fault = next(&plan, Request::Delete, &path);
                match fault {
                    Fault::Before => return Err(broken()),
                    Fault::Denied => return Err(denied(&path)),
                    Fault::Lie => return Ok(path),
                    _ => {}
                }
                let result = inner.delete(&path).await.map(|()| path.clone());
                finish(fault, &path, result).await
            }
        });
        delete.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next(Request::List, prefix.unwrap_or(&Path::default())) {
            Fault::None => {}
            Fault::Hang => return stream::pending().boxed(),
            _ => return stream::iter([Err(broken())]).boxed(),
        }
        let plan = self.plan.clone();
        let seen = self.inner().list(prefix).filter(move |found| {
            let lags = found.as_ref().is_ok_and(|found| lags(&plan, &found.location));
            std::future::ready(!lags)
        });
        seen.boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let fault = self.next(Request::List, prefix.unwrap_or(&Path::default()));
        let path = prefix.cloned().unwrap_or_default();
        let mut found = finish(fault, &path, self.inner().list_with_delimiter(prefix).await).await?;
        found.objects.retain(|object| !lags(&self.plan, &object.location));
        found.common_prefixes.retain(|folder| !lags(&self.plan, folder));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner().copy_opts(from, to, options).await
    }
}

fn lags(plan: &Mutex<Plan>, path: &Path) -> bool {
    next(plan, Request::List, path) != Fault::None
}

struct FaultyParts {
    inner: Box<dyn MultipartUpload>,
    path: Path,
    plan: Arc<Mutex<Plan>>,
}

#[async_trait]
impl MultipartUpload for FaultyParts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (fault, path) = (next(&self.plan, Request::PutPart, &self.path), self.path.clone());
        if fault == Fault::Before {
            return Box::pin(async { Err(broken()) });
        }
        let part = self.inner.put_part(data);
        Box::pin(async move { finish(fault, &path, part.await).await })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let fault = next(&self.plan, Request::Complete, &self.path);
        if fault == Fault::Before {
            return Err(broken());
        }
        finish(fault, &self.path, self.inner.complete().await).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl fmt::Debug for FaultyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyParts")
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}
