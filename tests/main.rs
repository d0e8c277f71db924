//! Tests of the whole, in one binary.

mod cluster;
mod real;
mod sim;
