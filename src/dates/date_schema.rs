//! Which values of a document are dates: an automaton that is built once from the schema and then follows each document.
//!
//! A node stands for all schemas that apply to a value together ([`applied`](super::applied)), so a recursive schema becomes
//! a cycle, and the traversal of a document never looks at a schema.

use std::collections::{BTreeSet, HashMap, VecDeque};

use regex::bytes::Regex;
use serde_json::Value;

use super::Typed;
use super::applied::{Applied, Schemas};
use super::keywords::Step;
use super::value::{Form, Wanted};
use crate::json::pointer;

pub type NodeId = u32;

pub const ROOT: NodeId = 0;

/// The nodes, the root first. Edges that lead to no date are removed.
pub struct DateSchema {
    nodes: Vec<Node>,
}

#[derive(Default)]
pub struct Node {
    /// The form of the value itself, if it is a date.
    pub wanted: Option<Wanted>,
    /// Members by name, sorted. A member without a node is listed if `patterns` or `others` would match it.
    pub members: Vec<(Box<str>, Option<NodeId>)>,
    pub patterns: Vec<(Regex, Option<NodeId>)>,
    /// Members that are not listed and match no pattern.
    pub others: Option<NodeId>,
    /// The first items of an array.
    pub tuple: Vec<Option<NodeId>>,
    /// The items after `tuple`.
    pub items: Option<NodeId>,
    /// A date below is reachable through items, `patterns` and `others` alone.
    pub unnamed: bool,
}

impl DateSchema {
    /// None if the schema declares no date and nothing is cut.
    pub fn of(declared: &Value, typed: Typed, cut: &[String]) -> Option<Self> {
        let key = if let Typed::Key(key) = typed { key } else { &[] };
        let paths = cut.iter().chain(key).map(|it| pointer::steps(it)).collect();
        let mut builder = Builder {
            schemas: Schemas::new(declared),
            paths,
            cuts: cut.len(),
            all_typed: typed == Typed::All,
            ids: HashMap::new(),
            queue: VecDeque::new(),
        };
        let mut schema = Self { nodes: builder.build() };
        schema.prune();
        let root = schema.nodes.first()?;
        (root.unnamed || root.members.iter().any(|(_, it)| it.is_some())).then_some(schema)
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Removes edges that lead to no date, and sets `unnamed`.
    fn prune(&mut self) {
        let leads = self.reaches_date(|node| node.edges(true));
        for node in &mut self.nodes {
            for edge in node.edges_mut() {
                *edge = edge.filter(|&it| leads[it as usize]);
            }
        }
        let unnamed = self.reaches_date(|node| node.edges(false));
        for node in &mut self.nodes {
            let is_unnamed = node.edges(false).any(|it| unnamed[it as usize]);
            node.unnamed = is_unnamed;
            let all_named = node.others.is_none() && node.patterns.iter().all(|(_, it)| it.is_none());
            if all_named {
                node.patterns.clear();
                node.members.retain(|(_, it)| it.is_some());
            }
        }
    }

    /// For each node, whether it is a date or reaches one through `edges`.
    fn reaches_date<'a, I: Iterator<Item = NodeId>>(&'a self, edges: impl Fn(&'a Node) -> I) -> Vec<bool> {
        let mut from = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            edges(node).for_each(|to| from[to as usize].push(id));
        }
        let mut found: Vec<bool> = self.nodes.iter().map(|it| it.wanted.is_some()).collect();
        let mut queue: Vec<usize> = (0..found.len()).filter(|&it| found[it]).collect();
        while let Some(id) = queue.pop() {
            for &id in &from[id] {
                if !std::mem::replace(&mut found[id], true) {
                    queue.push(id);
                }
            }
        }
        found
    }
}

impl Node {
    /// The node of a member. Of a name that matches several patterns nothing is known: nodes exist for single patterns.
    #[inline]
    pub fn member(&self, name: &[u8]) -> Option<NodeId> {
        if let Ok(at) = self.members.binary_search_by(|(it, _)| it.as_bytes().cmp(name)) {
            return self.members[at].1;
        }
        let mut matching = self.patterns.iter().filter(|(it, _)| it.is_match(name));
        match (matching.next(), matching.next()) {
            (None, _) => self.others,
            (Some((_, node)), None) => *node,
            (Some(_), Some(_)) => None,
        }
    }

    /// The node of an item.
    #[inline]
    pub fn item(&self, index: usize) -> Option<NodeId> {
        self.tuple.get(index).copied().unwrap_or(self.items)
    }

    #[inline]
    pub fn has_members(&self) -> bool {
        !self.members.is_empty() || !self.patterns.is_empty() || self.others.is_some()
    }

    #[inline]
    pub fn has_items(&self) -> bool {
        self.items.is_some() || !self.tuple.is_empty()
    }

    /// The nodes of items and members, with or without those that are listed by name.
    pub fn edges(&self, named: bool) -> impl Iterator<Item = NodeId> {
        let members = self.members.iter().filter(move |_| named).map(|(_, it)| it);
        let patterns = self.patterns.iter().map(|(_, it)| it);
        let items = self.tuple.iter().chain([&self.others, &self.items]);
        members.chain(patterns).chain(items).filter_map(|it| *it)
    }

    fn edges_mut(&mut self) -> impl Iterator<Item = &mut Option<NodeId>> {
        let members = self.members.iter_mut().map(|(_, it)| it);
        let patterns = self.patterns.iter_mut().map(|(_, it)| it);
        members.chain(patterns).chain(&mut self.tuple).chain([&mut self.others, &mut self.items])
    }
}

/// What a node is built from.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct State {
    applied: Applied,
    /// Positions in the paths of cuts and of the key: (path, number of steps taken).
    paths: BTreeSet<(usize, usize)>,
}

struct Builder<'a> {
    schemas: Schemas<'a>,
    /// The paths to cut, then those of the key.
    paths: Vec<Vec<String>>,
    cuts: usize,
    all_typed: bool,
    ids: HashMap<State, NodeId>,
    queue: VecDeque<State>,
}

impl Builder<'_> {
    fn build(&mut self) -> Vec<Node> {
        let paths = (0..self.paths.len()).filter(|&it| !self.paths[it].is_empty()).map(|it| (it, 0)).collect();
        let root = State { applied: self.schemas.root(), paths };
        self.node(root);
        let mut nodes = Vec::new();
        while let Some(state) = self.queue.pop_front() {
            nodes.push(self.expand(&state));
        }
        nodes
    }

    /// The node of a state, if there can be a date. Nodes are expanded in the order of their ids.
    fn node(&mut self, state: State) -> Option<NodeId> {
        if !state.applied.may_demand() && state.paths.is_empty() {
            return None;
        }
        if let Some(node) = self.ids.get(&state) {
            return Some(*node);
        }
        let id = NodeId::try_from(self.ids.len()).ok()?;
        self.ids.insert(state.clone(), id);
        self.queue.push_back(state);
        Some(id)
    }

    fn expand(&mut self, state: &State) -> Node {
        let mut node = Node { wanted: self.wanted(state), ..Node::default() };
        let steps = self.schemas.steps(&state.applied);
        let next =
            |path: usize, steps: usize| self.paths[path].get(steps).map(|name| (name.clone(), (path, steps + 1)));
        let along: Vec<(String, (usize, usize))> =
            state.paths.iter().filter_map(|&(path, at)| next(path, at)).collect();
        let names: BTreeSet<&str> =
            steps.names.iter().copied().chain(along.iter().map(|(name, _)| name.as_str())).collect();
        for name in names {
            let applied = self.schemas.below(&state.applied, Step::Member(name));
            let paths = along.iter().filter(|(it, _)| it == name).map(|(_, it)| *it).collect();
            node.members.push((name.into(), self.node(State { applied, paths })));
        }
        let mut unnamed = |step: Step| {
            let applied = self.schemas.below(&state.applied, step);
            self.node(State { applied, paths: BTreeSet::new() })
        };
        for (pattern, regex) in steps.patterns {
            node.patterns.push((regex, unnamed(Step::Pattern(pattern))));
        }
        node.others = unnamed(Step::Other);
        node.tuple = (0..steps.tuple).map(|index| unnamed(Step::Item(index))).collect();
        node.items = unnamed(Step::Item(steps.tuple));
        node
    }

    fn wanted(&self, state: &State) -> Option<Wanted> {
        let ended = |&(path, steps): &(usize, usize)| steps == self.paths[path].len();
        if state.paths.iter().any(|it| it.0 < self.cuts && ended(it)) {
            return Some(Wanted { form: Form::Cut, numbers: true });
        }
        let is_key = state.paths.iter().any(|it| it.0 >= self.cuts && ended(it));
        self.schemas.wanted(&state.applied, self.all_typed || is_key)
    }
}
