//! What is wrong with an edge, in words: which causes its numbers rule out, which are likely, and
//! which nobody can judge because nobody measured. Pure: the facts are values ([`Scene`]).
//!
//! A cause is ruled out only by a number that was measured and would show it; what is absent makes
//! it unknown.

mod ends;
mod judge;
mod narrow;
mod opening;
mod path;
mod scene;
mod spread;
mod statement;
mod words;

pub use scene::{Agent, Flow, Gateway, Listening, Place, Scene, Sibling};
pub use statement::{Cause, Diagnosis, Number, Share, Statement, Verdict};
pub use words::Language;

/// Judges an edge.
#[must_use]
pub fn diagnose(scene: &Scene, language: Language) -> Diagnosis {
    let mut found = Vec::new();
    opening::judge(scene, &mut found);
    path::judge(scene, &mut found);
    ends::judge(scene, &mut found);
    found.push(narrow::judge(scene));
    found.extend(spread::judge(scene));
    found.sort_by(|a, b| {
        let by_weight = b.weight.total_cmp(&a.weight);
        a.verdict.cmp(&b.verdict).then(by_weight)
    });
    let (siblings, siblings_left_out) = spread::shares(&scene.siblings);
    Diagnosis {
        headline: words::headline(scene, &found, language),
        statements: found
            .into_iter()
            .map(|one| words::statement(scene, one, language))
            .collect(),
        siblings,
        siblings_left_out,
    }
}

#[cfg(test)]
mod spread_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod words_tests;
