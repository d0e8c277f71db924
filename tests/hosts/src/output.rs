//! What a command said and how it ended.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long after its end a command's output may still be open.
const PIPE_LIMIT: Duration = Duration::from_secs(10);

/// The end of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// What was run, for messages.
    pub command: String,
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Runs `command` to its end with nothing to read. An error if something
    /// that it left running keeps its output open, for that hangs scripts.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let line = line(command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {line}"))?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let code = child
            .wait()
            .with_context(|| format!("wait for {line}"))?
            .code();
        let text = |of: &Receiver<Vec<u8>>| {
            let bytes = of.recv_timeout(PIPE_LIMIT).with_context(|| {
                format!("`{line}` ended, but what it started keeps its output open")
            })?;
            anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Self {
            stdout: text(&stdout)?,
            stderr: text(&stderr)?,
            command: line,
            code,
        })
    }

    /// Whether the exit code was 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output without its last line break; an error unless the exit
    /// code was 0.
    pub fn ok(self) -> Result<String> {
        if !self.succeeded() {
            bail!("{self}");
        }
        Ok(self.stdout.trim_end().to_owned())
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(out, "`{}` ended with {code}", self.command)?,
            None => write!(out, "`{}` was killed", self.command)?,
        }
        for text in [&self.stdout, &self.stderr] {
            if !text.trim().is_empty() {
                write!(out, "\n  {}", text.trim().replace('\n', "\n  "))?;
            }
        }
        Ok(())
    }
}

/// Reads all of a pipe on a thread of its own.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read until an error is still what the command said.
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = tell.send(bytes);
    });
    told
}

/// The command as one line.
fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_with_its_code_and_both_outputs() {
        let mut command = Command::new("bash");
        let output = Output::of(command.args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!((output.code, output.stdout.as_str()), (Some(3), "out\n"));
        let text = output.ok().unwrap_err().to_string();
        assert!(
            text.contains("ended with 3") && text.contains("err"),
            "{text}"
        );
    }
}
