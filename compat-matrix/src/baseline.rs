//! `verifier/<id>.csv`: what the verifier counted when somebody last looked. Pure.

use anyhow::{Context, Result, ensure};

use crate::record::Verified;

/// The first line.
const HEAD: &str = "program,instructions,states,load_ms";

/// As it is written to a file.
#[must_use]
pub fn text(programs: &[Verified]) -> String {
    let mut programs: Vec<_> = programs.iter().collect();
    programs.sort_by(|a, b| a.program.cmp(&b.program));
    let mut text = format!("{HEAD}\n");
    for p in programs {
        text += &format!("{},{},{},{:.1}\n", p.program, p.insns, p.states, p.ms);
    }
    text
}

/// Reads a file.
///
/// # Errors
/// Names the line that is not as `bless` writes it.
pub fn parse(text: &str) -> Result<Vec<Verified>> {
    let mut lines = text.lines();
    ensure!(lines.next() == Some(HEAD), "the first line is not {HEAD:?}");
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(',').collect();
            let [program, insns, states, ms] = words[..] else {
                anyhow::bail!("{line:?}: not four values");
            };
            Ok(Verified {
                program: program.to_owned(),
                insns: insns.parse().with_context(|| line.to_owned())?,
                states: states.parse().with_context(|| line.to_owned())?,
                ms: ms.parse().with_context(|| line.to_owned())?,
            })
        })
        .collect()
}

/// Programs that grew by more than `percent`, that are new, or that are gone; with the words why.
#[must_use]
pub fn regressions(before: &[Verified], now: &[Verified], percent: u64) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for old in before {
        let Some(new) = now.iter().find(|new| new.program == old.program) else {
            found.push((old.program.clone(), "is not loaded any more".to_owned()));
            continue;
        };
        for (what, was, is) in [
            ("instructions", old.insns, new.insns),
            ("states", old.states, new.states),
        ] {
            // Kernels that do not tell a number say 0.
            if was > 0 && is * 100 > was * (100 + percent) {
                let words = format!("{is} {what}, more than {percent} % above {was}");
                found.push((old.program.clone(), words));
            }
        }
    }
    for new in now {
        if before.iter().all(|old| old.program != new.program) {
            found.push((new.program.clone(), "is new and not blessed".to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{parse, regressions, text};
    use crate::record::Verified;

    fn program(name: &str, insns: u64, states: u64) -> Verified {
        Verified {
            program: name.into(),
            insns,
            states,
            ms: 1.5,
        }
    }

    #[test]
    fn a_baseline_is_read_back_sorted() {
        let programs = [program("b", 10, 1), program("a", 20, 0)];
        let read = parse(&text(&programs)).unwrap();
        assert_eq!(read, [program("a", 20, 0), program("b", 10, 1)]);
        assert!(parse("x\n").is_err());
        assert!(parse(&text(&programs).replace("10,", "ten,")).is_err());
    }

    #[test]
    fn growth_above_the_threshold_a_new_and_a_lost_program_are_found() {
        let before = [
            program("a", 1000, 100),
            program("b", 10, 0),
            program("gone", 1, 0),
        ];
        let now = [
            program("a", 1100, 111),
            program("b", 10, 50),
            program("new", 1, 0),
        ];
        let found = regressions(&before, &now, 10);
        let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "gone", "new"]);
        assert!(found[0].1.contains("111 states"));
        assert_eq!(regressions(&before, &before, 0), []);
    }
}
