//! swarmr
