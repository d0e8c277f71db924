//! Tests that see swarmr from outside its modules.

#[cfg(test)]
mod agent;
