//! No family that is on by default hangs on system calls: the kernel takes the slow way through every
//! call of every process as soon as one program does (`SYSCALL_WORK_SYSCALL_TRACEPOINT`, set for all
//! tasks by `syscall_regfunc()`), whatever the program then looks at.

use crate::{Finding, Tree};

/// Programs, and the tables from which they are attached.
const WITHIN: [&str; 3] = ["agent/src/", "bpf/core/", "bpf/families/"];

/// Files and folders of families that an operator must switch on, and that tell him what it costs.
const OFF_BY_DEFAULT: [&str; 0] = [];

/// In a text: a section, or the name of a tracepoint in any of its spellings.
const IN_TEXTS: [&str; 5] = [
    "sys_enter",
    "sys_exit",
    "syscalls/",
    "syscalls:",
    "raw_syscalls",
];

/// In code: libbpf's own names for them.
const IN_CODE: [&str; 2] = [
    "TracepointCategory::Syscalls",
    "TracepointCategory::RawSyscalls",
];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    check_but(tree, &OFF_BY_DEFAULT)
}

fn check_but(tree: &Tree, off_by_default: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = |path: &str| [".c", ".h", ".rs"].iter().any(|end| path.ends_with(end));
    for file in tree.files.iter().filter(|file| ours(&file.path)) {
        if !file.is_within(&WITHIN) || file.is_within(off_by_default) {
            continue;
        }
        for (at, line) in file.lines() {
            if hangs_on_system_calls(line) {
                findings.push(file.finding(
                    at,
                    "a program on system calls makes every call of every process slower: find \
                     another hook, or a family that is off by default",
                ));
            }
        }
    }
    findings
}

fn hangs_on_system_calls(line: &str) -> bool {
    let code = line.trim_start();
    if ["//", "/*", "* "]
        .iter()
        .any(|begin| code.starts_with(begin))
    {
        return false;
    }
    let mut texts = code.split('"').skip(1).step_by(2);
    IN_CODE.iter().any(|name| code.contains(name))
        || texts.any(|text| text == "syscalls" || IN_TEXTS.iter().any(|name| text.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::{check, check_but};
    use crate::tree;

    #[test]
    fn every_way_to_hang_on_system_calls_is_found() {
        let sections = [
            "tp/syscalls/sys_exit_accept",
            "tracepoint/syscalls/sys_enter_write",
            "tracepoint/raw_syscalls/sys_enter",
            "raw_tp/sys_enter",
            "raw_tracepoint/sys_exit",
            "raw_tp.w/sys_exit",
            "tp_btf/sys_enter",
        ];
        for section in sections {
            let text = format!("SEC(\"{section}\")\nint f(void *c) {{ return 0; }}\n");
            for path in [
                "bpf/families/a/a.bpf.c",
                "bpf/core/a.bpf.h",
                "bpf/families/f/a.bpf.c",
            ] {
                let found = check(&tree(&[(path, &text)]));
                assert_eq!(found.len(), 1, "{section} in {path}");
                assert_eq!(found[0].line, 1);
            }
        }
        let rust = "program.attach_raw_tracepoint(\"sys_enter\")\n\
                    program.attach_tracepoint(TracepointCategory::Syscalls, name)\n\
                    custom(\"syscalls\", name)\n\
                    const TRACEPOINTS: [&str; 1] = [\"syscalls/sys_exit_accept\"];\n\
                    const PERF: &str = \"syscalls:sys_enter_read\";\n";
        let found = check(&tree(&[("agent/src/loader.rs", rust)]));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_hangs_elsewhere_or_only_speaks_of_it_is_not() {
        let text = "/* not tp/syscalls/sys_exit_accept */\n * \"raw_tp/sys_enter\" costs\n\
                    // \"sys_exit\"\nSEC(\"raw_tp/tcp_rcv_space_adjust\")\n\
                    SEC(\"kprobe/security_sock_graft\")\n";
        assert!(check(&tree(&[("bpf/families/a/a.bpf.c", text)])).is_empty());
        // What old verifiers refuse is never attached.
        let refused = [("bpf/tests/refused/a.bpf.c", "SEC(\"raw_tp/sys_enter\")\n")];
        assert!(check(&tree(&refused)).is_empty());
    }

    #[test]
    fn a_family_that_is_off_by_default_may() {
        let files = [
            (
                "bpf/families/requests/a.bpf.c",
                "SEC(\"raw_tp/sys_exit\")\n",
            ),
            ("bpf/families/other/a.bpf.c", "SEC(\"raw_tp/sys_exit\")\n"),
        ];
        let found = check_but(&tree(&files), &["bpf/families/requests/"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "bpf/families/other/a.bpf.c");
    }
}
