//! A blocking HTTP/1.1 client, small enough to trust in a measurement.
//!
//! Over TCP for services, over a unix socket for the APIs of engines and of
//! swarmr.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// Version of the Docker API that requests name: what Debian's engine speaks.
const API: &str = "/v1.41";
/// Longest wait for one answer of an API, in the middle of whatever it does.
const API_DEADLINE: Duration = Duration::from_secs(120);
/// Longest body taken.
const BODY_LIMIT: usize = 64 << 20;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; an error unless the status is 2xx.
    pub fn json(&self) -> Result<Value> {
        ensure!(
            self.status / 100 == 2,
            "status {}: {}",
            self.status,
            self.text().trim()
        );
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The value of `name=value` in a body of such words.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<String> {
        self.text().split_whitespace().find_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    }
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub struct Connection<S> {
    stream: BufReader<S>,
    host: String,
}

impl<S: Read + Write> Connection<S> {
    pub fn new(stream: S, host: &str) -> Self {
        Self {
            stream: BufReader::new(stream),
            host: host.to_owned(),
        }
    }

    /// One request and its answer.
    pub fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Reply> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let stream = self.stream.get_mut();
        // One write for the usual request, so that it is one packet.
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        stream.write_all(&request).context("send request")?;
        stream.flush()?;
        self.receive(method)
    }

    fn receive(&mut self, method: &str) -> Result<Reply> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status.with_context(|| format!("no HTTP answer: {first:?}"))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse().context("Content-Length")?),
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let body = match length {
            _ if method == "HEAD" || status == 204 || status == 304 => Vec::new(),
            _ if chunked => self.chunks()?,
            Some(length) => self.bytes(length)?,
            None => {
                let mut rest = Vec::new();
                self.stream.read_to_end(&mut rest)?;
                rest
            }
        };
        Ok(Reply { status, body })
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("chunk {line:?}"))?;
            body.extend(self.bytes(size)?);
            ensure!(
                body.len() <= BODY_LIMIT,
                "answer of more than {BODY_LIMIT} bytes"
            );
            self.line()?;
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        ensure!(length <= BODY_LIMIT, "answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).context("receive body")?;
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("receive answer")? == 0 {
            bail!("the connection was closed without an answer");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One GET over TCP on a new connection; `deadline` holds for each step.
pub fn get(server: SocketAddr, path: &str, deadline: Duration) -> Result<Reply> {
    let stream = TcpStream::connect_timeout(&server, deadline)
        .with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(deadline))?;
    stream.set_write_timeout(Some(deadline))?;
    stream.set_nodelay(true)?;
    Connection::new(stream, &server.to_string()).send("GET", path, "text/plain", b"")
}

/// An API of Docker's kind on a unix socket; paths are given without version.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
    deadline: Duration,
}

impl Api {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            deadline: API_DEADLINE,
        }
    }

    /// The same with another longest wait for an answer.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// A connection to send several requests on; its paths need the version
    /// ([`Api::path`]).
    pub fn connect(&self) -> Result<Connection<UnixStream>> {
        let stream = UnixStream::connect(&self.socket)
            .with_context(|| format!("connect to {}", self.socket.display()))?;
        stream.set_read_timeout(Some(self.deadline))?;
        stream.set_write_timeout(Some(self.deadline))?;
        Ok(Connection::new(stream, "docker"))
    }

    /// `path` with the version of the API in front.
    #[must_use]
    pub fn path(path: &str) -> String {
        format!("{API}{path}")
    }

    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Reply> {
        let answer = self.connect()?.send(method, &Self::path(path), kind, body);
        answer.with_context(|| format!("{method} {path}"))
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.json("GET", path, b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.json("POST", path, body.to_string().as_bytes())
    }

    pub fn delete(&self, path: &str) -> Result<Value> {
        self.json("DELETE", path, b"")
    }

    fn json(&self, method: &str, path: &str, body: &[u8]) -> Result<Value> {
        let reply = self.send(method, path, "application/json", body)?;
        reply.json().with_context(|| format!("{method} {path}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A peer that says `answer` and takes whatever it is sent.
    struct Canned(Cursor<Vec<u8>>);

    impl Read for Canned {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Canned {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn ask(answer: &str) -> Result<Reply> {
        let peer = Canned(Cursor::new(answer.as_bytes().to_vec()));
        Connection::new(peer, "test").send("GET", "/", "text/plain", b"")
    }

    #[test]
    fn a_body_of_known_length_is_read_to_its_end_and_no_further() {
        let reply = ask("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1").unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    }

    #[test]
    fn a_chunked_body_is_put_together() {
        let reply = ask(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n4\r\n b=2\r\n0\r\n\r\n",
        );
        let reply = reply.unwrap();
        assert_eq!(reply.word("b").as_deref(), Some("2"));
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        assert!(ask("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").is_err());
        assert!(ask("").is_err());
    }

    #[test]
    fn an_error_status_is_no_json() {
        let reply = ask("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert!(format!("{:#}", reply.json().unwrap_err()).contains("404"));
    }
}
