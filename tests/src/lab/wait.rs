//! The only way anything in a lab waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Pause between two looks: short beside every interval a lab uses.
const PAUSE: Duration = Duration::from_millis(20);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes every present and later wait of this process end with an error.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether [`interrupt`] was called.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Looks until `look` finds something, and returns it.
///
/// `look` says `Ok(None)` for "not yet" and an error for "never will be".
///
/// # Errors
/// The error of `look`; or, after `deadline`, one that names `what`; or an interruption.
pub fn wait_until<T>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    wait_through(deadline, what, || {
        let found = look()?;
        if found.is_none() && interrupted() {
            bail!("interrupted while waiting for {what}");
        }
        Ok(found)
    })
}

/// As [`wait_until`], but not ended by an interruption: for cleaning up after one.
///
/// # Errors
/// The error of `look`; or, after `deadline`, one that names `what`.
pub fn wait_through<T>(
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() >= deadline {
            bail!("no {what} within {} ms", deadline.as_millis());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks until `check` passes, and after `deadline` returns the last reason why it did not.
///
/// # Errors
/// The last error of `check` with `what` as its context, or an interruption.
pub fn wait_for(
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    loop {
        let Err(reason) = check() else {
            return Ok(());
        };
        if interrupted() {
            bail!("interrupted while waiting for {what}");
        }
        if begin.elapsed() >= deadline {
            return Err(reason.context(format!("no {what} within {} ms", deadline.as_millis())));
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_returns_what_it_found() {
        let mut looks = 0;
        let found = wait_until(Duration::from_secs(5), "third look", || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn a_wait_that_finds_nothing_names_what_was_missing() {
        let none = wait_until(Duration::ZERO, "rain", || Ok(None::<()>));
        assert!(format!("{:#}", none.unwrap_err()).contains("no rain within 0 ms"));
    }

    #[test]
    fn a_failed_check_keeps_its_last_reason() {
        let failed = wait_for(Duration::ZERO, "balance", || bail!("one is missing"));
        let text = format!("{:#}", failed.unwrap_err());
        assert!(
            text.contains("no balance") && text.contains("one is missing"),
            "{text}"
        );
    }
}
