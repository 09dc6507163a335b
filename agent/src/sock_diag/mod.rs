//! Sockets as the kernel describes them by `NETLINK_SOCK_DIAG`.

mod list;
mod message;

pub(crate) use list::*;
pub(crate) use message::*;
