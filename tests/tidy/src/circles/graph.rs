//! Which file of a crate takes names from which, and where that leads back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{Module, Place, Sources};

/// Imports of imports that are followed: nobody exports a name so often.
const MAX_STEPS: usize = 32;

/// Files, what each depends on, and the names that it takes from there.
#[derive(Debug, Default)]
pub(super) struct Graph {
    edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// One dependency of a circle.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) names: BTreeSet<String>,
}

impl Graph {
    pub(super) fn of(sources: &Sources) -> Self {
        let mut graph = Self::default();
        for (place, module) in &sources.modules {
            for path in &module.paths {
                let Some(to) = resolve(sources, place, path, MAX_STEPS) else {
                    continue;
                };
                let to = &sources.modules[&to].file;
                if *to != module.file {
                    let all = graph.edges.entry(module.file.clone()).or_default();
                    let names = all.entry(to.clone()).or_default();
                    names.extend(path.last().cloned());
                }
            }
        }
        graph
    }

    pub(super) fn remove(&mut self, from: &str, to: &str) {
        if let Some(all) = self.edges.get_mut(from) {
            all.remove(to);
        }
    }

    /// Whether a dependency is part of a circle.
    pub(super) fn closes_circle(&self, from: &str, to: &str) -> bool {
        let depends = self.edges.get(from).is_some_and(|all| all.contains_key(to));
        depends && self.way(to, from).is_some()
    }

    /// A shortest circle of each group of files that depend on each other.
    pub(super) fn circles(&self) -> Vec<Vec<Step>> {
        let mut told: BTreeSet<&str> = BTreeSet::new();
        let mut circles = Vec::new();
        for (from, all) in &self.edges {
            if told.contains(from.as_str()) {
                continue;
            }
            let ways = all.keys().filter_map(|to| self.way(to, from));
            let Some(way) = ways.min_by_key(Vec::len) else {
                continue;
            };
            let group = self.edges.keys().map(String::as_str);
            let group = group
                .filter(|other| self.way(from, other).is_some() && self.way(other, from).is_some());
            told.extend(group);
            let mut files = vec![from.as_str()];
            files.extend(way);
            circles.push(files.windows(2).map(|pair| self.step(pair)).collect());
        }
        circles
    }

    fn step(&self, pair: &[&str]) -> Step {
        Step {
            from: pair[0].to_owned(),
            to: pair[1].to_owned(),
            names: self.edges[pair[0]][pair[1]].clone(),
        }
    }

    /// The files on a shortest way, both ends among them.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::from([(from, from)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let mut way = vec![at];
                while way[way.len() - 1] != from {
                    way.push(before[way[way.len() - 1]]);
                }
                way.reverse();
                return Some(way);
            }
            for next in self.edges.get(at).into_iter().flat_map(BTreeMap::keys) {
                if !before.contains_key(next.as_str()) {
                    before.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        None
    }
}

/// The module that defines what a path in a module leads to; `None` for other crates, and for names
/// of the module's own.
fn resolve(sources: &Sources, from: &Place, path: &[String], steps: usize) -> Option<Place> {
    let steps = steps.checked_sub(1)?;
    let mut place = from.clone();
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        match first.as_str() {
            "crate" => place.clear(),
            "super" => drop(place.pop()?),
            "self" => {}
            _ => break,
        }
        rest = others;
    }
    let absolute = rest.len() < path.len();
    let mut moved = absolute;
    while let Some((first, others)) = rest.split_first() {
        let child: Place = place.iter().chain([first]).cloned().collect();
        if sources.modules.contains_key(&child) {
            place = child;
        } else {
            let module = sources.modules.get(&place)?;
            if let Some(import) = import(module, first, path) {
                let whole: Vec<String> = import.iter().chain(others).cloned().collect();
                return resolve(sources, &place, &whole, steps);
            }
            break;
        }
        moved = true;
        rest = others;
    }
    moved.then_some(place)
}

/// What a name stands for in a module, where that is more than the path at hand says.
fn import<'a>(module: &'a Module, name: &str, path: &[String]) -> Option<&'a Vec<String>> {
    module.imports.get(name).filter(|found| *found != path)
}
