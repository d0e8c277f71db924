//! An HTTP server on a unix socket that gives prepared answers and remembers what it was asked.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// One request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// `GET /nodes`, with the query.
    pub(super) line: String,
    pub(super) request_id: String,
    pub(super) body: String,
}

/// A daemon of prepared answers. Ends with the test.
pub(super) struct Canned {
    dir: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
    server: Option<JoinHandle<()>>,
}

/// Answers to requests whose line begins with the text, in order; the last one stays.
type Answers = Vec<(String, VecDeque<(u16, String)>)>;

impl Canned {
    /// Answers each request whose line begins with a key with the next of its answers: a status
    /// and a body. The longest key counts; anything else is 404.
    pub(super) fn start(answers: &[(&str, &[(u16, &str)])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut answers: Answers = answers
            .iter()
            .map(|(key, all)| {
                let all = all
                    .iter()
                    .map(|(status, body)| (*status, (*body).to_owned()));
                ((*key).to_owned(), all.collect())
            })
            .collect();
        answers.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        let remembered = asked.clone();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if !serve(stream, &mut answers, &remembered) {
                    return;
                }
            }
        });
        Self {
            dir,
            asked,
            server: Some(server),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Everything that was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Runs the program against this daemon.
    pub(super) fn run(&self, arguments: &[&str]) -> Ran {
        run_with(&self.socket(), arguments)
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        // An empty request ends the server.
        if let Ok(stream) = UnixStream::connect(self.socket()) {
            drop(stream);
        }
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Runs the program with a socket and no surroundings.
pub(super) fn run_with(socket: &std::path::Path, arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_swarmr"))
        .env_remove("SWARMR_LOG_LEVEL")
        .env("SWARMR_SOCKET", socket)
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Answers one request; false for an empty one.
fn serve(stream: UnixStream, answers: &mut Answers, asked: &Mutex<Vec<Asked>>) -> bool {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return false;
    }
    let (mut length, mut request_id) = (0, String::new());
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or((&header, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "x-swarmr-request" => value.trim().clone_into(&mut request_id),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let answer = answers
        .iter_mut()
        .find(|(key, _)| line.starts_with(key.as_str()))
        .map(|(_, all)| {
            if all.len() > 1 {
                all.pop_front()
            } else {
                all.front().cloned()
            }
        });
    let (status, text) = answer
        .flatten()
        .unwrap_or((404, format!(r#"{{"message":"no such object: {line}"}}"#)));
    asked.lock().unwrap().push(Asked {
        line,
        request_id,
        body: String::from_utf8(body).unwrap(),
    });
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    // A client that was killed does not listen any more.
    drop(reader.into_inner().write_all(answer.as_bytes()));
    true
}
