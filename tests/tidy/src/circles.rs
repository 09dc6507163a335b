//! Modules of a crate depend on each other without circles.
//!
//! The graph is made of the paths that product code names, in `use`, in code and in what macros are
//! given, followed through imports and re-exports to the file that defines the name. A module that
//! only declares its children does not depend on them; one that re-exports them does.

mod crates;
mod graph;
mod source;

use crate::{Finding, Tree};
use graph::Graph;
use source::Sources;

/// Dependencies, from file to file, that may close a circle. To become fewer, and never more.
const ALLOWED: [(&str, &str); 0] = [];

pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let roots = crates::roots(tree).into_iter();
    roots
        .flat_map(|root| of_crate(tree, &root, &ALLOWED))
        .collect()
}

/// The circles of one crate, and what is allowed in it and closes none.
fn of_crate(tree: &Tree, root: &str, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let sources = match Sources::read(tree, root) {
        Ok(sources) => sources,
        Err(finding) => return vec![finding],
    };
    let mut graph = Graph::of(&sources);
    let mut findings = Vec::new();
    let own = |from: &str| sources.modules.values().any(|module| module.file == from);
    for (from, to) in allowed.iter().filter(|(from, _)| own(from)) {
        if !graph.closes_circle(from, to) {
            let message = format!("the dependency on {to} is allowed and closes no circle");
            findings.push(finding(from, message));
        }
    }
    for (from, to) in allowed {
        graph.remove(from, to);
    }
    for circle in graph.circles() {
        let steps = circle.iter().map(|step| {
            let names: Vec<&str> = step.names.iter().map(String::as_str).collect();
            format!("{} takes {} from {}", step.from, names.join(", "), step.to)
        });
        let steps: Vec<String> = steps.collect();
        let message = format!("a circle of modules: {}", steps.join("; "));
        findings.push(finding(&circle[0].from, message));
    }
    findings
}

fn finding(path: &str, message: String) -> Finding {
    Finding {
        path: path.to_owned(),
        line: 0,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::of_crate;
    use crate::tree;

    /// The circles of a crate of these files in `a/src/`.
    fn found(files: &[(&str, &str)], allowed: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, &str)> = files
            .iter()
            .map(|(path, text)| (format!("a/src/{path}"), *text))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), *t)).collect();
        let findings = of_crate(&tree(&files), "a/src/lib.rs", allowed);
        findings.into_iter().map(|f| f.message).collect()
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod one;\nmod two;\n");

    #[test]
    fn two_modules_that_name_each_other_are_a_circle() {
        let told = found(
            &[
                ROOT,
                ("one.rs", "use crate::two::B;\npub struct A(B);\n"),
                ("two.rs", "pub struct B;\nfn f(_: super::one::A) {}\n"),
            ],
            &[],
        );
        let expected = "a circle of modules: a/src/one.rs takes B from a/src/two.rs; \
                        a/src/two.rs takes A from a/src/one.rs";
        assert_eq!(told, [expected]);
    }

    #[test]
    fn one_direction_is_none_whatever_the_path() {
        for path in ["crate::one::A", "super::one::A", "crate::A"] {
            let root = ("lib.rs", "mod one;\nmod two;\npub use one::A;\n");
            let two = format!("fn f(_: {path}) {{}}\n");
            let files = [root, ("one.rs", "pub struct A;\n"), ("two.rs", &two)];
            assert_eq!(found(&files, &[]), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_child_that_takes_from_the_parent_that_uses_it_is_a_circle() {
        let files = [
            ("lib.rs", "mod one;\n"),
            (
                "one/mod.rs",
                "mod deep;\npub struct A;\nfn f() { deep::g() }\n",
            ),
            ("one/deep.rs", "use super::A;\npub fn g() { drop(A) }\n"),
        ];
        assert_eq!(found(&files, &[]).len(), 1);
        // Declared alone, the child may use what its parent has.
        let declared = ("one.rs", "mod deep;\npub struct A;\n");
        assert_eq!(found(&[files[0], declared, files[2]], &[]), [""; 0]);
        // Exported, it may not.
        let exported = ("one.rs", "mod deep;\npub use deep::g;\npub struct A;\n");
        assert_eq!(found(&[files[0], exported, files[2]], &[]).len(), 1);
    }

    #[test]
    fn a_name_is_where_it_is_defined_and_not_where_it_is_exported() {
        let files = [
            ("lib.rs", "mod one;\nmod two;\npub use one::A;\n"),
            ("one.rs", "pub struct A;\npub fn f() {}\n"),
            (
                "two.rs",
                "use crate::A as Other;\nfn g(_: Other) { Other::new() }\n",
            ),
        ];
        assert_eq!(found(&files, &[]), [""; 0]);
        let back = ("one.rs", "pub struct A;\npub fn f() { crate::two::g() }\n");
        assert_eq!(found(&[files[0], back, files[2]], &[]).len(), 1);
    }

    #[test]
    fn what_a_macro_is_given_counts_and_tests_do_not() {
        let one = (
            "one.rs",
            "pub fn f() { println!(\"{}\", crate::two::g()) }\n",
        );
        let circle = ("two.rs", "use crate::one;\npub fn g() { one::f() }\n");
        assert_eq!(found(&[ROOT, one, circle], &[]).len(), 1);
        let test = (
            "two.rs",
            "pub fn g() {}\n#[cfg(test)]\nmod tests {\nuse crate::one;\nfn g() { one::f() }\n}\n",
        );
        assert_eq!(found(&[ROOT, one, test], &[]), [""; 0]);
        let visible = (
            "two.rs",
            "pub(in crate::one) fn g() {}\npub(super) fn h() {}\n",
        );
        assert_eq!(found(&[ROOT, one, visible], &[]), [""; 0]);
    }

    #[test]
    fn other_crates_and_names_of_ones_own_lead_nowhere() {
        let one = (
            "one.rs",
            "mod log {\npub fn f() { super::g() }\n}\nfn g() { log::f() }\n",
        );
        let two = (
            "two.rs",
            "use std::one::A;\nfn two(a: A) { log::warn(a); one::f() }\n",
        );
        assert_eq!(found(&[ROOT, one, two], &[]), [""; 0]);
    }

    #[test]
    fn a_circle_of_three_is_told_once() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "pub fn f() { crate::b::f() }\n"),
            ("b.rs", "pub fn f() { crate::c::f() }\n"),
            ("c.rs", "pub fn f() { crate::a::f() }\n"),
        ];
        assert_eq!(found(&files, &[]).len(), 1);
    }

    #[test]
    fn what_is_allowed_is_no_finding_until_it_closes_no_circle() {
        let one = ("one.rs", "pub fn f() { crate::two::g() }\n");
        let two = ("two.rs", "pub fn g() { crate::one::f() }\n");
        let allowed = [("a/src/one.rs", "a/src/two.rs")];
        assert_eq!(found(&[ROOT, one, two], &allowed), [""; 0]);
        let told = found(&[ROOT, one, ("two.rs", "pub fn g() {}\n")], &allowed);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("closes no circle"));
    }

    #[test]
    fn modules_are_found_where_their_paths_say() {
        let root = "#[path = \"x/../other.rs\"]\nmod two;\nmod deep {\npub mod one;\n}\n";
        let files = [
            ("lib.rs", root),
            ("other.rs", "pub fn f() { crate::deep::one::f() }\n"),
            ("deep/one.rs", "pub fn f() { crate::two::f() }\n"),
        ];
        let found = found(&files, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("a/src/other.rs takes f"), "{found:?}");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert!(found(&[("lib.rs", "fn (")], &[])[0].contains("no Rust"));
        assert!(found(&[("lib.rs", "mod gone;\n")], &[])[0].contains("gone"));
    }
}
