//! How connections are followed on this host, and how they get their waybill. Pure.

mod accept;
mod carrier;
mod choose;
mod decision;
mod dumps;
mod hooks;
mod needs;
mod sockets;
mod warnings;

pub(crate) use choose::{choose, fall_back};
pub(crate) use decision::decide;
pub use needs::{Uses, needs};
