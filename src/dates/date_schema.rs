//! Where in a document dates are: the schema as an automaton that reads the way to a value.
//!
//! A place stands for all the schemas that apply there together (references, intersections and alternatives followed), so
//! that a recursive schema makes a circle and a walk never looks at a schema again.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use regex::bytes::Regex;
use serde_json::{Map, Value};

use super::Typed;
use super::value::{Form, Wanted};
use crate::json::pointer;
use crate::schema;

/// Schemas to look at before the rest counts as undeclared: alternatives of alternatives can multiply without end.
const BUDGET: usize = 1_000_000;

pub type PlaceId = u32;

pub const ROOT: PlaceId = 0;

/// Places, the root first. What leads to no date is left out.
pub struct Plan {
    places: Vec<Place>,
}

#[derive(Default)]
pub struct Place {
    pub wanted: Option<Wanted>,
    /// Members by name, in its order; those without a place are named because the others have one.
    pub members: Vec<(Box<str>, Option<PlaceId>)>,
    pub patterns: Vec<(Regex, Option<PlaceId>)>,
    /// Members that are not named.
    pub others: Option<PlaceId>,
    pub tuple: Vec<Option<PlaceId>>,
    /// Items behind the tuple.
    pub items: Option<PlaceId>,
    /// A date is in here with no member's name on the way to it.
    pub unnamed: bool,
}

impl Plan {
    pub fn of(declared: &Value, typed: Typed, cut: &[String]) -> Option<Self> {
        let key = if let Typed::Key(key) = typed { key } else { &[] };
        let paths = cut.iter().chain(key).map(|it| pointer::steps(it)).collect();
        let mut builder = Builder {
            root: declared,
            paths,
            cuts: cut.len(),
            all_typed: typed == Typed::All,
            schemas: Vec::new(),
            ids: HashMap::new(),
            found: HashMap::new(),
            queue: VecDeque::new(),
            budget: BUDGET,
        };
        let places = builder.build();
        let mut plan = Self { places };
        plan.prune();
        let root = plan.places.first()?;
        (root.unnamed || root.members.iter().any(|(_, it)| it.is_some())).then_some(plan)
    }

    pub fn place(&self, id: PlaceId) -> &Place {
        &self.places[id as usize]
    }

    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// Takes the ways away that lead to no date, and finds those to dates without a name on them.
    fn prune(&mut self) {
        let leads = self.closure(|place| place.ways(true));
        for place in &mut self.places {
            for way in place.ways_mut() {
                *way = way.filter(|&it| leads[it as usize]);
            }
        }
        let unnamed = self.closure(|place| place.ways(false));
        for place in &mut self.places {
            let is_unnamed = place.ways(false).any(|it| unnamed[it as usize]);
            place.unnamed = is_unnamed;
            let all_named = place.others.is_none() && place.patterns.iter().all(|(_, it)| it.is_none());
            if all_named {
                place.patterns.clear();
                place.members.retain(|(_, it)| it.is_some());
            }
        }
    }

    /// Which places are dates, or have one at the end of `ways`.
    fn closure<'a, I: Iterator<Item = PlaceId>>(&'a self, ways: impl Fn(&'a Place) -> I) -> Vec<bool> {
        let mut from = vec![Vec::new(); self.places.len()];
        for (id, place) in self.places.iter().enumerate() {
            ways(place).for_each(|to| from[to as usize].push(id));
        }
        let mut found: Vec<bool> = self.places.iter().map(|it| it.wanted.is_some()).collect();
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

impl Place {
    /// The place of a member.
    #[inline]
    pub fn member(&self, name: &[u8]) -> Option<PlaceId> {
        if let Ok(at) = self.members.binary_search_by(|(it, _)| it.as_bytes().cmp(name)) {
            return self.members[at].1;
        }
        let pattern = self.patterns.iter().find(|(it, _)| it.is_match(name));
        pattern.map_or(self.others, |(_, place)| *place)
    }

    /// The place of an item.
    #[inline]
    pub fn item(&self, index: usize) -> Option<PlaceId> {
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

    /// Members that are told by something else than their name, and items: the places that they are in.
    pub fn ways(&self, named: bool) -> impl Iterator<Item = PlaceId> {
        let members = self.members.iter().filter(move |_| named).map(|(_, it)| it);
        let patterns = self.patterns.iter().map(|(_, it)| it);
        let items = self.tuple.iter().chain([&self.others, &self.items]);
        members.chain(patterns).chain(items).filter_map(|it| *it)
    }

    fn ways_mut(&mut self) -> impl Iterator<Item = &mut Option<PlaceId>> {
        let members = self.members.iter_mut().map(|(_, it)| it);
        let patterns = self.patterns.iter_mut().map(|(_, it)| it);
        members.chain(patterns).chain(&mut self.tuple).chain([&mut self.others, &mut self.items])
    }
}

/// One of the things that apply at a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Schema(usize),
    /// A schema that others may hold instead of.
    Alternative(usize),
    /// So many steps along one of the paths.
    Path {
        path: usize,
        steps: usize,
    },
}

type Parts = BTreeSet<Part>;

struct Builder<'a> {
    root: &'a Value,
    /// What is cut, and behind that the key.
    paths: Vec<Vec<String>>,
    cuts: usize,
    all_typed: bool,
    schemas: Vec<&'a Map<String, Value>>,
    ids: HashMap<*const Map<String, Value>, usize>,
    found: HashMap<Parts, PlaceId>,
    queue: VecDeque<Parts>,
    budget: usize,
}

impl<'a> Builder<'a> {
    fn build(&mut self) -> Vec<Place> {
        let paths = (0..self.paths.len()).filter(|&it| !self.paths[it].is_empty());
        let mut parts: Parts = paths.map(|path| Part::Path { path, steps: 0 }).collect();
        self.add(self.root, false, &mut parts);
        self.place(parts);
        let mut places = Vec::new();
        while let Some(parts) = self.queue.pop_front() {
            places.push(self.expand(&parts));
        }
        places
    }

    /// The place where these apply. Places are expanded in the order of their ids.
    fn place(&mut self, parts: Parts) -> Option<PlaceId> {
        if parts.is_empty() {
            return None;
        }
        if let Some(place) = self.found.get(&parts) {
            return Some(*place);
        }
        let id = PlaceId::try_from(self.found.len()).ok()?;
        self.found.insert(parts.clone(), id);
        self.queue.push_back(parts);
        Some(id)
    }

    fn spend(&mut self, schemas: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(schemas)?;
        Some(())
    }

    /// Adds a schema with all that apply where it does.
    fn add(&mut self, schema: &'a Value, alternative: bool, parts: &mut Parts) {
        let mut open = vec![(schema, alternative)];
        while let Some((schema, alternative)) = open.pop() {
            let Some(map) = schema.as_object() else { continue };
            if self.spend(1).is_none() {
                return;
            }
            let id = *self.ids.entry(map).or_insert(self.schemas.len());
            if id == self.schemas.len() {
                self.schemas.push(map);
            }
            if !parts.insert(if alternative { Part::Alternative(id) } else { Part::Schema(id) }) {
                continue;
            }
            let reference = map.get("$ref").and_then(Value::as_str);
            let target = reference.and_then(|it| schema::find_ref(self.root, it));
            let conditional = ["then", "else"].into_iter().filter_map(|it| map.get(it));
            let dependent = entries(map, "dependentSchemas").map(|(_, it)| it);
            let together = target.into_iter().chain(list(map, "allOf")).chain(conditional).chain(dependent);
            open.extend(together.map(|it| (it, alternative)));
            open.extend(["anyOf", "oneOf"].into_iter().flat_map(|it| list(map, it)).map(|it| (it, true)));
        }
    }

    fn expand(&mut self, parts: &Parts) -> Place {
        let schemas: Vec<(&Map<String, Value>, bool)> = parts
            .iter()
            .filter_map(|it| match *it {
                Part::Schema(id) => Some((self.schemas[id], false)),
                Part::Alternative(id) => Some((self.schemas[id], true)),
                Part::Path { .. } => None,
            })
            .collect();
        let mut place = Place { wanted: self.wanted(parts, &schemas), ..Place::default() };
        self.members(parts, &schemas, &mut place);
        self.items(&schemas, &mut place);
        place
    }

    fn members(&mut self, parts: &Parts, schemas: &[(&'a Map<String, Value>, bool)], place: &mut Place) {
        let mut named: BTreeMap<String, Parts> = BTreeMap::new();
        for part in parts {
            if let Part::Path { path, steps } = *part
                && let Some(name) = self.paths[path].get(steps)
            {
                named.entry(name.clone()).or_default().insert(Part::Path { path, steps: steps + 1 });
            }
        }
        for (schema, _) in schemas {
            for (name, _) in entries(schema, "properties") {
                named.entry(name.clone()).or_default();
            }
        }
        if self.spend(named.len() * schemas.len()).is_none() {
            return;
        }
        let patterns: Vec<Vec<(Regex, &Value)>> = schemas.iter().map(|(schema, _)| patterns_of(schema)).collect();
        for (name, mut parts) in named {
            for ((schema, alternative), patterns) in schemas.iter().zip(&patterns) {
                let property = schema.get("properties").and_then(|it| it.get(&name));
                let matching = patterns.iter().filter(|(it, _)| it.is_match(name.as_bytes())).map(|(_, it)| *it);
                let mut declared = property.into_iter().chain(matching).peekable();
                let rest = declared.peek().is_none().then(|| schema.get("additionalProperties")).flatten();
                declared.chain(rest).for_each(|it| self.add(it, *alternative, &mut parts));
            }
            place.members.push((name.into(), self.place(parts)));
        }
        let mut others = Parts::new();
        for (schema, alternative) in schemas {
            schema.get("additionalProperties").into_iter().for_each(|it| self.add(it, *alternative, &mut others));
        }
        // Of several patterns that a name matches, the first.
        for ((_, alternative), patterns) in schemas.iter().zip(patterns) {
            for (pattern, schema) in patterns {
                let mut parts = Parts::new();
                self.add(schema, *alternative, &mut parts);
                place.patterns.push((pattern, self.place(parts)));
            }
        }
        place.others = self.place(others);
    }

    fn items(&mut self, schemas: &[(&'a Map<String, Value>, bool)], place: &mut Place) {
        // A list of `items` is how drafts before 2020 wrote a tuple.
        let of = |schema: &'a Map<String, Value>| match (schema.get("prefixItems"), schema.get("items")) {
            (Some(Value::Array(tuple)), rest) => (tuple.as_slice(), rest),
            (_, Some(Value::Array(tuple))) => (tuple.as_slice(), schema.get("additionalItems")),
            (_, items) => (&[][..], items),
        };
        let longest = schemas.iter().map(|(schema, _)| of(schema).0.len()).max().unwrap_or_default();
        for index in 0..=longest {
            let mut parts = Parts::new();
            for (schema, alternative) in schemas {
                let (tuple, rest) = of(schema);
                tuple.get(index).or(rest).into_iter().for_each(|it| self.add(it, *alternative, &mut parts));
            }
            let item = self.place(parts);
            if index < longest { place.tuple.push(item) } else { place.items = item }
        }
    }

    fn wanted(&self, parts: &Parts, schemas: &[(&Map<String, Value>, bool)]) -> Option<Wanted> {
        let ends = |of: std::ops::Range<usize>| {
            let ended = |it: &Part| matches!(*it, Part::Path { path, steps } if of.contains(&path) && steps == self.paths[path].len());
            parts.iter().any(ended)
        };
        if ends(0..self.cuts) {
            return Some(Wanted { form: Form::Cut, numbers: true, digits: true });
        }
        let any = |is: fn(&Map<String, Value>) -> bool| schemas.iter().any(|(schema, _)| is(schema));
        let form = match (any(is_date_time), any(is_date)) {
            (true, true) => Form::Either,
            (true, false) => Form::DateTime,
            (false, true) => Form::Date,
            (false, false) => return None,
        };
        // What an alternative says is no date may be just that.
        let instead = |names: &[&str]| {
            schemas.iter().any(|(schema, alternative)| {
                *alternative && !is_date_time(schema) && !is_date(schema) && types(schema).any(|it| names.contains(&it))
            })
        };
        let typed = (self.all_typed || ends(self.cuts..self.paths.len()))
            && any(|it| it.contains_key("type"))
            && !any(|it| types(it).any(|it| it == "string"));
        Some(Wanted { form, numbers: !typed && !instead(&["integer", "number"]), digits: !instead(&["string"]) })
    }
}

fn is_date_time(schema: &Map<String, Value>) -> bool {
    says(schema, "format", "date-time")
        || says(schema, "airbyte_type", "timestamp_with_timezone")
        || says(schema, "airbyte_type", "timestamp_without_timezone")
}

fn is_date(schema: &Map<String, Value>) -> bool {
    says(schema, "format", "date") || says(schema, "airbyte_type", "date")
}

fn says(schema: &Map<String, Value>, keyword: &str, value: &str) -> bool {
    schema.get(keyword).and_then(Value::as_str) == Some(value)
}

fn types(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => &[],
    };
    names.iter().filter_map(Value::as_str)
}

/// A pattern that this engine does not know matches nothing.
fn patterns_of(schema: &Map<String, Value>) -> Vec<(Regex, &Value)> {
    let patterns = entries(schema, "patternProperties");
    patterns.filter_map(|(pattern, schema)| Some((Regex::new(pattern).ok()?, schema))).collect()
}

fn list<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    map.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn entries<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.get(keyword).and_then(Value::as_object).into_iter().flatten()
}
