//! What is read: of each network namespace what listens there, by `NETLINK_SOCK_DIAG`, and what all that
//! turned away, by `/proc/net/netstat`; and the tables of the program.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use anyhow::{Context as _, Result};
use bpf::abi;
use wire::{Endpoint, ListenerNamespaceRow};
use zerocopy::FromBytes as _;

use crate::family::contract::Opening;
use crate::family::totals::{Close, Owed, Totals};
use crate::host::Pack;
use crate::loader::{Table, Whole};
use crate::netlink::{Route, attributes, u32_at};
use crate::netns::{self, Tenants};
use crate::plan::{Transport, Types};
use crate::sock_diag::{self, MESSAGE_BYTES};

/// `INET_DIAG_SKMEMINFO`, and its bit in `idiag_ext`.
const MEMORY: u16 = 7;
const WANT_MEMORY: u8 = 1 << (MEMORY - 1);
/// `SK_MEMINFO_DROPS` of `linux/sock_diag.h`; since 4.7; a word of 32 bits.
const DROPS: usize = 8 * 4;

/// What is open in one network namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Inode number.
    pub(super) inode: u32,
    pub(super) tenants: Tenants,
    diag: Route,
    netstat: File,
    /// What was turned away, once it was read.
    refused: Option<Counted>,
}

/// What was turned away since the agent looks.
#[derive(Debug)]
struct Counted {
    since_ms: u64,
    last: Refused,
    sum: Refused,
    /// The part of `sum` that this interval added.
    added: Refused,
    owed: Owed,
}

impl Namespace {
    /// Opens it all in the network namespace of the calling thread.
    pub(super) fn open() -> Result<Self> {
        // The file stays that of the namespace in which it was opened.
        let netstat = format!("/proc/self/task/{}/net/netstat", nix::unistd::gettid());
        Ok(Self {
            inode: netns::own_inode().context("look at the network namespace")?,
            tenants: Tenants::here(),
            diag: Route::open_diag().context("open a socket for lists of sockets")?,
            netstat: File::open(netstat).context("open the counters of the network namespace")?,
            refused: None,
        })
    }

    /// What listens now, but for sockets of the kernel's own.
    pub(super) fn list(&mut self) -> io::Result<Vec<Found>> {
        let (netns, mut all) = (self.inode, Vec::new());
        let wanted = (sock_diag::LISTENING, WANT_MEMORY);
        sock_diag::dump(&mut self.diag, wanted, |body| {
            let both = sock_diag::parse(body).zip(queue(body));
            let both = both.filter(|(socket, _)| socket.inode != 0);
            all.extend(both.map(|(socket, queue)| Found {
                netns,
                local: socket.local,
                inode: socket.inode,
                queue,
            }));
        })?;
        Ok(all)
    }

    /// Reads what was turned away.
    pub(super) fn count(&mut self, totals: &mut Totals, now_ms: u64) -> io::Result<()> {
        let mut text = String::new();
        self.netstat.rewind()?;
        self.netstat.read_to_string(&mut text)?;
        let now = Refused::parse(&text).ok_or(io::ErrorKind::InvalidData)?;
        let counted = self.refused.get_or_insert_with(|| Counted {
            since_ms: now_ms,
            last: now,
            sum: Refused::default(),
            added: Refused::default(),
            owed: totals.series(),
        });
        let added = now.since(counted.last);
        counted.last = now;
        counted.sum.add(added);
        counted.added.add(added);
        Ok(())
    }

    /// Ends the interval: what it added, and the total when it is its turn.
    pub(super) fn close(
        &mut self,
        totals: &mut Totals,
        close: &Close,
    ) -> Vec<ListenerNamespaceRow> {
        let Some(counted) = &mut self.refused else {
            return Vec::new();
        };
        let added = std::mem::take(&mut counted.added);
        let is_told = added != Refused::default();
        let tells = totals.tells(&mut counted.owed, close, (is_told, false));
        let kinds = [(is_told, false, added), (tells, true, counted.sum)];
        let told = kinds.into_iter().filter(|(there, ..)| *there);
        told.map(|(_, total, refused)| ListenerNamespaceRow {
            total,
            netns: self.inode,
            since_ms: counted.since_ms,
            overflows: refused.overflows,
            drops: refused.drops,
        })
        .collect()
    }
}

/// Reads the queue from the body of an answer that is about a listening socket: `sk_ack_backlog` and
/// `sk_max_ack_backlog` (`tcp_diag_get_info()`).
fn queue(body: &[u8]) -> Option<Queue> {
    let rest = body.get(MESSAGE_BYTES..)?;
    let memory = attributes(rest).find_map(|(kind, value)| (kind == MEMORY).then_some(value));
    Some(Queue {
        waiting: u32_at(body, 56)?,
        limit: u32_at(body, 60)?,
        drops: memory.and_then(|memory| u32_at(memory, DROPS)),
    })
}

/// The program at work.
#[derive(Debug)]
pub(super) struct Program {
    holders: Table,
    queues: Table,
    pub(super) whole: Whole,
}

impl Program {
    pub(super) fn load(opening: &Opening<'_>) -> Result<Self> {
        let Opening {
            facts,
            config,
            core,
            ..
        } = *opening;
        let transport = match facts.ring_buffer.is_yes() {
            true => Transport::RingBuffer,
            false => Transport::PerfBuffer,
        };
        let core = core.core(config, transport)?;
        let types = match &facts.btf_pack {
            Pack::Found(name) => Types::Pack(name.clone()),
            Pack::NotNeeded | Pack::Missing { .. } => Types::Kernel,
        };
        let whole = Whole::load(("waybill_listener", bpf::LISTENER), &types, &core)?;
        Ok(Self {
            holders: whole.table("holders")?,
            queues: whole.table("queues")?,
            whole,
        })
    }

    /// Who called listen(2) on a socket, where that was seen.
    pub(super) fn holder(&self, inode: u32) -> Option<abi::wb_process> {
        let value = self.holders.look_up(&u64::from(inode).to_ne_bytes())?;
        abi::wb_process::read_from_bytes(&value).ok()
    }

    /// The longest queues since the last call. What arrives meanwhile is seen by the list that follows,
    /// as long as it waits.
    pub(super) fn peaks(&self) -> Vec<(u32, Endpoint, u32)> {
        let taken = self.queues.take().into_iter().filter_map(|(key, value)| {
            let tuple = abi::wb_tuple::read_from_bytes(&key).ok()?;
            let end = Endpoint {
                addr: tuple.local,
                port: tuple.local_port,
            };
            Some((tuple.netns, end, u32::from_ne_bytes(value.try_into().ok()?)))
        });
        taken.collect()
    }
}

/// The accept queue of a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queue {
    /// Connections that wait to be accepted.
    pub(super) waiting: u32,
    /// As many may wait, and one more; what listen(2) was given or
    /// `net.core.somaxconn` (`sk_acceptq_is_full()`).
    pub(super) limit: u32,
    /// Packets that the socket turned away since it was made, SYNs and the last ACKs of handshakes
    /// that found a full queue among them (`tcp_listendrop()`); modulo 2^32, `None` where the kernel
    /// does not tell.
    pub(super) drops: Option<u32>,
}

/// A listening socket as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) netns: u32,
    pub(super) local: Endpoint,
    /// Number of the socket, unique on the host.
    pub(super) inode: u32,
    pub(super) queue: Queue,
}

/// What all listening sockets of a namespace turned away, since the namespace was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Refused {
    overflows: u64,
    drops: u64,
}

impl Refused {
    /// Reads the text of `/proc/net/netstat`: lines of names, each with a line of numbers behind it.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
        let names = lines.next()?.split_whitespace();
        let all: Vec<_> = names.zip(lines.next()?.split_whitespace()).collect();
        let number = |wanted| {
            let found = all.iter().find(|(name, _)| *name == wanted)?;
            found.1.parse().ok()
        };
        Some(Self {
            overflows: number("ListenOverflows")?,
            drops: number("ListenDrops")?,
        })
    }

    /// What was added since then.
    const fn since(self, then: Self) -> Self {
        Self {
            overflows: self.overflows.saturating_sub(then.overflows),
            drops: self.drops.saturating_sub(then.drops),
        }
    }

    const fn add(&mut self, more: Self) {
        self.overflows += more.overflows;
        self.drops += more.drops;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message whose 32-bit words are their own numbers, and words of memory from 100 on.
    fn message(words: u32) -> Vec<u8> {
        let head = 0..u32::try_from(MESSAGE_BYTES / 4).unwrap();
        let mut bytes: Vec<u8> = head.flat_map(u32::to_ne_bytes).collect();
        bytes.extend(u16::try_from(4 + 4 * words).unwrap().to_ne_bytes());
        bytes.extend(MEMORY.to_ne_bytes());
        bytes.extend((100..100 + words).flat_map(u32::to_ne_bytes));
        bytes
    }

    #[test]
    fn what_waits_the_limit_and_drops_are_found() {
        let queue = queue(&message(9)).unwrap();
        assert_eq!((queue.waiting, queue.limit), (14, 15));
        assert_eq!(queue.drops, Some(108));
    }

    #[test]
    fn a_kernel_that_does_not_tell_of_drops_has_not_had_none() {
        assert_eq!(queue(&message(8)).unwrap().drops, None);
        let bare = &message(0)[..MESSAGE_BYTES];
        assert_eq!(queue(bare).unwrap().drops, None);
        assert_eq!(queue(&bare[1..]), None);
    }

    #[test]
    fn the_counters_of_a_namespace_are_found_by_their_names() {
        let text = "TcpExt: A ListenOverflows ListenDrops B\nTcpExt: 1 5 7 2\nIpExt: X\nIpExt: 3\n";
        let refused = Refused {
            overflows: 5,
            drops: 7,
        };
        assert_eq!(Refused::parse(text), Some(refused));
        for torn in [
            "",
            "TcpExt: ListenDrops\nTcpExt: 7\n",
            "TcpExt: ListenOverflows ListenDrops\n",
        ] {
            assert_eq!(Refused::parse(torn), None, "{torn}");
        }
        let own = std::fs::read_to_string("/proc/self/net/netstat").unwrap();
        let own = Refused::parse(&own);
        assert!(
            own.is_some_and(|own| own.drops >= own.overflows),
            "the kernel's own words"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_text_are_something_or_nothing(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in ".{0,100}",
        ) {
            let _ignored = (queue(&bytes), Refused::parse(&text));
        }
    }
}
