//! A minimal blocking HTTP/1.1 client with one keep-alive connection, for loopback only.
//!
//! A general client would spend more of the machine than the servers under test do; this one writes a head and a
//! body and reads an answer (Content-Length or chunked). Time and answer size are limited. A connection that the
//! server closed while idle is opened anew once, which is safe for remote write: the same sample twice is one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::{Error, Result};

/// No answer that the bench asks for comes near this.
const ANSWER_BYTES_MAX: usize = 1 << 30;
const HEADER_LINES_MAX: usize = 100;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, dechunked.
    pub body: Vec<u8>,
    path: String,
}

impl Answer {
    /// The body of a 2xx answer as text; other statuses are an error.
    pub fn into_text(self) -> Result<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        if (200..300).contains(&self.status) {
            return Ok(text);
        }
        let body = text.chars().take(400).collect();
        Err(Error::Answer { path: self.path, status: self.status, body })
    }
}

/// A connection, opened at the first request.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
    head: String,
    /// Sent with each request.
    tenant_header: String,
}

impl Connection {
    /// A connection to be opened to `address`.
    pub fn new(address: SocketAddr) -> Connection {
        let (head, tenant_header) = (String::new(), String::new());
        Connection { address, timeout: DEFAULT_TIMEOUT, stream: None, head, tenant_header }
    }

    /// Limits the wait for each read and write.
    pub fn with_timeout(mut self, timeout: Duration) -> Connection {
        self.timeout = timeout;
        self
    }

    /// Sends each request as this tenant.
    pub fn with_tenant(mut self, tenant: &str) -> Connection {
        self.tenant_header = format!("X-Scope-OrgID: {tenant}\r\n");
        self
    }

    /// GET with URL-encoded parameters.
    pub fn get(&mut self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        let mut target = path.to_owned();
        for (index, (name, value)) in parameters.iter().enumerate() {
            target.push(if index == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            percent_encode(value, &mut target);
        }
        self.request("GET", &target, "", &[])
    }

    /// POST of a form.
    pub fn post_form(&mut self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer> {
        let mut form = String::new();
        for (name, value) in parameters {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            percent_encode(value, &mut form);
        }
        self.request("POST", path, "Content-Type: application/x-www-form-urlencoded\r\n", form.as_bytes())
    }

    /// POST of a remote write 1.0 body.
    pub fn post_remote_write(&mut self, path: &str, body: &[u8]) -> Result<Answer> {
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: gyre-bench\r\n";
        self.request("POST", path, headers, body)
    }

    fn request(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        self.head.clear();
        self.head.push_str(&format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\n{}{headers}Content-Length: {}\r\n\r\n",
            self.address,
            self.tenant_header,
            body.len()
        ));
        let reused = self.stream.is_some();
        let mut outcome = self.exchange(body);
        if reused && outcome.as_ref().is_err_and(|error| closed_while_idle(error.kind())) {
            outcome = self.exchange(body);
        }
        let path = target.split('?').next().unwrap_or(target);
        match outcome {
            Ok((status, body)) => Ok(Answer { status, body, path: path.to_owned() }),
            Err(source) => Err(Error::Io { doing: format!("{method} {path} on {}", self.address), source }),
        }
    }

    fn exchange(&mut self, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.timeout))?;
                stream.set_write_timeout(Some(self.timeout))?;
                BufReader::with_capacity(64 << 10, stream)
            }
        };
        stream.get_mut().write_all(self.head.as_bytes())?;
        stream.get_mut().write_all(body)?;
        let (status, body, keep) = read_answer(&mut stream)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok((status, body))
    }
}

fn closed_while_idle(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    stream.take(16 << 10).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("a header is not UTF-8"))
}

fn read_answer(stream: &mut impl BufRead) -> io::Result<(u16, Vec<u8>, bool)> {
    let status_line = read_line(stream)?;
    let status = status_line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| invalid("no HTTP status line"))?;
    let mut length = None;
    let mut chunked = false;
    let mut keep = true;
    for _ in 0..HEADER_LINES_MAX {
        let line = read_line(stream)?;
        if line.is_empty() {
            let body = match length {
                _ if status == 204 || status == 304 => Vec::new(),
                _ if chunked => read_chunks(stream)?,
                Some(length) => read_exactly(stream, length)?,
                None => {
                    keep = false;
                    let mut body = Vec::new();
                    stream.take(ANSWER_BYTES_MAX as u64).read_to_end(&mut body)?;
                    body
                }
            };
            return Ok((status, body, keep));
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = Some(value.parse().map_err(|_| invalid("a Content-Length that is no number"))?);
            }
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Err(invalid("more than 100 header lines"))
}

fn read_exactly(stream: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    if length > ANSWER_BYTES_MAX {
        return Err(invalid("an answer above 1 GiB"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let length = line.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(length.trim(), 16).map_err(|_| invalid("a bad chunk length"))?;
        if body.len() + length > ANSWER_BYTES_MAX {
            return Err(invalid("an answer above 1 GiB"));
        }
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..])?;
        // The line end after a chunk, or the one that closes the (empty) trailer.
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> io::Result<(u16, Vec<u8>, bool)> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn bodies_are_read_by_length_by_chunk_and_to_the_end() {
        let by_length = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcdef";
        assert_eq!(read(by_length).unwrap(), (200, b"abc".to_vec(), true));
        let by_chunk =
            "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        assert_eq!(read(by_chunk).unwrap(), (400, b"abcde".to_vec(), true));
        let to_the_end = "HTTP/1.1 200 OK\r\n\r\nrest";
        assert_eq!(read(to_the_end).unwrap(), (200, b"rest".to_vec(), false));
        assert_eq!(read("HTTP/1.1 204 No Content\r\n\r\n").unwrap(), (204, vec![], true));
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(closing).unwrap(), (200, vec![], false));
    }

    #[test]
    fn torn_and_foreign_answers_are_errors() {
        for text in ["", "HTTP/1.1 200 OK\r\n", "garbage\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"] {
            assert!(read(text).is_err(), "{text:?}");
        }
        let torn = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
        assert_eq!(read(torn).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn parameters_are_percent_encoded() {
        let mut out = String::new();
        percent_encode("rate(a{b=\"ü\"}[5m])", &mut out);
        assert_eq!(out, "rate%28a%7Bb%3D%22%C3%BC%22%7D%5B5m%5D%29");
    }
}
