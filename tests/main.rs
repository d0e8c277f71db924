//! All tests that go through public interfaces, in one binary.

mod api;
mod cli;
