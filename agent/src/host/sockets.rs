//! What can be had without bpf(2): packet sockets, lists of sockets, and news of closed ones.
//!
//! Tried in a network namespace made for the trial, with a socket of its own to ask for.

use std::net::TcpListener;

use anyhow::{Result, anyhow};

use super::Fact;
use super::access::{self, Least};
use crate::clock;
use crate::config::Config;
use crate::frame::{self, filter};
use crate::netlink::{Notifications, Route};
use crate::sandbox::{self, Capability};
use crate::sock_diag;

/// News come through a work queue of the kernel, at once unless it is very busy.
const NEWS_MS: u64 = 500;
const NEWS_BYTES: usize = 64 << 10;

/// Everything about sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Packet sockets with a filter can be opened.
    pub packets: Fact,
    /// The kernel lists TCP sockets with what it counted.
    pub lists: Fact,
    /// The kernel tells of TCP sockets that are gone.
    pub news: Fact,
    /// Bytes of the kernel's `struct tcp_info`; 0 when not known.
    pub tcp_info_bytes: usize,
    /// Least capabilities with which `/proc/<pid>/fd` of other processes can be read.
    pub least_for_descriptors: Least,
}

/// Tries it; `uid` is the user that the agent will be.
pub(super) fn probe(config: &Config, uid: u32) -> Sockets {
    let tried = sandbox::in_spare_network(&[Capability::NET_ADMIN, Capability::NET_RAW], || {
        (packets(config), lists(), news())
    });
    let least_for_descriptors = access::descriptors(uid);
    let (packets, lists, news) = match tried {
        Ok(answers) => answers,
        Err(error) => {
            let why = format!("it could not be tried: {error:#}");
            let unknown = || Fact::unknown(&why);
            return Sockets {
                packets: unknown(),
                lists: unknown(),
                news: unknown(),
                tcp_info_bytes: 0,
                least_for_descriptors,
            };
        }
    };
    Sockets {
        packets: fact(packets),
        tcp_info_bytes: *lists.as_ref().unwrap_or(&0),
        lists: fact(lists.map(drop)),
        news: fact(news),
        least_for_descriptors,
    }
}

fn fact(answer: Result<()>) -> Fact {
    match answer {
        Ok(()) => Fact::Yes,
        Err(error) => Fact::no(format!("{error:#}")),
    }
}

fn packets(config: &Config) -> Result<()> {
    let prefix = frame::OptionPrefix {
        kind: config.option.kind.get(),
        exid: config.option.exid.get(),
    };
    // The smallest there is.
    bpf::packet_ring::Ring::open(&filter(prefix), frame::SNAP_BYTES, 0)?;
    Ok(())
}

/// The length of `struct tcp_info`, by a listening socket.
fn lists() -> Result<usize> {
    let _listener = TcpListener::bind("0.0.0.0:0")?;
    let mut length = None;
    sock_diag::list(&mut Route::open_diag()?, sock_diag::LISTENING, |socket| {
        let info = socket.and_then(|socket| socket.info);
        length = info.map(|info| info.length).or(length);
    })?;
    length.ok_or_else(|| anyhow!("a socket was listed without what the kernel counts"))
}

/// Whether a socket that is closed is told of. Old kernels let anybody join the group and are silent.
fn news() -> Result<()> {
    let mut news = Notifications::open_diag(sock_diag::GROUPS_DESTROYED, NEWS_BYTES)?;
    drop(TcpListener::bind("0.0.0.0:0")?);
    let give_up = clock::monotonic_ms() + NEWS_MS;
    while clock::monotonic_ms() < give_up {
        let mut told = false;
        news.take(1, |_, body| told |= sock_diag::parse(body).is_some());
        if told {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(anyhow!("the kernel does not tell of sockets that are gone"))
}
