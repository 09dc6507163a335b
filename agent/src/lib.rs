//! The Waybill agent.
//!
//! ```text
//! kernel                event-loop thread                        spool thread        upload thread
//! programs -> ring ---> decode -> fold                           put, lease, ack --> POST -> ack
//!             (drops)   Deadline -> close -> batch::seal --try_send--> spool
//! ```
//!
//! Read the modules in this order: control first, then the data in flow order.

#![forbid(unsafe_code)]

// Control.
pub mod abi;
pub mod calls;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod doctor;
pub mod enroll;
pub mod exit;
pub mod export;
pub mod fault;
pub mod files;
pub mod filters;
pub mod host;
pub mod jail;
pub mod keeper;
pub mod kernel;
pub mod loader;
pub mod log;
mod netlink;
mod netns;
pub mod paths;
pub mod plan;
pub mod reports;
pub mod sandbox;
pub mod setup;
pub mod startup;
mod tasks;
pub mod verify;
// Data.
pub mod batch;
pub mod delivery;
pub mod event_loop;
pub mod family;
pub mod fleet;
pub mod followed;
mod frame;
pub mod governor;
pub mod meter;
pub mod metrics;
pub mod orders;
pub mod records;
mod sock_diag;
pub mod spool;
pub mod status;
pub mod upload;
pub mod writer;

/// This agent's version, as in its package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
