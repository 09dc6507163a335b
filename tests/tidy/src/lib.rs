//! The architecture rules of Waybill, checked on the source tree.
//!
//! A rule is a pure function from a [`Tree`] to [`Finding`]s; each has a test in which it fails.
//! But for circles of modules it looks at text, not at syntax: it is here to catch slips early, in a
//! second and without building the product. What a compiler lint can check is left to the lint.
//! `cargo xtask tidy` runs all rules, and so does the test suite of `xtask`.

#![forbid(unsafe_code)]

pub mod documents;

mod budgets;
mod circles;
mod dependencies;
mod families;
mod hooks;
mod imports;
mod layout;
mod machine;
mod npm;
mod rust;
mod tree;
mod words;

#[cfg(test)]
use tree::tree;
pub use tree::{File, Finding, Tree};

/// Every rule, on the whole tree.
#[must_use]
pub fn check(tree: &Tree) -> Vec<Finding> {
    let rules = [
        budgets::check,
        circles::check,
        dependencies::check,
        documents::check,
        families::check,
        hooks::check,
        imports::check,
        layout::check,
        machine::check,
        npm::check,
        rust::check,
        words::check,
    ];
    rules.iter().flat_map(|rule| rule(tree)).collect()
}
