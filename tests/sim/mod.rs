//! A simulated cluster: the real state and the real planner, fake agents, a fake clock.
//!
//! `goldens` runs the scripts beside this file and compares what they show; `properties` runs
//! random histories and asks after every step what must always hold.

mod agents;
mod apart;
mod goldens;
mod history;
mod jobs;
mod placement_properties;
mod planning;
mod properties;
mod rounds;
mod script;
mod show;
mod specs;
mod world;
