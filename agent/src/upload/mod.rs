//! Sends batches to the collector over HTTPS.
//!
//! The upload thread leases one batch at a time from the spool thread, sends it and ends the lease:
//! ack (the collector has it), refuse (it will never take it) or nack (again later). A batch is
//! sent until one of the first two, always under the same idempotency key; the collector
//! deduplicates.
//!
//! `enrolment` gets and renews the agent's own certificate, where the collector signs it.
//!
//! `answer` and `backoff` are pure; `transport` is one request, `proxy` and `bounded` are what it goes
//! through; `thread` owns the clock.

mod answer;
mod backoff;
mod bounded;
mod client;
mod enrolment;
pub mod proxy;
mod settings;
pub(crate) mod thread;
mod transport;

#[cfg(test)]
mod tests;

pub use settings::{Credential, Error, Settings};
pub use transport::Transport;
