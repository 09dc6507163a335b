//! Files of rules, whatever they say, on rows, whatever is in them: what `collector/fuzz` does for
//! hours, for a moment.

#[path = "../../fuzz/fuzz_targets/on_rows.rs"]
mod on_rows;

use proptest::prelude::*;

/// The files that ship.
const FILES: [&str; 8] = [
    include_str!("../../rules/collector.toml"),
    include_str!("../../rules/edge.toml"),
    include_str!("../../rules/event.toml"),
    include_str!("../../rules/fleet.toml"),
    include_str!("../../rules/listener.toml"),
    include_str!("../../rules/matrix.toml"),
    include_str!("../../rules/path.toml"),
    include_str!("../../rules/service.toml"),
];

/// Pieces of expressions that take the place of others.
const PUT: [&str; 12] = [
    "0",
    "usual(",
    "-",
    " / 0",
    "\"",
    "whole(",
    "1e308 *",
    "limit.least",
    "not ",
    "[[rule]]",
    "d(",
    "",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rules_that_ship_are_judged_on_any_rows(
        file in 0..FILES.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
    ) {
        prop_assert!(on_rows::judge(FILES[file], &bytes).is_some());
    }

    #[test]
    fn changed_ones_are_refused_or_judged(
        file in 0..FILES.len(),
        at in any::<prop::sample::Index>(),
        cut in 0..20_usize,
        put in 0..PUT.len(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let text = FILES[file];
        let begin = text.floor_char_boundary(at.index(text.len()));
        let end = text.floor_char_boundary((begin + cut).min(text.len()));
        let changed = format!("{}{}{}", &text[..begin], PUT[put], &text[end..]);
        // Most are refused; what is not must be judged without a panic.
        on_rows::judge(&changed, &bytes);
    }
}
