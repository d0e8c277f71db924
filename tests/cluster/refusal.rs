//! Judging what a bad request is answered: which status or exit code, and whether the words say
//! what was wrong, what was got, and what to do next.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use testhosts::{LocalNode, Output};

use super::look::{BOUNDED, text};

/// A command line that must be refused.
#[derive(Debug, Clone)]
pub(crate) struct BadCommand<'a> {
    pub(crate) words: Vec<&'a str>,
    pub(crate) code: i32,
    /// What standard error must mention.
    pub(crate) says: &'a [&'a str],
}

/// A request that must be refused.
#[derive(Debug, Clone)]
pub(crate) struct BadRequest<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: String,
    pub(crate) body: Value,
    pub(crate) status: u16,
    /// What the message must mention.
    pub(crate) says: &'a [&'a str],
}

/// `words` are separated by single spaces.
pub(crate) fn command<'a>(words: &'a str, code: i32, says: &'a [&'a str]) -> BadCommand<'a> {
    let words = words.split(' ').collect();
    BadCommand { words, code, says }
}

pub(crate) fn request<'a>(
    method: &'a str,
    path: impl Into<String>,
    body: Value,
    status: u16,
    says: &'a [&'a str],
) -> BadRequest<'a> {
    BadRequest {
        method,
        path: path.into(),
        body,
        status,
        says,
    }
}

impl BadCommand<'_> {
    pub(crate) fn judge(&self, node: &LocalNode) -> Result<()> {
        let output = node.swarmr(&self.words)?;
        refused(&output, self.code, self.says)
    }
}

impl BadRequest<'_> {
    pub(crate) fn judge(&self, node: &LocalNode) -> Result<()> {
        // An empty body is one that is not there.
        let body = match &self.body {
            Value::Null => String::new(),
            Value::String(raw) => raw.clone(),
            json => json.to_string(),
        };
        let api = node.api().within(BOUNDED);
        let reply = api.send(self.method, &self.path, "application/json", body.as_bytes())?;
        let what = format!("{} {} {body:.300}", self.method, self.path);
        let said = reply.text();
        ensure!(
            reply.status == self.status,
            "{what}: status {}, not {}: {said}",
            reply.status,
            self.status
        );
        let json: Value = serde_json::from_slice(&reply.body)?;
        let message = text(&json, "/message");
        mentions(&what, &message, self.says)
    }
}

/// A command that ended with `code`, data on nothing, and the words on standard error.
pub(crate) fn refused(output: &Output, code: i32, says: &[&str]) -> Result<()> {
    ensure!(
        output.code == Some(code),
        "wanted exit code {code}: {output}"
    );
    // `inspect` prints the list of what it found, as Docker's does.
    ensure!(
        ["", "[]\n"].contains(&output.stdout.as_str()),
        "talk belongs on standard error: {output}"
    );
    ensure!(!output.stderr.contains("panicked"), "{output}");
    mentions(&output.command, &output.stderr, says)
}

/// Judges all, and tells of every one that was not as it should be.
pub(crate) fn judge_all(verdicts: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let wrong: Vec<String> = verdicts
        .into_iter()
        .filter_map(Result::err)
        .map(|error| format!("{error:#}"))
        .collect();
    if !wrong.is_empty() {
        bail!(
            "{} are not as they should be:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
    Ok(())
}

fn mentions(what: &str, message: &str, says: &[&str]) -> Result<()> {
    let lower = message.to_lowercase();
    let missing: Vec<&&str> = says
        .iter()
        .filter(|word| !lower.contains(&word.to_lowercase()))
        .collect();
    ensure!(
        missing.is_empty(),
        "{what}: does not mention {missing:?}: {message}"
    );
    Ok(())
}
