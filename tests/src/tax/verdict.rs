//! What figures say. Pure.

use serde::Serialize;

/// Differences up to this, beyond those of equals, are not told from none.
const LEAST: f64 = 0.01;
/// With an A/A control worse than this, nobody can say that there is no difference.
const MOST_NOISE: f64 = 0.05;

/// What can be said of one call in one mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It costs the same.
    Free,
    /// It costs more, and by more than two measurements of the same thing differ.
    Taxed,
    /// It costs more, and so it does beside a packet socket that lets nothing through: the kernel
    /// clones what leaves a host before it asks any filter (`dev_queue_xmit_nit`, net/core/dev.c).
    PacketSocket,
    /// What the others are held against.
    Comparison,
    /// Two measurements of the same thing differ by too much.
    TooNoisy,
}

impl Verdict {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Taxed => "TAXED",
            Self::PacketSocket => "what the kernel takes for a packet socket, no more",
            Self::Comparison => "for comparison: a packet socket that lets nothing through",
            Self::TooNoisy => "no verdict: the A/A is worse than what is looked for",
        }
    }

    fn of(ratio: f64, noise: f64) -> Self {
        if ratio - 1.0 > noise + LEAST {
            Self::Taxed
        } else if noise > MOST_NOISE {
            Self::TooNoisy
        } else {
            Self::Free
        }
    }
}

/// One call in one mode.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) call: &'static str,
    pub(super) mode: &'static str,
    /// Nanoseconds without an agent, in the quietest phase.
    pub(super) off_ns: f64,
    /// Nanoseconds beside it, in the quietest phase.
    pub(super) on_ns: f64,
    /// The second to the first.
    pub(super) ratio: f64,
    /// By how much that of the control, which has no agent, differs from 1; or by how much the
    /// two quietest phases of one kind differ, if that is more: what was reached once is not sure.
    pub(super) noise: f64,
    pub(super) verdict: Verdict,
}

impl Figure {
    /// Of the rounds (nanoseconds before, beside and after the agent) and those of the control.
    ///
    /// What else runs on a machine only ever makes a phase slower, so the quietest ones are right.
    pub(super) fn of(
        call: &'static str,
        mode: &'static str,
        rounds: &[[f64; 3]],
        control: &[[f64; 3]],
    ) -> Self {
        let [(off_ns, off_gap), (on_ns, on_gap)] = quietest(rounds);
        let [(before, _), (after, _)] = quietest(control);
        let noise = (after / before - 1.0).abs().max(off_gap).max(on_gap);
        let ratio = on_ns / off_ns;
        Self {
            call,
            mode,
            off_ns,
            on_ns,
            ratio,
            noise,
            verdict: Verdict::of(ratio, noise),
        }
    }

    /// Who must have a packet socket is held against a bare one.
    pub(super) fn beside_what_must_be(mut self, bare: &Self) -> Self {
        let noise = self.noise.max(bare.noise);
        if self.verdict == Verdict::Taxed
            && Verdict::of(self.ratio / bare.ratio, noise) == Verdict::Free
        {
            self.verdict = Verdict::PacketSocket;
        }
        self
    }

    /// Nothing is to be said of it.
    pub(super) fn for_comparison(mut self) -> Self {
        self.verdict = Verdict::Comparison;
        self
    }
}

/// The least costs without and beside the agent, and the part by which the next ones are above.
fn quietest(rounds: &[[f64; 3]]) -> [(f64, f64); 2] {
    let two = |mut costs: Vec<f64>| {
        costs.sort_by(f64::total_cmp);
        match costs[..] {
            [least, next, ..] => (least, next / least - 1.0),
            _ => (f64::NAN, f64::INFINITY),
        }
    };
    let off = rounds
        .iter()
        .flat_map(|[before, _, after]| [*before, *after]);
    let on = rounds.iter().map(|[_, beside, _]| *beside);
    [two(off.collect()), two(on.collect())]
}

#[cfg(test)]
mod tests {
    use super::{Figure, Verdict};

    const QUIET: [[f64; 3]; 3] = [[100.0, 100.2, 100.0], [100.0, 100.1, 130.0], [140.0; 3]];

    fn verdict(beside: f64, control: &[[f64; 3]]) -> Verdict {
        let rounds = [[100.0, beside, 100.0]; 3];
        Figure::of("getppid", "sockops", &rounds, control).verdict
    }

    #[test]
    fn a_difference_counts_when_it_is_beyond_that_of_equals() {
        assert_eq!(verdict(100.4, &QUIET), Verdict::Free);
        assert_eq!(verdict(102.0, &QUIET), Verdict::Taxed);
        assert_eq!(verdict(133.0, &QUIET), Verdict::Taxed);
        // Cheaper is never a tax.
        assert_eq!(verdict(90.0, &QUIET), Verdict::Free);
    }

    #[test]
    fn who_must_have_a_packet_socket_pays_no_more_than_a_bare_one() {
        let beside = |cost: f64| {
            Figure::of(
                "UDP",
                "sockets",
                &[[100.0, cost, 100.0], [100.0, cost, 100.0]],
                &QUIET,
            )
        };
        let held = |cost: f64| beside(cost).beside_what_must_be(&beside(115.0)).verdict;
        assert_eq!(held(100.0), Verdict::Free);
        assert_eq!(held(115.4), Verdict::PacketSocket);
        assert_eq!(held(118.0), Verdict::Taxed);
    }

    #[test]
    fn where_equals_differ_by_more_than_what_is_looked_for_nothing_is_said() {
        let noisy = [[100.0, 110.0, 100.0], [100.0, 111.0, 100.0]];
        assert_eq!(verdict(100.0, &noisy), Verdict::TooNoisy);
        assert_eq!(verdict(109.0, &noisy), Verdict::TooNoisy);
        assert_eq!(verdict(150.0, &noisy), Verdict::Taxed);
    }

    #[test]
    fn a_phase_that_others_made_slow_is_left_out_and_one_quiet_phase_proves_nothing() {
        let busy = [
            [100.0, 300.0, 250.0],
            [190.0, 100.1, 100.2],
            [400.0, 100.3, 500.0],
        ];
        let figure = Figure::of("pipe", "tc-clone", &busy, &QUIET);
        assert_eq!((figure.off_ns, figure.on_ns), (100.0, 100.1));
        assert_eq!(figure.verdict, Verdict::Free);
        let once = [[100.0, 100.0, 150.0], [160.0, 170.0, 150.0]];
        assert_eq!(
            Figure::of("pipe", "sockops", &once, &QUIET).verdict,
            Verdict::TooNoisy
        );
        let one_round = [[100.0; 3]];
        assert_eq!(
            Figure::of("pipe", "sockops", &one_round, &QUIET).verdict,
            Verdict::TooNoisy
        );
    }
}
