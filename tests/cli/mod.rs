//! The built program against a daemon of canned answers: what it sends, prints and returns.

mod against_api;
mod canned;
mod commands;
mod planning;
