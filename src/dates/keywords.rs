//! What one schema says by its own keywords, without the schemas that it combines.

use regex::bytes::Regex;
use serde_json::{Map, Value};

/// From a value to one inside of it.
#[derive(Clone, Copy)]
pub enum Step<'n> {
    Member(&'n str),
    /// A member that is not listed and matches this pattern, of all those that occur.
    Pattern(&'n str),
    /// A member that is not listed and matches no pattern.
    Other,
    Item(usize),
}

/// What a schema says of a value and of what is in it.
pub struct Facts<'a> {
    map: Option<&'a Map<String, Value>>,
    pub strings: bool,
    pub numbers: bool,
    objects: bool,
    arrays: bool,
    pub date: bool,
    pub date_time: bool,
    /// Restricts the text of a scalar, so that a rewrite could violate it.
    pub fixed: bool,
    fixes_members: bool,
    fixes_items: bool,
    /// With their expressions; none for one that this engine can't compile.
    pub patterns: Vec<(&'a str, Option<Regex>, &'a Value)>,
    pub tuple: &'a [Value],
    /// Items after the tuple.
    items: Option<&'a Value>,
}

/// The schemas that apply one step below a schema.
pub struct Below<'a> {
    /// False if the schema forbids a value there.
    pub is_possible: bool,
    pub always: Vec<&'a Value>,
    pub optional: Vec<&'a Value>,
    pub is_fixed: bool,
}

impl<'a> Facts<'a> {
    /// Of a schema that any change could violate.
    pub fn fixed() -> Self {
        let mut facts = Self::of_types([true; 4]);
        (facts.fixed, facts.fixes_members, facts.fixes_items) = (true, true, true);
        facts
    }

    fn of_types([strings, numbers, objects, arrays]: [bool; 4]) -> Self {
        Self {
            map: None,
            strings,
            numbers,
            objects,
            arrays,
            date: false,
            date_time: false,
            fixed: false,
            fixes_members: false,
            fixes_items: false,
            patterns: Vec::new(),
            tuple: &[],
            items: None,
        }
    }

    pub fn of(map: &'a Map<String, Value>) -> Self {
        let mut facts = Self::of_types(types(map));
        facts.map = Some(map);
        facts.date = says(map, "format", "date") || says(map, "airbyte_type", "date");
        facts.date_time = says(map, "format", "date-time")
            || says(map, "airbyte_type", "timestamp_with_timezone")
            || says(map, "airbyte_type", "timestamp_without_timezone");
        if let Some(values) = values(map) {
            let some = |is: fn(&Value) -> bool| values.iter().any(is);
            facts.strings &= some(Value::is_string);
            facts.numbers &= some(Value::is_number);
            facts.objects &= some(Value::is_object);
            facts.arrays &= some(Value::is_array);
            facts.fixed = facts.strings || facts.numbers;
            facts.fixes_members = facts.objects;
            facts.fixes_items = facts.arrays;
        }
        facts.fixed |= ["pattern", "minLength", "maxLength"].iter().any(|it| map.contains_key(*it));
        facts.fixes_items |= map.get("uniqueItems") == Some(&Value::Bool(true));
        if map.contains_key("$dynamicRef") || map.contains_key("$recursiveRef") {
            // What these refer to is decided by the schemas around them.
            (facts.fixed, facts.fixes_members, facts.fixes_items) = (true, true, true);
        }
        facts.patterns = entries(map, "patternProperties")
            .map(|(pattern, schema)| (pattern.as_str(), Regex::new(pattern).ok(), schema))
            .collect();
        // Drafts before 2020 wrote a tuple as a list in `items`.
        (facts.tuple, facts.items) = match (map.get("prefixItems"), map.get("items")) {
            (Some(Value::Array(tuple)), rest) => (tuple.as_slice(), rest),
            (_, Some(Value::Array(tuple))) => (tuple.as_slice(), map.get("additionalItems")),
            (_, items) => (&[][..], items),
        };
        facts
    }

    /// Whether the schema restricts anything that matters for dates.
    pub fn says_something(&self) -> bool {
        const STRUCTURE: [&str; 8] = [
            "properties",
            "patternProperties",
            "additionalProperties",
            "unevaluatedProperties",
            "items",
            "prefixItems",
            "unevaluatedItems",
            "contains",
        ];
        let all_types = self.strings && self.numbers && self.objects && self.arrays;
        !all_types
            || self.date
            || self.date_time
            || self.fixed
            || self.fixes_members
            || self.fixes_items
            || self.map.is_some_and(|map| STRUCTURE.iter().any(|it| map.contains_key(*it)))
    }

    pub fn properties(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.map.into_iter().flat_map(|map| entries(map, "properties"))
    }

    fn get(&self, keyword: &str) -> Option<&'a Value> {
        self.map.and_then(|it| it.get(keyword))
    }
}

/// The schemas that `facts` apply to what is one step below.
pub fn below<'a>(facts: &Facts<'a>, step: Step) -> Below<'a> {
    let Step::Item(index) = step else { return member(facts, step) };
    let mut found =
        Below { is_possible: facts.arrays, always: Vec::new(), optional: Vec::new(), is_fixed: facts.fixes_items };
    match facts.tuple.get(index).or(facts.items) {
        Some(schema) => found.always.push(schema),
        None => found.optional.extend(facts.get("unevaluatedItems")),
    }
    found.optional.extend(facts.get("contains"));
    found
}

fn member<'a>(facts: &Facts<'a>, step: Step) -> Below<'a> {
    let mut found =
        Below { is_possible: facts.objects, always: Vec::new(), optional: Vec::new(), is_fixed: facts.fixes_members };
    let mut is_certain = true;
    if let Step::Member(name) = step {
        found.always.extend(facts.get("properties").and_then(|it| it.get(name)));
    }
    for (pattern, regex, schema) in &facts.patterns {
        let matches = match (regex, step) {
            (None, _) => {
                // Nobody can tell whether the name matches.
                found.optional.push(schema);
                is_certain = false;
                false
            }
            (Some(regex), Step::Member(name)) => regex.is_match(name.as_bytes()),
            (Some(_), Step::Pattern(it)) => it == *pattern,
            (Some(_), Step::Other | Step::Item(_)) => false,
        };
        if matches {
            found.always.push(schema);
        }
    }
    if found.always.is_empty() {
        match facts.get("additionalProperties") {
            Some(schema) if is_certain => found.always.push(schema),
            Some(schema) => found.optional.push(schema),
            None => found.optional.extend(facts.get("unevaluatedProperties")),
        }
    }
    found
}

/// Which of strings, numbers, objects and arrays the `type` allows. A name that is not a type allows them all.
fn types(map: &Map<String, Value>) -> [bool; 4] {
    let names = match map.get("type") {
        Some(Value::Array(names)) => names.as_slice(),
        Some(name) => std::slice::from_ref(name),
        None => return [true; 4],
    };
    names.iter().fold([false; 4], |[strings, numbers, objects, arrays], name| match name.as_str() {
        Some("string") => [true, numbers, objects, arrays],
        Some("number" | "integer") => [strings, true, objects, arrays],
        Some("object") => [strings, numbers, true, arrays],
        Some("array") => [strings, numbers, objects, true],
        Some("null" | "boolean") => [strings, numbers, objects, arrays],
        _ => [true; 4],
    })
}

/// The only values that the schema allows, if it lists them.
fn values(map: &Map<String, Value>) -> Option<&[Value]> {
    match (map.get("const"), map.get("enum")) {
        (Some(value), _) => Some(std::slice::from_ref(value)),
        (None, Some(Value::Array(values))) => Some(values),
        _ => None,
    }
}

fn says(map: &Map<String, Value>, keyword: &str, value: &str) -> bool {
    map.get(keyword).and_then(Value::as_str) == Some(value)
}

pub fn list<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> {
    map.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

pub fn entries<'a>(map: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.get(keyword).and_then(Value::as_object).into_iter().flatten()
}
