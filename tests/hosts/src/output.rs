//! What a command said and how it ended.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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
    /// Runs `command` to its end with nothing to read.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let line = line(command);
        let output = command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {line}"))?;
        Ok(Self {
            command: line,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
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

/// The command as one line.
fn line(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}
