//! What the tests ask of a machine is what `ci/deps` installs.

use crate::{Finding, Tree};

/// The script that installs what a machine lacks; its table has a line `| command X |` for each.
const DEPS: &str = "ci/deps";

/// How a trial says that it needs a program.
const NEED: &str = "Need::Program(\"";

/// Programs of packages that no Debian is without.
const ALWAYS_THERE: [&str; 2] = ["ldd", "md5sum"];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(deps) = tree.file(DEPS) else {
        return Vec::new();
    };
    let installed: Vec<&str> = deps
        .text
        .lines()
        .filter_map(|line| {
            let probe = line.split('|').nth(1)?.trim();
            let program = probe.strip_prefix("command ")?;
            // The compiler can have another name: ${CLANG:-clang-19}.
            let default = program.split_once(":-").map_or(program, |(_, name)| name);
            Some(default.trim_end_matches('}'))
        })
        .collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        if file.is_within(&["tests/tidy/"]) {
            continue;
        }
        for (at, line) in file.lines() {
            for rest in line.split(NEED).skip(1) {
                let program = rest.split('"').next().unwrap_or(rest);
                if !installed.contains(&program) && !ALWAYS_THERE.contains(&program) {
                    let message = format!("{program} is needed here, and {DEPS} does not know it");
                    findings.push(file.finding(at, message));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tree;

    #[test]
    fn a_program_that_nobody_installs_is_found() {
        let deps = "needs\ncurl | command curl | x\nclang-19 | command ${CLANG:-clang-19} | x\n";
        let trial = "&[Need::Program(\"curl\"), Need::Program(\"ldd\")]\n\
                     &[Need::Program(\"clang-19\"), Need::Program(\"socat\")]\n";
        let found = check(&tree(&[("ci/deps", deps), ("tests/e2e/a.rs", trial)]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        assert!(found[0].message.starts_with("socat"));
    }
}
