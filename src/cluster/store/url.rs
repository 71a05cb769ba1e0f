//! `--storage.url`: where the object store is.

use std::fmt;
use std::path::PathBuf;

use url::Url;

/// Where objects lie.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum StorageUrl {
    /// A folder in the data directory: nobody else has it.
    #[default]
    DataDir,
    /// A folder.
    File(PathBuf),
    /// The memory of this process: gone when it ends.
    Memory,
    /// A bucket of a cloud.
    #[cfg(feature = "cloud")]
    Cloud(Url),
}

impl StorageUrl {
    /// Reads a URL; nothing means the folder in the data directory. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(StorageUrl::DataDir);
        }
        let url = Url::parse(text).map_err(|_| wanted().to_owned())?;
        match url.scheme() {
            // The library would take `file://folder/x` for a folder on the host "folder".
            "file" if url.host().is_some() || !text.starts_with("file:///") => {
                Err("a file URL has three slashes and a path from the root: file:///var/lib/bucket"
                    .to_owned())
            }
            "file" => match url.to_file_path() {
                Ok(path) => Ok(StorageUrl::File(path)),
                Err(()) => Err("is no path of this system".to_owned()),
            },
            "memory" if text == "memory://" => Ok(StorageUrl::Memory),
            "s3" | "gs" | "az" => cloud(url),
            _ => Err(wanted().to_owned()),
        }
    }
}

#[cfg(feature = "cloud")]
fn wanted() -> &'static str {
    "must be file:///path, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or memory://"
}

#[cfg(not(feature = "cloud"))]
fn wanted() -> &'static str {
    "must be file:///path or memory://"
}

#[cfg(feature = "cloud")]
fn cloud(url: Url) -> Result<StorageUrl, String> {
    match url.host_str() {
        Some(_) if url.username().is_empty() && url.password().is_none() => Ok(StorageUrl::Cloud(url)),
        Some(_) => Err("holds credentials, which everybody can read here; give them as variables".to_owned()),
        None => Err("names no bucket".to_owned()),
    }
}

#[cfg(not(feature = "cloud"))]
fn cloud(url: Url) -> Result<StorageUrl, String> {
    let scheme = url.scheme();
    Err(format!(
        "this program was built without {scheme}://; build it with the feature `cloud`, or use file:///path"
    ))
}

impl fmt::Display for StorageUrl {
    /// In the form that [`StorageUrl::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageUrl::DataDir => Ok(()),
            StorageUrl::File(path) => match Url::from_file_path(path) {
                Ok(url) => write!(f, "{url}"),
                Err(()) => write!(f, "file://{}", path.display()),
            },
            StorageUrl::Memory => f.write_str("memory://"),
            #[cfg(feature = "cloud")]
            StorageUrl::Cloud(url) => write!(f, "{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_reads_back_as_it_is_shown() {
        for text in ["", "memory://", "file:///var/lib/bucket", "file:///a%20b/c"] {
            assert_eq!(StorageUrl::parse(text).map(|url| url.to_string()), Ok(text.to_owned()));
        }
        let spaced = StorageUrl::parse("file:///a%20b/c").unwrap();
        assert_eq!(spaced, StorageUrl::File(PathBuf::from("/a b/c")));
    }

    #[test]
    fn what_is_no_store_is_refused_and_says_what_would_be() {
        for (text, says) in [
            ("bucket", "must be file:///path"),
            ("http://bucket", "must be file:///path"),
            ("memory://x", "must be file:///path"),
            ("file://bucket", "three slashes"),
            ("file:bucket", "three slashes"),
        ] {
            let error = StorageUrl::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
