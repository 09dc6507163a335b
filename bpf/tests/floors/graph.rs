//! Where control goes: what is never reached, and where it goes back.

use crate::elf::Code;
use crate::instruction::Operation;

/// The instructions that may run next.
pub(crate) fn successors(code: &Code, at: usize) -> Vec<usize> {
    let Some(slot) = code.slots.get(at) else {
        return Vec::new();
    };
    let next = at + slot.length();
    let target = |offset: i64| i64::try_from(next).ok().map(|next| next + offset);
    let target = |offset: i64| target(offset).and_then(|to| usize::try_from(to).ok());
    match slot.operation() {
        Operation::Exit => Vec::new(),
        Operation::Jump { offset } => target(i64::from(offset)).into_iter().collect(),
        Operation::Compare { offset, .. } | Operation::MayJump { offset } => {
            [Some(next), target(i64::from(offset))]
                .into_iter()
                .flatten()
                .collect()
        }
        _ => vec![next],
    }
}

/// What a search from the first instruction finds.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// Jumps that close a loop: from, to.
    pub(crate) loops: Vec<(usize, usize)>,
    /// Instructions that are never reached: the first of each stretch.
    pub(crate) unreachable: Vec<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Searches depth first, as the verifier's `check_cfg()` does.
pub(crate) fn shape(code: &Code) -> Shape {
    let mut marks = vec![Mark::New; code.slots.len()];
    let mut found = Shape::default();
    let mut path = vec![(0, 0)];
    if let Some(first) = marks.first_mut() {
        *first = Mark::Open;
    }
    while let Some((at, branch)) = path.pop() {
        let Some(to) = successors(code, at).get(branch).copied() else {
            marks[at] = Mark::Done;
            continue;
        };
        path.push((at, branch + 1));
        match marks.get(to) {
            Some(Mark::New) => {
                marks[to] = Mark::Open;
                path.push((to, 0));
            }
            Some(Mark::Open) => found.loops.push((at, to)),
            Some(Mark::Done) | None => {}
        }
    }
    found.unreachable = unreachable(code, &marks);
    found
}

fn unreachable(code: &Code, marks: &[Mark]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut before = true;
    while let Some(slot) = code.slots.get(at) {
        let reached = marks[at] != Mark::New;
        if !reached && before {
            found.push(at);
        }
        before = reached;
        at += slot.length();
    }
    found
}
