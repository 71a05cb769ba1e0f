//! An S3 server: a process of moto's, if it is installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gyre::cluster::store::Bucket;

/// The bucket that the server has.
pub const URL: &str = "s3://blocks";

/// A server with an empty bucket.
pub struct S3 {
    process: Child,
    port: u16,
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl S3 {
    /// Starts it; `None` if it is not installed.
    pub fn start() -> Option<Self> {
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
        let mut server = S3 { process, port };
        while !server.makes_bucket() {
            assert!(server.process.try_wait().unwrap().is_none(), "moto_server has ended");
            std::thread::yield_now();
        }
        Some(server)
    }

    /// Makes the bucket: a plain PUT; the server checks no signatures.
    fn makes_bucket(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let request = format!(
            "PUT /blocks HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Length: 0\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request\r\n\r\n",
            self.port
        );
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
        asked.is_ok() && answer.split(' ').nth(1) == Some("200")
    }

    /// The variables by which clients find it.
    pub fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// A client of this process, which has no such variables.
    pub fn bucket(&self) -> Bucket {
        let options = self.variables().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let (store, _) = object_store::parse_url_opts(&URL.parse().unwrap(), options).unwrap();
        Bucket::new(URL, Arc::from(store), Duration::from_secs(20))
    }
}
