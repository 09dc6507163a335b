//! What test programs said, summed up. Pure: lines in, numbers out.

use std::fmt;

/// How the reason of a test begins that another command, or a later stage, runs.
const LEFT_TO: &str = "run by ";

/// More failures than this are not the machine's doing.
const MOST_REPEATED: usize = 5;

/// Results of any number of test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
    /// Tests that said they cannot run here.
    pub(crate) skipped: u64,
    /// `name: reason` of each skipped test.
    pub(crate) skips: Vec<String>,
    /// Name of each failed test.
    pub(crate) failures: Vec<String>,
    /// Names of the tests that passed only when they ran again, alone.
    pub(crate) unsteady: Vec<String>,
    /// Names of the tests that ran.
    ran: Vec<String>,
    /// The test that began most recently: its output may stand between name and result.
    current: String,
}

impl Tally {
    /// True when no test was counted at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed + self.skipped == 0
    }

    /// Counts a failure that no test program told.
    pub(crate) fn fail(&mut self, what: &str) {
        self.failed += 1;
        self.failures.push(what.to_owned());
    }

    /// Counts a test that could not run here: `name: reason`.
    pub(crate) fn skip(&mut self, what: &str) {
        self.skipped += 1;
        self.skips.push(what.to_owned());
    }

    /// A test found out while it ran that it cannot run here, as `name: reason`; it counted as
    /// passed, for libtest has no word for that.
    pub(crate) fn skipped_late(&mut self, what: &str) {
        let name = what.split_once(": ").map_or(what, |(name, _)| name);
        if self.ran.iter().any(|ran| ran == name) && !self.failures.iter().any(|it| it == name) {
            self.ran.retain(|ran| ran != name);
            self.passed = self.passed.saturating_sub(1);
            self.skip(what);
        }
    }

    /// Tests that are worth another run: the failed ones, if they are few and the run came to its end.
    pub(crate) fn to_repeat(&self) -> Vec<String> {
        let named = self.failures.len() as u64 == self.failed
            && self
                .failures
                .iter()
                .all(|failure| self.ran.contains(failure));
        match named && self.failures.len() <= MOST_REPEATED {
            true => self.failures.clone(),
            false => Vec::new(),
        }
    }

    /// A failed test ran again: it counts as passed only if it did so then.
    pub(crate) fn repeated(&mut self, name: &str, again: &Self) {
        if again.passed == 1 && again.failed == 0 && again.ran == [name] {
            self.failures.retain(|failure| failure != name);
            self.failed -= 1;
            self.passed += 1;
            self.unsteady.push(name.to_owned());
        }
    }

    /// Adds the results of a later run: what one run left to it is not skipped.
    pub(crate) fn add(&mut self, other: Self) {
        let before = self.skips.len();
        self.skips.retain(|skip| {
            let left = skip.split_once(": ");
            !left.is_some_and(|(name, reason)| {
                reason.starts_with(LEFT_TO) && other.ran.iter().any(|ran| ran == name)
            })
        });
        self.skipped -= (before - self.skips.len()) as u64;
        self.ran.extend(other.ran);
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.skips.extend(other.skips);
        self.failures.extend(other.failures);
        self.unsteady.extend(other.unsteady);
    }

    /// Takes in one line of a test program's standard output (the format of libtest, which
    /// libtest-mimic shares).
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.summary(summary);
            return;
        }
        let mut outcome = line;
        if let Some((name, rest)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ..."))
        {
            name.trim().clone_into(&mut self.current);
            outcome = rest.trim_start();
        }
        if outcome == "ok" || outcome == "FAILED" {
            self.ran.push(self.current.clone());
        }
        if outcome == "FAILED" {
            self.failures.push(self.current.clone());
        } else if let Some(reason) = skip_reason(outcome) {
            self.skips.push(format!("{}: {reason}", self.current));
        }
    }

    /// Takes in `ok. 5 passed; 0 failed; 1 ignored; ...`.
    fn summary(&mut self, summary: &str) {
        let numbers = summary.split_once(". ").map_or("", |(_, rest)| rest);
        for part in numbers.split(';') {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") => self.skipped += count,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The reason in `ignored, reason` (libtest) or `ignored (reason)` (libtest-mimic).
fn skip_reason(outcome: &str) -> Option<&str> {
    let rest = outcome.strip_prefix("ignored")?;
    if rest.is_empty() {
        return Some("no reason given");
    }
    rest.strip_prefix(", ").or_else(|| {
        rest.strip_prefix(" (")
            .and_then(|inner| inner.strip_suffix(')'))
    })
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn tally(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.line(line));
        tally
    }

    #[test]
    fn every_summary_is_added() {
        let sum = tally(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
             noise\n\
             test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out",
        );
        assert_eq!(sum.to_string(), "7 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn what_a_later_run_made_good_is_not_skipped() {
        let first = "test a ... ignored (run by `x`)\ntest b ... ignored (run by `x`)\n\
                     test c ... ignored (no root)\n\
                     test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured";
        let later = "test a ... ok\ntest c ... ok\n\
                     test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured";
        let mut sum = tally(first);
        sum.add(tally(later));
        assert_eq!(sum.to_string(), "2 passed, 0 failed, 2 skipped");
        assert_eq!(sum.skips, ["b: run by `x`", "c: no root"]);
    }

    #[test]
    fn a_failed_test_counts_as_passed_only_when_it_passes_alone() {
        let first = "test a ... ok\ntest b ... FAILED\ntest c ... FAILED\n\
                     test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured";
        let mut sum = tally(first);
        assert_eq!(sum.to_repeat(), ["b", "c"]);
        sum.repeated(
            "b",
            &tally("test b ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored"),
        );
        sum.repeated(
            "c",
            &tally("test c ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored"),
        );
        assert_eq!(sum.to_string(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(
            (sum.failures, sum.unsteady),
            (vec!["c".into()], vec!["b".into()])
        );
        // Nothing ran: the name was not found, or the program was killed.
        let mut sum = tally(first);
        sum.repeated(
            "b",
            &tally("test result: ok. 0 passed; 0 failed; 0 ignored"),
        );
        sum.repeated("c", &tally(""));
        assert_eq!(sum.to_string(), "1 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn many_failures_and_a_run_that_was_cut_are_not_repeated() {
        let many: String = (0..6).map(|n| format!("test t{n} ... FAILED\n")).collect();
        let many = many + "test result: FAILED. 0 passed; 6 failed; 0 ignored";
        assert!(tally(&many).to_repeat().is_empty());
        let mut cut = tally("test a ... ok");
        cut.fail("tests: e2e: ended without a result");
        assert!(cut.to_repeat().is_empty());
    }

    #[test]
    fn a_test_that_was_skipped_while_it_ran_has_not_passed() {
        let mut sum = tally(
            "test a ... ok\ntest b ... ok\ntest c ... FAILED\n\
             test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured",
        );
        for late in ["a: no broker", "c: no broker", "elsewhere: no broker"] {
            sum.skipped_late(late);
        }
        assert_eq!(sum.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(sum.skips, ["a: no broker"]);
    }

    #[test]
    fn failed_tests_are_named() {
        let sum = tally("test a::b ... ok\ntest a::c ... FAILED");
        assert_eq!(sum.failures, ["a::c"]);
    }

    #[test]
    fn skip_reasons_of_both_test_harnesses_are_kept() {
        let sum = tally(
            "test one ... ignored, needs root\n\
             test two   ... ignored (no cgroup2)\n\
             test three ... ignored",
        );
        let expected = [
            "one: needs root",
            "two: no cgroup2",
            "three: no reason given",
        ];
        assert_eq!(sum.skips, expected);
    }

    #[test]
    fn a_result_after_the_tests_own_output_still_belongs_to_it() {
        let sum = tally("test noisy ... \nits output\nFAILED");
        assert_eq!(sum.failures, ["noisy"]);
    }

    #[test]
    fn output_without_tests_counts_nothing() {
        assert!(tally("running 0 tests\nhello").is_empty());
    }
}
