//! cli
mod output;
