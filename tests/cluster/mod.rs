//! Daemons as processes, with the fake engine, driven as anybody would: by the command line and by
//! Docker's API on their sockets.
//!
//! Each test makes the daemons it needs and shares nothing with the others. `look` reads what a
//! cluster says of itself; `refusal` judges bad input.

mod bad_input;
mod failover;
mod forming;
mod jobs;
mod joining;
mod leaving;
mod look;
mod quorum;
mod random;
mod reads;
mod refusal;
mod restart;
mod roles;
mod rollout;
mod rounds;
mod services;
mod snapshots;
mod tokens;
