//! How often somebody may try to log in: per user and per address, and how many passwords are tried
//! at once.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::fair::{Party, Shares};

/// Slots of a table: names and addresses share them by a keyed hash, so the table is bounded whatever
/// is tried. All of them together free 136 attempts a second, which is more than the passwords that
/// can be tried, so nobody can fill them all.
const SLOTS: usize = 4096;
/// After so long one attempt is free again.
const FREE_AGAIN: Duration = Duration::from_secs(30);
/// Attempts in vain that are free at once, for a user.
const OF_USER: u32 = 10;
/// And for an address, behind which there may be many users.
const OF_ADDRESS: u32 = 20;
/// Records of attempts in vain in the audit log: a burst, and then one a minute. A million records
/// are kept, which attempts alone do not fill in a year.
const RECORDS: u32 = 60;
/// Passwords that are tried at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;

/// What bounds attempts to log in.
pub(super) struct Logins {
    by_user: Buckets,
    by_address: Buckets,
    records: Buckets,
    held_back: Mutex<u64>,
    /// Places for those whose password is being tried.
    pub(super) places: Arc<Shares>,
}

impl Logins {
    /// With nothing tried so far.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            by_user: Buckets::new(SLOTS, OF_USER, FREE_AGAIN, now),
            by_address: Buckets::new(SLOTS, OF_ADDRESS, FREE_AGAIN, now),
            records: Buckets::new(1, RECORDS, Duration::from_secs(60), now),
            held_back: Mutex::default(),
            places: Shares::new(AT_ONCE),
        }
    }

    /// Takes an attempt, for a user where one is named.
    ///
    /// # Errors
    /// How long to wait.
    pub(super) fn take(
        &self,
        user: Option<&str>,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        self.by_address.take(&Party::of(address), now)?;
        user.map_or(Ok(()), |user| self.by_user.take(user, now))
    }

    /// Gives one back that was not in vain.
    pub(super) fn give_back(&self, user: Option<&str>, address: IpAddr) {
        self.by_address.give_back(&Party::of(address));
        if let Some(user) = user {
            self.by_user.give_back(user);
        }
    }

    /// Whether an attempt in vain is to be written down; `Some(n)`: n others were not.
    pub(super) fn record(&self, now: Instant) -> Option<u64> {
        let mut held_back = self
            .held_back
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match self.records.take(&(), now) {
            Ok(()) => Some(std::mem::take(&mut *held_back)),
            Err(_) => {
                *held_back += 1;
                None
            }
        }
    }
}

/// Attempts of many, each of which may have a burst and then one in a while.
struct Buckets {
    keys: RandomState,
    start: Instant,
    /// When each slot has nothing taken any more, since the start.
    slots: Mutex<Vec<Duration>>,
    /// How long it takes until a burst is free again.
    burst: Duration,
    each: Duration,
}

impl Buckets {
    fn new(slots: usize, burst: u32, each: Duration, now: Instant) -> Self {
        Self {
            keys: RandomState::new(),
            start: now,
            slots: Mutex::new(vec![Duration::ZERO; slots]),
            burst: each * burst,
            each,
        }
    }

    fn at<T: Hash + ?Sized>(&self, key: &T, slots: usize) -> usize {
        let slot = self.keys.hash_one(key) % slots as u64;
        usize::try_from(slot).expect("less than there are slots")
    }

    /// Takes one, or says how long to wait.
    fn take<T: Hash + ?Sized>(&self, key: &T, now: Instant) -> Result<(), Duration> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.at(key, slots.len());
        let now = now.saturating_duration_since(self.start);
        let free = slots[at].max(now) + self.each;
        match free.checked_sub(now + self.burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                slots[at] = free;
                Ok(())
            }
        }
    }

    fn give_back<T: Hash + ?Sized>(&self, key: &T) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.at(key, slots.len());
        slots[at] = slots[at].saturating_sub(self.each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn a_user_is_tried_ten_times_and_then_twice_a_minute_from_wherever() {
        let now = Instant::now();
        let logins = Logins::new(now);
        let attempt = |n: u8, after: u64| {
            logins.take(Some("ann"), address(n), now + Duration::from_secs(after))
        };
        let taken = (0..30).filter(|n| attempt(*n, 0).is_ok()).count();
        assert_eq!(taken, 10);
        let wait = attempt(100, 0).unwrap_err();
        assert!(wait <= FREE_AGAIN && wait > FREE_AGAIN / 2, "{wait:?}");
        assert!(attempt(101, 31).is_ok() && attempt(102, 31).is_err());
        // Others are not touched, and an hour later all is as it was.
        assert!(logins.take(Some("bob"), address(103), now).is_ok());
        let taken = (0..30).filter(|n| attempt(*n, 3600).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn an_address_tries_twenty_times_whoever_it_names_and_success_is_free() {
        let now = Instant::now();
        let logins = Logins::new(now);
        for n in 0..100 {
            assert!(logins.take(Some("ann"), address(1), now).is_ok(), "{n}");
            logins.give_back(Some("ann"), address(1));
        }
        let attempt = |n: u32| logins.take(Some(&n.to_string()), address(1), now).is_ok();
        assert_eq!((0..100).filter(|n| attempt(*n)).count(), 20);
        assert!(logins.take(Some("ann"), address(2), now).is_ok());
        // One network of IPv6 is one address.
        let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let attempt = |n: u16| logins.take(None, v6(n), now).is_ok();
        assert_eq!((0..100).filter(|n| attempt(*n)).count(), 20);
    }

    #[test]
    fn records_are_cut_and_say_how_many_were_held_back() {
        let now = Instant::now();
        let logins = Logins::new(now);
        let written = (0..100).filter(|_| logins.record(now).is_some()).count();
        assert_eq!(written, 60);
        assert_eq!(logins.record(now + Duration::from_secs(61)), Some(40));
    }
}
