//! The built program against a daemon of canned answers: what it sends, prints and returns.

mod canned;
mod commands;
