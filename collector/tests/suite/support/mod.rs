//! What the tests share: certificates, a site with a collector, and a simulated fleet.

pub(crate) mod calibration;
pub(crate) mod fleet;
pub(crate) mod histories;
pub(crate) mod measure;
pub(crate) mod pki;
pub(crate) mod raw;
pub(crate) mod shapes;
pub(crate) mod site;
pub(crate) mod world;

use std::time::{Duration, Instant};

/// Asks until the answer is `Some`; fails after a minute.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(Duration::from_secs(60), what, ask)
}

/// The same with another deadline. The only place that waits.
pub(crate) fn until_within<T>(most: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + most;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
