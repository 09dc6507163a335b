//! Walks all paths of a program as an old verifier does, and notes the shapes that only newer
//! ones take.
//!
//! It knows of each register and each byte of the stack what the verifier of 4.14 knows: bounds
//! of numbers without 32-bit ones, no memory of numbers on the stack, no decided comparisons but
//! with an equal constant. It does not repeat what every verifier says, because every object is
//! shown to one.
//!
//! A path ends where an earlier one came by that knew less of everything that was read after it,
//! which each node learns from the paths behind it. With a loop nobody knows that, so then all of
//! the state counts. The oldest kernels do not know it of the stack: there all counts that the
//! earlier path had written, and what else there is makes them walk more.

mod branch;
mod call;
mod memory;
mod step;
mod value;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::elf::{Code, Object, Program};
use crate::finding::Seen;
use crate::graph;
use crate::instruction::Operation;
use crate::kernel::Kernel;
use crate::relocation::Fitted;
use crate::table::{Floors, ProgramType};
use value::{Bytes, Value};

/// `BPF_COMPLEXITY_LIMIT_INSNS` of 4.14; the newest kernels have ten times more.
const STEPS: usize = 98_304;
/// The same since 5.2.
const STEPS_LONG: usize = 1_000_000;
/// Earlier visits that a new one is compared with, the latest first.
const COMPARED: usize = 64;
const REGISTERS: usize = 11;
const FRAME: u8 = 10;

/// What is known at one point of a path.
#[derive(Clone, Debug)]
struct State {
    registers: [Value; REGISTERS],
    /// Bytes of the stack that were written.
    written: Bytes,
    /// Those of them that a helper read since.
    shown: Bytes,
    /// Pointers that were put on the stack, by the eight bytes they fill.
    spilled: BTreeMap<usize, Value>,
}

/// What was read or written.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    registers: u16,
    stack: Bytes,
}

/// A point where paths meet, as one of them came by.
#[derive(Debug)]
struct Node {
    state: State,
    parent: Option<usize>,
    /// Written between the parent and here.
    wrote: Marks,
    /// Read behind here before it was written.
    read: Marks,
}

/// A path that is being walked.
#[derive(Clone, Debug)]
struct Path {
    at: usize,
    state: State,
    parent: Option<usize>,
    wrote: Marks,
}

/// A walk through one program or function.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    floors: &'a Floors,
    kernel: &'a Kernel,
    object: &'a Object,
    kind: Option<&'a ProgramType>,
    code: &'a Code,
    /// The function starts with the context in register 1.
    is_program: bool,
    /// The kernel decides comparisons by bounds, as those that take loops do.
    decides: bool,
    /// The kernel compares only those bytes of the stack that are read again.
    forgets: bool,
    has_loop: bool,
    /// What libbpf makes of relocated instructions on this kernel.
    fitted: BTreeMap<usize, Fitted>,
    meetings: BTreeSet<usize>,
    nodes: Vec<Node>,
    by_place: HashMap<usize, Vec<usize>>,
    pending: Vec<Path>,
    seen: BTreeSet<Seen>,
    steps: usize,
    depth: usize,
    ids: u32,
}

impl<'a> Walk<'a> {
    /// A walk through `code`, which is `program` itself or a function that it reaches.
    pub(crate) fn new(
        floors: &'a Floors,
        kernel: &'a Kernel,
        object: &'a Object,
        program: &'a Program,
        code: &'a Code,
    ) -> Self {
        Self {
            floors,
            kernel,
            object,
            kind: floors.program_type(&program.section),
            code,
            is_program: code.name == program.name,
            decides: floors.has_shape(kernel, "rolled-loop"),
            forgets: floors.has_shape(kernel, "unread-stack"),
            has_loop: !graph::shape(code).loops.is_empty(),
            fitted: code
                .relocated
                .iter()
                .map(|(at, relocation)| (*at, relocation.on(floors, kernel)))
                .collect(),
            meetings: meetings(code),
            nodes: Vec::new(),
            by_place: HashMap::new(),
            pending: Vec::new(),
            seen: BTreeSet::new(),
            steps: 0,
            depth: 0,
            ids: 0,
        }
    }

    /// Walks to the end of all paths.
    pub(crate) fn run(&mut self) {
        if self.has_loop && !self.decides {
            // Refused already, and the walk would not end.
            return;
        }
        let limit = match self.floors.has_shape(self.kernel, "long-program") {
            true => STEPS_LONG,
            false => STEPS,
        };
        let start = self.start();
        self.pending.push(start);
        while let Some(mut path) = self.pending.pop() {
            while !self.was_here(&mut path) {
                self.steps += 1;
                if self.steps > limit {
                    let what = format!("more than {limit} instructions on all paths together");
                    self.note("long-walk", path.at, what);
                    return;
                }
                if self.is_poisoned(path.at) || !self.step(&mut path) {
                    break;
                }
            }
        }
    }

    /// Instructions walked.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Bytes of stack used.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// What was seen.
    pub(crate) fn into_seen(self) -> BTreeSet<Seen> {
        self.seen
    }

    fn start(&self) -> Path {
        let mut registers = [Value::Unset; REGISTERS];
        match self.is_program {
            true => registers[1] = Value::Context(0),
            false => registers[1..=5].fill(Value::Unknown),
        }
        registers[usize::from(FRAME)] = Value::Stack { low: 0, high: 0 };
        Path {
            at: 0,
            state: State {
                registers,
                written: Bytes::default(),
                shown: Bytes::default(),
                spilled: BTreeMap::new(),
            },
            parent: None,
            wrote: Marks::default(),
        }
    }

    fn note(&mut self, shape: &'static str, index: usize, what: String) {
        self.seen.insert(Seen { shape, index, what });
    }

    /// Whether an earlier path already showed all that can follow; else remembers this one.
    fn was_here(&mut self, path: &mut Path) -> bool {
        if !self.meetings.contains(&path.at) {
            return false;
        }
        let here = self.by_place.entry(path.at).or_default();
        // Comparing with all of them would cost the square of a program with many ways.
        let known = here.iter().rev().take(COMPARED).copied().find(|node| {
            let node = &self.nodes[*node];
            let mut marks = if self.has_loop {
                Marks::all()
            } else {
                node.read
            };
            if !self.forgets {
                marks.stack = Bytes::all();
            }
            node.state.covers(&path.state, &marks)
        });
        if let Some(known) = known {
            let read = self.nodes[known].read;
            self.mark_read(path, read);
            return true;
        }
        let node = self.nodes.len();
        self.nodes.push(Node {
            state: path.state.clone(),
            parent: path.parent,
            wrote: std::mem::take(&mut path.wrote),
            read: Marks::default(),
        });
        self.by_place.entry(path.at).or_default().push(node);
        path.parent = Some(node);
        false
    }

    /// Tells every node before the path, up to where it was written, that this was read.
    fn mark_read(&mut self, path: &Path, read: Marks) {
        let mut left = read.without(&path.wrote);
        let mut next = path.parent;
        while let Some(index) = next {
            let node = &mut self.nodes[index];
            left = left.without(&node.read);
            if left.is_empty() {
                return;
            }
            node.read = node.read.with(&left);
            left = left.without(&node.wrote);
            next = node.parent;
        }
    }
}

impl State {
    /// Whether everything that holds here for what is marked holds for `other`, too.
    fn covers(&self, other: &Self, marks: &Marks) -> bool {
        let mut ids = HashMap::new();
        let registers = self.registers.iter().zip(&other.registers).enumerate();
        for (index, (own, others)) in registers {
            if marks.registers & (1 << index) != 0 && !own.covers(others, &mut ids) {
                return false;
            }
        }
        let missing = self.written.without(&other.written);
        let shown = other.shown.without(&self.shown);
        if !missing.with(&shown).and(&marks.stack).is_empty() {
            return false;
        }
        (0..Bytes::WORDS)
            .filter(|slot| marks.stack.has_any(slot * 8, 8))
            .all(
                |slot| match (self.spilled.get(&slot), other.spilled.get(&slot)) {
                    (Some(own), Some(others)) => own.covers(others, &mut ids),
                    (None, None) => true,
                    _ => false,
                },
            )
    }
}

impl Marks {
    fn all() -> Self {
        Self {
            registers: u16::MAX,
            stack: Bytes::all(),
        }
    }

    fn register(index: u8) -> Self {
        Self {
            registers: 1 << index,
            stack: Bytes::default(),
        }
    }

    fn stack(stack: Bytes) -> Self {
        Self {
            registers: 0,
            stack,
        }
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            registers: self.registers | other.registers,
            stack: self.stack.with(&other.stack),
        }
    }

    fn without(&self, other: &Self) -> Self {
        Self {
            registers: self.registers & !other.registers,
            stack: self.stack.without(&other.stack),
        }
    }

    fn is_empty(&self) -> bool {
        self.registers == 0 && self.stack.is_empty()
    }
}

/// Where jumps go.
fn meetings(code: &Code) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut at = 0;
    while let Some(slot) = code.slots.get(at) {
        let next = at + slot.length();
        let jumps = matches!(slot.operation(), Operation::Jump { .. });
        for to in graph::successors(code, at) {
            if jumps || to != next {
                found.insert(to);
            }
        }
        at = next;
    }
    found
}
