//! What of one round of reading is still to be done.

use std::collections::VecDeque;

use crate::sock_diag::Socket;

/// News that wait for the packets that are older than they are.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) news: Vec<(u16, Socket)>,
    /// CLOCK_MONOTONIC nanoseconds at which the news were taken: later packets can wait.
    pub(super) until_ns: u64,
    /// Namespaces whose packets are not read up to then.
    pub(super) unread: VecDeque<u16>,
    /// There are more news.
    pub(super) more: bool,
    /// There are packets that came after the news.
    pub(super) late: bool,
}
