//! Fair shares of something scarce: bytes of bodies, places for work, answers on their way.
//!
//! A [`Party`] may take more while it would then hold no more than what is left free. So one party
//! gets at most half, a second one half of what is left, and so on: whoever comes next always
//! finds something, and nothing that is held has to be taken back. Whoever waits is served by what
//! its party holds, least first, then by arrival.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::auth::CredentialId;

/// Who a share is counted for: an address and, once it is known, a credential.
///
/// Both, for many hosts may share one of them: an address behind a gateway, or a site's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Party {
    network: IpAddr,
    credential: Option<CredentialId>,
}

impl Party {
    /// A peer of this address. Of IPv6 the first 64 bits count: the rest is any host's to choose.
    pub(super) fn of(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(v4) => IpAddr::V4(v4),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        };
        Self {
            network,
            credential: None,
        }
    }

    /// The same peer, which showed this credential.
    pub(super) fn with(self, credential: CredentialId) -> Self {
        Self {
            credential: Some(credential),
            ..self
        }
    }
}

/// Why there is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// The party holds as much as is left for all others.
    Own,
    /// Others hold it.
    Others,
}

/// What is scarce.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    state: Mutex<State>,
}

/// How much is taken at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) most: u64,
    pub(super) used: u64,
    /// Requests that wait.
    pub(super) waiting: u64,
    /// Requests that got nothing, since the start.
    pub(super) refused: u64,
}

#[derive(Debug)]
struct State {
    free: usize,
    refused: u64,
    held: HashMap<Party, usize>,
    /// By arrival.
    waiting: Vec<Waiting>,
    /// Nobody waits any more.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    party: Party,
    amount: usize,
    granted: oneshot::Sender<Share>,
}

/// A part of it; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    party: Party,
    amount: usize,
}

impl State {
    fn held(&self, party: &Party) -> usize {
        self.held.get(party).copied().unwrap_or(0)
    }

    fn take(&mut self, party: Party, amount: usize) -> Result<(), Denied> {
        let held = self.held(&party);
        let left = self.free.checked_sub(amount);
        if left.is_none_or(|left| held > left) {
            return Err(if held > 0 {
                Denied::Own
            } else {
                Denied::Others
            });
        }
        self.free -= amount;
        *self.held.entry(party).or_default() += amount;
        Ok(())
    }

    fn take_or_count(&mut self, party: Party, amount: usize) -> Result<(), Denied> {
        self.take(party, amount).inspect_err(|_| self.refused += 1)
    }

    fn give_back(&mut self, party: Party, amount: usize) {
        self.free += amount;
        if let Some(held) = self.held.get_mut(&party) {
            *held -= amount;
            if *held == 0 {
                self.held.remove(&party);
            }
        }
    }
}

impl Shares {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::new(State {
                free: most,
                refused: 0,
                held: HashMap::new(),
                waiting: Vec::new(),
                closed: false,
            }),
        })
    }

    /// A share now, or not at all.
    pub(super) fn take(self: &Arc<Self>, party: Party, amount: usize) -> Result<Share, Denied> {
        let amount = amount.min(self.most);
        self.state().take_or_count(party, amount)?;
        Ok(self.share(party, amount))
    }

    /// A share, waiting for it at most so long.
    pub(super) async fn wait(
        self: &Arc<Self>,
        party: Party,
        amount: usize,
        within: Duration,
    ) -> Result<Share, Denied> {
        let receiver = match self.queue(party, amount) {
            Ok(share) => return Ok(share),
            Err(receiver) => receiver,
        };
        if let Ok(Ok(share)) = tokio::time::timeout(within, receiver).await {
            return Ok(share);
        }
        let mut state = self.state();
        state.refused += 1;
        Err(match state.held(&party) {
            0 => Denied::Others,
            _ => Denied::Own,
        })
    }

    /// How much is taken.
    pub(super) fn level(&self) -> Level {
        let state = self.state();
        let waiting = state.waiting.iter();
        let waiting = waiting.filter(|waiting| !waiting.granted.is_closed());
        Level {
            most: self.most as u64,
            used: (self.most - state.free) as u64,
            waiting: waiting.count() as u64,
            refused: state.refused,
        }
    }

    /// A share for a thread, which waits for as long as those before it take; `None` once nobody waits
    /// any more ([`Shares::close`]).
    pub(super) fn wait_on_thread(self: &Arc<Self>, party: Party, amount: usize) -> Option<Share> {
        match self.queue(party, amount) {
            Ok(share) => Some(share),
            Err(receiver) => receiver.blocking_recv().ok(),
        }
    }

    /// Lets nobody wait from now on: what threads wait for does not come any more.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.waiting.clear();
    }

    /// A share, or where it will come.
    fn queue(
        self: &Arc<Self>,
        party: Party,
        amount: usize,
    ) -> Result<Share, oneshot::Receiver<Share>> {
        let amount = amount.min(self.most);
        let mut state = self.state();
        if state.take(party, amount).is_ok() {
            return Ok(self.share(party, amount));
        }
        let (granted, receiver) = oneshot::channel();
        // One for each request that waits, which the number of connections bounds.
        state.waiting.retain(|waiting| !waiting.granted.is_closed());
        if !state.closed {
            state.waiting.push(Waiting {
                party,
                amount,
                granted,
            });
        }
        Err(receiver)
    }

    fn share(self: &Arc<Self>, party: Party, amount: usize) -> Share {
        Share {
            shares: Arc::clone(self),
            party,
            amount,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves those who wait, as far as there is something.
    fn serve(self: &Arc<Self>) {
        let mut granted = Vec::new();
        let mut state = self.state();
        state.waiting.retain(|waiting| !waiting.granted.is_closed());
        loop {
            let next = state
                .waiting
                .iter()
                .enumerate()
                .filter(|(_, waiting)| {
                    let left = state.free.checked_sub(waiting.amount);
                    left.is_some_and(|left| state.held(&waiting.party) <= left)
                })
                .min_by_key(|(at, waiting)| (state.held(&waiting.party), *at));
            let Some((at, _)) = next else { break };
            let Waiting {
                party,
                amount,
                granted: sender,
            } = state.waiting.remove(at);
            state.take(party, amount).expect("it was found to fit");
            granted.push((sender, self.share(party, amount)));
        }
        drop(state);
        for (sender, share) in granted {
            // Who went away meanwhile gives it back, by dropping it here.
            drop(sender.send(share));
        }
    }
}

impl Share {
    /// Makes it larger.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Denied> {
        self.shares.state().take_or_count(self.party, more)?;
        self.amount += more;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.state().give_back(self.party, self.amount);
        self.shares.serve();
    }
}

#[cfg(test)]
mod tests;
