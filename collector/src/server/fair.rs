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

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<Party, usize>,
    /// By arrival.
    waiting: Vec<Waiting>,
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
                held: HashMap::new(),
                waiting: Vec::new(),
            }),
        })
    }

    /// A share now, or not at all.
    pub(super) fn take(self: &Arc<Self>, party: Party, amount: usize) -> Result<Share, Denied> {
        let amount = amount.min(self.most);
        self.state().take(party, amount)?;
        Ok(self.share(party, amount))
    }

    /// A share, waiting for it at most so long.
    pub(super) async fn wait(
        self: &Arc<Self>,
        party: Party,
        amount: usize,
        within: Duration,
    ) -> Result<Share, Denied> {
        let amount = amount.min(self.most);
        let receiver = {
            let mut state = self.state();
            if state.take(party, amount).is_ok() {
                return Ok(self.share(party, amount));
            }
            let (granted, receiver) = oneshot::channel();
            // One for each request that waits, which the number of connections bounds.
            state.waiting.retain(|waiting| !waiting.granted.is_closed());
            state.waiting.push(Waiting {
                party,
                amount,
                granted,
            });
            receiver
        };
        match tokio::time::timeout(within, receiver).await {
            Ok(Ok(share)) => Ok(share),
            _ if self.state().held(&party) > 0 => Err(Denied::Own),
            _ => Err(Denied::Others),
        }
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
        self.shares.state().take(self.party, more)?;
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
mod tests {
    use super::*;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    fn party(n: u8) -> Party {
        Party::of(IpAddr::from([10, 0, 0, n]))
    }

    /// Takes single units until no more are given.
    fn fill(shares: &Arc<Shares>, n: u8) -> (Vec<Share>, Denied) {
        let mut taken = Vec::new();
        loop {
            match shares.take(party(n), 1) {
                Ok(share) => taken.push(share),
                Err(denied) => return (taken, denied),
            }
        }
    }

    #[test]
    fn one_party_gets_half_and_the_next_half_of_the_rest() {
        let shares = Shares::new(16);
        let taken: Vec<_> = (1..=6).map(|n| fill(&shares, n)).collect();
        let counts: Vec<_> = taken.iter().map(|(taken, _)| taken.len()).collect();
        assert_eq!(counts, [8, 4, 2, 1, 1, 0]);
        assert_eq!(taken[0].1, Denied::Own);
        assert_eq!(taken[5].1, Denied::Others);
        drop(taken);
        assert_eq!(fill(&shares, 9).0.len(), 8);
    }

    #[test]
    fn the_only_one_goes_to_whoever_comes_first() {
        let shares = Shares::new(1);
        let (one, denied) = fill(&shares, 1);
        assert_eq!((one.len(), denied), (1, Denied::Own));
        assert_eq!(fill(&shares, 2).1, Denied::Others);
    }

    #[test]
    fn more_than_there_is_takes_all() {
        let shares = Shares::new(4);
        let all = shares.take(party(1), 1000).expect("all");
        assert_eq!(fill(&shares, 2).0.len(), 0);
        drop(all);
        assert_eq!(fill(&shares, 2).0.len(), 2);
    }

    #[test]
    fn what_grows_is_given_back_whole() {
        let shares = Shares::new(10);
        let mut share = shares.take(party(1), 0).expect("nothing");
        for _ in 0..5 {
            share.grow(1).expect("half");
        }
        assert_eq!(share.grow(1), Err(Denied::Own));
        drop(share);
        assert_eq!(shares.state().free, 10);
        assert!(shares.state().held.is_empty());
    }

    #[tokio::test]
    async fn who_holds_least_is_served_first_and_who_went_away_not_at_all() {
        let shares = Shares::new(2);
        let long = Duration::from_secs(60);
        let first = shares.take(party(1), 1).expect("free");
        let second = shares.take(party(2), 1).expect("free");
        let asked = |n| {
            let shares = Arc::clone(&shares);
            tokio::spawn(async move { shares.wait(party(n), 1, long).await })
        };
        let queued = |n: usize| {
            let shares = Arc::clone(&shares);
            async move {
                while shares.state().waiting.len() < n {
                    tokio::task::yield_now().await;
                }
            }
        };
        let again = asked(1);
        queued(1).await;
        let gone = asked(3);
        queued(2).await;
        let other = asked(4);
        queued(3).await;
        gone.abort();
        drop(gone.await);
        // Party 1 has waited longest, and holds one; party 4 none.
        drop(second);
        let other = other.await.expect("runs").expect("served");
        assert!(!again.is_finished());
        drop((first, other));
        again.await.expect("runs").expect("served");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends() {
        let shares = Shares::new(1);
        let held = shares.take(party(1), 1).expect("free");
        let wait = |n| shares.wait(party(n), 1, Duration::from_secs(3));
        assert_eq!(wait(1).await.err(), Some(Denied::Own));
        assert_eq!(wait(2).await.err(), Some(Denied::Others));
        drop(held);
        assert!(wait(2).await.is_ok());
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_party() {
        let of = |text: &str| Party::of(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_given_twice(
            steps in prop::collection::vec((0_u8..4, 0_usize..6, any::<bool>()), 1..200),
        ) {
            let shares = Shares::new(20);
            let mut held: Vec<Share> = Vec::new();
            for (n, amount, back) in steps {
                if back {
                    held.pop();
                } else if let Ok(share) = shares.take(party(n), amount) {
                    held.push(share);
                }
                let sum: usize = held.iter().map(|share| share.amount).sum();
                prop_assert!(shares.state().free + sum == 20);
            }
        }
    }
}
