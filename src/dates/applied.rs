//! The schemas that apply to one value, with the choices between them kept apart, and whether they demand a date.
//!
//! A value is a date only if every combination of branches that can hold says so. A branch that does not mention a member
//! allows anything there, so `oneOf`, `then` and `dependentSchemas` demand nothing unless all their alternatives do.
//! A rewrite must also keep a valid record valid: see [`Schemas::wanted`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regex::bytes::Regex;
use serde_json::{Map, Value};

use super::keywords::{self, Facts, Step, entries, list};
use super::value::{Form, Wanted};
use crate::schema;

/// Limits the work for schemas whose alternatives multiply. What exceeds it counts as undeclared.
const BUDGET: usize = 1_000_000;

/// Schemas in one [`Applied`], for the same reason.
const MAX_SIZE: usize = 1_000;

type SchemaId = u32;

/// Stands for a schema that could be violated by any change of the value or below it.
const FIXED: SchemaId = 0;

/// The schemas that apply to a value. Each id stands for the schema's own keywords, without the schemas that it
/// combines; empty means that nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Applied {
    always: BTreeSet<SchemaId>,
    choices: BTreeSet<Choice>,
    /// Schemas that may apply, or whose outcome selects others (`if`, `not`, `contains`): they demand nothing, and a
    /// rewrite must not change their outcome.
    optional: BTreeSet<SchemaId>,
}

/// Branches of which at least one applies; `exact`: not more than one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Choice {
    exact: bool,
    branches: BTreeSet<Applied>,
}

/// The steps that the schemas of a value distinguish.
#[derive(Default)]
pub struct Steps<'a> {
    pub names: BTreeSet<&'a str>,
    pub patterns: BTreeMap<&'a str, Regex>,
    /// The number of items that tuples declare one by one.
    pub tuple: usize,
}

/// What the schemas allow and declare of a scalar value.
#[derive(Clone, Copy, Default)]
struct Verdict {
    strings: bool,
    numbers: bool,
    /// Every valid string, every valid number, is declared a date.
    string_dates: bool,
    number_dates: bool,
    date: bool,
    date_time: bool,
    /// A schema restricts the text of the value.
    fixed: bool,
    /// A string in place of a valid number might be invalid.
    number_stays: bool,
}

impl Applied {
    fn one(id: SchemaId) -> Self {
        Self { always: BTreeSet::from([id]), ..Self::default() }
    }

    /// Whether there is anything that could demand a date here or below.
    pub fn may_demand(&self) -> bool {
        !self.always.is_empty() || !self.choices.is_empty()
    }

    fn and(&mut self, other: Self) {
        self.always.extend(other.always);
        self.choices.extend(other.choices);
        self.optional.extend(other.optional);
    }

    fn size(&self) -> usize {
        let choices = self.choices.iter().flat_map(|it| &it.branches).map(Self::size).sum::<usize>();
        self.always.len() + self.optional.len() + choices
    }

    /// Calls `f` with every id, those of branches included.
    fn each(&self, f: &mut impl FnMut(SchemaId)) {
        self.always.iter().chain(&self.optional).for_each(|it| f(*it));
        self.choices.iter().flat_map(|it| &it.branches).for_each(|it| it.each(f));
    }

    /// At least one of `branches` applies; `None` is a branch that no value satisfies.
    fn any_of(branches: Vec<Option<Self>>, exact: bool) -> Option<Self> {
        let mut branches: BTreeSet<Self> = branches.into_iter().flatten().collect();
        if branches.len() < 2 {
            return branches.pop_first();
        }
        if branches.iter().all(Self::may_demand) {
            return Some(Self { choices: BTreeSet::from([Choice { exact, branches }]), ..Self::default() });
        }
        // One branch says nothing, so the others demand nothing.
        let mut optional = BTreeSet::new();
        branches.iter().for_each(|it| it.each(&mut |id| optional.extend([id])));
        Some(Self { optional, ..Self::default() })
    }
}

pub struct Schemas<'a> {
    root: &'a Value,
    /// By id; [`FIXED`] has no schema.
    all: Vec<(Option<&'a Map<String, Value>>, Facts<'a>)>,
    ids: HashMap<*const Map<String, Value>, SchemaId>,
    budget: usize,
}

impl<'a> Schemas<'a> {
    pub fn new(root: &'a Value) -> Self {
        Self { root, all: vec![(None, Facts::fixed())], ids: HashMap::new(), budget: BUDGET }
    }

    /// What applies to a document.
    pub fn root(&mut self) -> Applied {
        let applied = self.expand(self.root, &mut Vec::new());
        self.bounded(applied.unwrap_or_default())
    }

    fn id(&mut self, schema: &'a Map<String, Value>) -> SchemaId {
        if let Some(id) = self.ids.get(&std::ptr::from_ref(schema)) {
            return *id;
        }
        let id = SchemaId::try_from(self.all.len()).unwrap_or(FIXED);
        self.all.push((Some(schema), Facts::of(schema)));
        self.ids.insert(schema, id);
        id
    }

    fn facts(&self, id: SchemaId) -> &Facts<'a> {
        &self.all[id as usize].1
    }

    fn spend(&mut self) -> bool {
        let left = self.budget > 0;
        self.budget = self.budget.saturating_sub(1);
        left
    }

    /// An [`Applied`] that is too large to follow demands nothing.
    fn bounded(&self, applied: Applied) -> Applied {
        if self.budget > 0 && applied.size() <= MAX_SIZE { applied } else { Applied::default() }
    }

    /// A schema with those that it combines; none if no value satisfies it. `open` are the schemas around it: a reference
    /// to one of them adds nothing.
    fn expand(&mut self, schema: &'a Value, open: &mut Vec<SchemaId>) -> Option<Applied> {
        let map = match schema {
            Value::Object(map) => map,
            Value::Bool(false) => return None,
            _ => return Some(Applied::default()),
        };
        if !self.spend() {
            return Some(Applied::one(FIXED));
        }
        let id = self.id(map);
        if open.contains(&id) {
            return Some(Applied::default());
        }
        open.push(id);
        let applied = self.combined(id, map, open);
        open.pop();
        applied
    }

    fn combined(&mut self, id: SchemaId, map: &'a Map<String, Value>, open: &mut Vec<SchemaId>) -> Option<Applied> {
        let mut applied = if self.facts(id).says_something() { Applied::one(id) } else { Applied::default() };
        let target = map.get("$ref").and_then(Value::as_str).and_then(|it| schema::find_ref(self.root, it));
        for schema in target.into_iter().chain(list(map, "allOf")) {
            applied.and(self.expand(schema, open)?);
        }
        for (keyword, exact) in [("anyOf", false), ("oneOf", true)] {
            let branches: Vec<_> = list(map, keyword).map(|it| self.expand(it, open)).collect();
            if !branches.is_empty() {
                applied.and(Applied::any_of(branches, exact)?);
            }
        }
        if let Some(condition) = map.get("if") {
            self.add_optional(condition, &mut applied.optional);
            let branches = ["then", "else"].map(|it| match map.get(it) {
                Some(schema) => self.expand(schema, open),
                None => Some(Applied::default()),
            });
            applied.and(Applied::any_of(branches.into(), false)?);
        }
        let dependent = ["dependentSchemas", "dependencies"].into_iter().flat_map(|it| entries(map, it));
        for schema in dependent.map(|(_, it)| it).chain(map.get("not")) {
            self.add_optional(schema, &mut applied.optional);
        }
        Some(applied)
    }

    /// Adds a schema and all that it combines, whatever the combination.
    fn add_optional(&mut self, schema: &'a Value, optional: &mut BTreeSet<SchemaId>) {
        let mut open = vec![schema];
        let mut seen = BTreeSet::new();
        while let Some(schema) = open.pop() {
            let Some(map) = schema.as_object() else { continue };
            if !self.spend() {
                optional.insert(FIXED);
                return;
            }
            let id = self.id(map);
            if !seen.insert(id) {
                continue;
            }
            if self.facts(id).says_something() {
                optional.insert(id);
            }
            let target = map.get("$ref").and_then(Value::as_str).and_then(|it| schema::find_ref(self.root, it));
            let lists = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|it| list(map, it));
            let single = ["if", "then", "else", "not"].into_iter().filter_map(|it| map.get(it));
            let dependent = ["dependentSchemas", "dependencies"].into_iter().flat_map(|it| entries(map, it));
            open.extend(target.into_iter().chain(lists).chain(single).chain(dependent.map(|(_, it)| it)));
        }
    }

    pub fn steps(&self, applied: &Applied) -> Steps<'a> {
        let mut steps = Steps::default();
        applied.each(&mut |id| {
            let facts = self.facts(id);
            steps.names.extend(facts.properties().map(|(name, _)| name.as_str()));
            for (pattern, regex, _) in &facts.patterns {
                if let Some(regex) = regex {
                    steps.patterns.entry(pattern).or_insert_with(|| regex.clone());
                }
            }
            steps.tuple = steps.tuple.max(facts.tuple.len());
        });
        steps
    }

    /// What applies one step below.
    pub fn below(&mut self, applied: &Applied, step: Step) -> Applied {
        let below = self.step(applied, step);
        // Where no value is valid, none is a date.
        self.bounded(below.unwrap_or_default())
    }

    fn step(&mut self, applied: &Applied, step: Step) -> Option<Applied> {
        let mut below = Applied::default();
        for &id in &applied.always {
            let found = keywords::below(self.facts(id), step);
            if !found.is_possible {
                return None;
            }
            if found.is_fixed {
                below.optional.insert(FIXED);
            }
            for schema in found.always {
                below.and(self.expand(schema, &mut Vec::new())?);
            }
            found.optional.into_iter().for_each(|it| self.add_optional(it, &mut below.optional));
            if !self.spend() {
                return None;
            }
        }
        for choice in &applied.choices {
            let branches = choice.branches.iter().map(|it| self.step(it, step)).collect();
            below.and(Applied::any_of(branches, choice.exact)?);
        }
        for &id in &applied.optional {
            let found = keywords::below(self.facts(id), step);
            if found.is_fixed {
                below.optional.insert(FIXED);
            }
            let schemas = found.always.into_iter().chain(found.optional);
            schemas.for_each(|it| self.add_optional(it, &mut below.optional));
            if !self.spend() {
                return None;
            }
        }
        Some(below)
    }

    /// The form that is demanded of a value, if it is a date. `typed`: a number that is declared as one stays a number,
    /// even if it is a date.
    pub fn wanted(&self, applied: &Applied, typed: bool) -> Option<Wanted> {
        let it = self.verdict(applied, typed);
        if it.fixed || !it.string_dates {
            return None;
        }
        let form = match (it.date_time, it.date) {
            (true, true) => Form::Either,
            (true, false) => Form::DateTime,
            (false, true) => Form::Date,
            (false, false) => return None,
        };
        Some(Wanted { form, numbers: !it.numbers || (it.number_dates && !it.number_stays) })
    }

    fn verdict(&self, applied: &Applied, typed: bool) -> Verdict {
        let mut it = Verdict { strings: true, numbers: true, ..Verdict::default() };
        for facts in applied.always.iter().map(|id| self.facts(*id)) {
            it.strings &= facts.strings;
            it.numbers &= facts.numbers;
            it.date |= facts.date;
            it.date_time |= facts.date_time;
            it.fixed |= facts.fixed;
        }
        it.string_dates = it.date || it.date_time;
        it.number_dates = it.string_dates;
        it.number_stays = it.numbers && !it.strings && (typed || !it.number_dates);
        for choice in &applied.choices {
            self.choose(choice, typed, &mut it);
        }
        for facts in applied.optional.iter().map(|id| self.facts(*id)) {
            it.fixed |= facts.fixed;
            it.number_stays |= facts.strings != facts.numbers;
        }
        it
    }

    fn choose(&self, choice: &Choice, typed: bool, it: &mut Verdict) {
        let branches: Vec<Verdict> = choice.branches.iter().map(|it| self.verdict(it, typed)).collect();
        let with_strings = branches.iter().filter(|it| it.strings).count();
        let has_numbers = branches.iter().any(|it| it.numbers);
        it.strings &= with_strings > 0;
        it.numbers &= has_numbers;
        let mut scalar = branches.iter().filter(|it| if with_strings > 0 { it.strings } else { it.numbers }).peekable();
        it.string_dates |= scalar.peek().is_some() && scalar.all(|it| it.string_dates);
        it.number_dates |= has_numbers && branches.iter().filter(|it| it.numbers).all(|it| it.number_dates);
        for branch in branches.iter().filter(|it| it.strings || it.numbers) {
            it.date |= branch.date;
            it.date_time |= branch.date_time;
            it.fixed |= branch.fixed && branch.strings;
            it.number_stays |= branch.number_stays || branch.fixed;
        }
        // A string might satisfy a second branch.
        let differ = branches.iter().any(|it| it.strings != it.numbers);
        it.number_stays |= choice.exact && has_numbers && differ && with_strings > 1;
    }
}
