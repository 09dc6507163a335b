//! The Waybill collector.
//!
//! ```text
//! agents --HTTPS--> server -> accept::open -> store (one writer) <- store::Questions <- query
//!                   (auth,     (decode,        (dedupe, rows,                        |
//!                    limits)    check)          retention)              join::topology (pure)
//!                                                                                    |
//!                                              table, JSON <- topology::Topology <---+
//! ```
//!
//! What was stored goes on to other programs by `outputs`, out of an outbox in the store.
//!
//! To follow a batch, read `server`, `accept`, `store`, then for its way out `query`, `join`,
//! `topology`, `table`.

#![forbid(unsafe_code)]

// Control.
pub mod cli;
pub mod clickhouse;
pub mod config;
pub mod doctor;
pub use program::exit;
pub mod files;
pub mod log;
pub mod metrics;
pub mod server;
// Data.
pub mod accept;
pub mod access;
pub mod alert;
pub mod api;
pub mod auth;
pub mod authority;
pub mod counters;
pub mod declared;
pub mod diagnosis;
pub mod fleet;
pub mod import;
pub mod join;
pub mod joined;
pub mod matrix;
pub mod meter;
pub mod network;
pub mod orders;
pub mod outputs;
mod pack;
pub mod packed;
pub mod process;
pub mod query;
pub mod rank;
pub mod remote;
pub mod rows;
pub mod store;
mod stores;
pub mod table;
pub mod tls;
pub mod topology;
pub mod unpack;
// Everywhere.
pub mod digest;
pub mod escape;
pub mod time;
