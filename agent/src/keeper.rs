//! The process that keeps the packet filters, the only one that has `CAP_NET_ADMIN` after the start.
//!
//! Attaching a filter and taking down a device are the same system call to the same socket, which
//! no filter on system calls can tell apart. So it is another process that makes it: one that reads
//! nothing but the kernel's lists of devices, and takes no order but that it shall end. Whoever
//! takes the agent over can end it, and the filters then go; that is all.
//!
//! It looks for devices by itself and says what it found, one message each time something changed.
//! The agent's end, however it comes, closes the connection between the two.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use log::warn;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair,
};

use crate::clock::monotonic_ms;
use crate::filters::Filters;
use crate::jail::{self, HelperNeeds};

/// A burst of news about devices is answered once.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// Filters are looked for this often although no device changed: somebody may have removed them.
const FILTERS_EVERY: Duration = Duration::from_secs(30);
/// What could not be said is said again after this long.
const AGAIN: Duration = Duration::from_secs(1);
/// What the keeper may take until it is confined, and at the end until all filters are removed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest message: numbers, and one reason.
const MESSAGE_BYTES: usize = 512;
/// Messages taken in one turn of the event loop; it says one in a pause, so these are many.
const BUDGET: usize = 64;

/// What the keeper says of the filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Devices with filters.
    pub attached: u32,
    /// Devices that refuse them.
    pub refused: u32,
    /// Whether what arrives may be for another machine.
    pub forwards: bool,
}

impl State {
    fn of(filters: &Filters) -> Self {
        let (attached, refused) = filters.sizes();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            attached: count(attached),
            refused: count(refused),
            forwards: filters.forwards(),
        }
    }

    fn encode(&self) -> [u8; 9] {
        let mut message = [0; 9];
        message[..4].copy_from_slice(&self.attached.to_ne_bytes());
        message[4..8].copy_from_slice(&self.refused.to_ne_bytes());
        message[8] = u8::from(self.forwards);
        message
    }

    fn decode(message: &[u8]) -> Option<Self> {
        let message: &[u8; 9] = message.try_into().ok()?;
        let [a, b, c, d, e, f, g, h, forwards] = *message;
        Some(Self {
            attached: u32::from_ne_bytes([a, b, c, d]),
            refused: u32::from_ne_bytes([e, f, g, h]),
            forwards: forwards != 0,
        })
    }
}

/// The agent's end of the connection to the keeper; dropped, the filters are removed.
#[derive(Debug)]
pub struct Keeper {
    process: i32,
    socket: OwnedFd,
    state: State,
}

impl Keeper {
    /// Hands the filters to a process of their own and waits until that is confined.
    ///
    /// # Errors
    /// The process cannot be made or confined; the filters are removed then.
    pub fn start(filters: Filters, needs: &HelperNeeds) -> Result<Self> {
        let (own, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        )
        .context("connect with the keeper of the filters")?;
        jail::require_one_thread()?;
        let Some(process) = bpf::process::fork().context("make the keeper of the filters")? else {
            drop(own);
            let kept: Vec<_> = filters.descriptors().chain([other.as_raw_fd()]).collect();
            let code = match jail::confine_companion(c"waybill-filters", needs, &kept) {
                Ok(()) => {
                    keep(filters, other.as_fd());
                    0
                }
                Err(error) => {
                    drop(filters);
                    warn!(error = format!("{error:#}").as_str(); "keeper of the filters not confined");
                    1
                }
            };
            std::process::exit(code);
        };
        drop(other);
        filters.disarm();
        let mut keeper = Self {
            process,
            socket: own,
            state: State::default(),
        };
        wait(keeper.socket.as_fd(), PATIENCE).context("wait for the keeper of the filters")?;
        let heard = keeper.hear().context("hear the keeper of the filters")?;
        ensure!(heard, "the keeper of the filters says nothing");
        Ok(keeper)
    }

    /// Its process id.
    #[must_use]
    pub const fn process(&self) -> i32 {
        self.process
    }

    /// Becomes readable when something changed.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What it last said.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Takes what it said meanwhile, some of it in each turn; whether that was anything. Only the newest
    /// counts, so what is left is taken in the turn of the next tick.
    ///
    /// # Errors
    /// It ended: nobody keeps the filters.
    pub fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; MESSAGE_BYTES];
        let mut heard = false;
        for _ in 0..BUDGET {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    let state = State::decode(buffer.get(..length).unwrap_or_default());
                    self.state = state.ok_or(io::ErrorKind::InvalidData)?;
                    heard = true;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(heard),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(heard)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        shutdown(self.socket.as_raw_fd(), Shutdown::Write).ok();
        let begun_ms = monotonic_ms();
        while let Some(left) = PATIENCE.checked_sub(since(begun_ms)) {
            if wait(self.socket.as_fd(), left).is_err() {
                break;
            }
            if self.hear().is_err() {
                return;
            }
        }
        warn!("the keeper of the filters does not end");
    }
}

/// Waits until something can be read, or the other side ended.
fn wait(socket: BorrowedFd<'_>, most: Duration) -> io::Result<()> {
    let mut ready = [PollFd::new(socket, PollFlags::POLLIN)];
    match poll(&mut ready, timeout(most)) {
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn since(begun_ms: u64) -> Duration {
    Duration::from_millis(monotonic_ms().saturating_sub(begun_ms))
}

fn timeout(most: Duration) -> PollTimeout {
    // Rounded up: a wait of less than a millisecond is not none.
    let most = most.saturating_add(Duration::from_millis(1));
    PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX)
}

/// Follows the devices until the agent ends, then removes the filters.
fn keep(mut filters: Filters, agent: BorrowedFd<'_>) {
    let mut said = None;
    let mut changed = false;
    let (mut checked_ms, mut followed_ms) = (monotonic_ms(), monotonic_ms());
    loop {
        let state = State::of(&filters);
        if said.as_ref() != Some(&state) {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            if send(agent.as_raw_fd(), &state.encode(), flags).is_ok() {
                said = Some(state);
            }
        }
        let mut left = FILTERS_EVERY.saturating_sub(since(checked_ms));
        if said.is_none() {
            left = left.min(AGAIN);
        }
        if changed {
            left = FOLLOW_PAUSE.saturating_sub(since(followed_ms));
        }
        let ready = {
            let mut ready = [
                PollFd::new(agent, PollFlags::POLLIN),
                PollFd::new(filters.news_fd(), PollFlags::POLLIN),
            ];
            // In a pause of a burst only the end counts.
            let count = if changed { 1 } else { 2 };
            match poll(&mut ready[..count], timeout(left)) {
                Err(Errno::EINTR) => continue,
                Err(_) => return,
                Ok(_) => ready[0].any().unwrap_or(true),
            }
        };
        // There is nothing to be said to the keeper: whatever comes is the end.
        if ready {
            return;
        }
        filters.take_news();
        changed = filters.has_news();
        let all = since(checked_ms) >= FILTERS_EVERY;
        if all {
            checked_ms = monotonic_ms();
        }
        if all || (changed && since(followed_ms) >= FOLLOW_PAUSE) {
            followed_ms = monotonic_ms();
            if let Err(error) = filters.follow(all) {
                warn!(error = format!("{error:#}").as_str(); "devices not followed");
            }
            // What could not be answered is news still.
            changed = filters.has_news();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};

    use super::{BUDGET, Keeper, State};

    #[test]
    fn what_the_keeper_says_is_understood_and_nothing_else() {
        let state = State {
            attached: 70_000,
            refused: 3,
            forwards: true,
        };
        assert_eq!(State::decode(&state.encode()), Some(state));
        assert_eq!(State::decode(b""), None);
        assert_eq!(State::decode(&[0; 10]), None);
    }

    #[test]
    fn a_keeper_that_never_stops_talking_is_heard_up_to_the_budget() {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags);
        let (own, other) = pair.unwrap();
        let mut keeper = Keeper {
            process: 0,
            socket: own,
            state: State::default(),
        };
        let say = |attached| {
            let state = State {
                attached,
                ..State::default()
            };
            send(other.as_raw_fd(), &state.encode(), MsgFlags::empty()).is_ok()
        };
        let said = (1..=200).take_while(|number| say(*number)).count();
        let budget = u32::try_from(BUDGET).unwrap();
        assert!(said > BUDGET, "{said} fit");
        assert!(keeper.hear().unwrap());
        assert_eq!(keeper.state().attached, budget, "the rest is left");
        assert!(keeper.hear().unwrap());
        assert!(
            keeper.state().attached > budget,
            "and taken in the next turn"
        );
        drop(other);
    }
}
