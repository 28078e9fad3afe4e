//! What a rewrite changed, in words that `inspect` prints.

use std::fmt;

/// One thing that a rewrite changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: a JSON pointer into the schema, to the keyword or schema concerned.
    pub at: String,
    pub what: What,
}

/// What was changed. The names ([`What::name`]) are stable: scripts may look for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A keyword that Flow doesn't know was dropped.
    UnknownKeyword(String),
    /// A keyword's value was not of the kind that the keyword takes, and was dropped.
    BadValue(String),
    /// The same, but it could be told what was meant.
    ValueRepaired(String),
    /// Something that is no schema stood where one belongs.
    NotASchema,
    /// A property's name stood beside `properties`, and was moved into it.
    PropertyMoved(String),
    /// A pattern that Flow's regular expressions can't express was dropped.
    PatternDropped(String),
    FormatDropped(String),
    TypeRepaired,
    TypeDropped,
    RequiredRepaired,
    /// Draft 3: `required: true` on a property went to the `required` of its parent.
    RequiredLifted(String),
    /// Draft 4: `exclusiveMaximum: true` and its sibling became one bound.
    BoundFolded(String),
    /// `$schema` named a draft older than Flow's.
    DialectDropped,
    IdDropped,
    /// Draft 4 to 7: `id: "#name"` became `$anchor`.
    IdToAnchor,
    TupleToPrefixItems,
    DependenciesSplit,
    /// A `$ref` to another document.
    ExternalRefDropped(String),
    /// A `$ref` to nothing.
    DanglingRefDropped(String),
    /// A `$ref` that leads to itself and nowhere else.
    CircularRefDropped(String),
    /// A branch lost a constraint, so that more than one branch may match now.
    OneOfToAnyOf,
    /// A negation or condition of a schema that lost a constraint: what was left of it would mean
    /// something else.
    InexactDropped(String),
    /// Schemas nested too deep end in one that takes anything.
    TooDeep,
    EnumWidened,
    RootMadeObject,
    DiscriminatorAdded(String),
    DefaultAdded,
    /// An `enum` of one value in a discriminator property.
    EnumToConst,
    /// A component of the key, or an object on the way to it, became required and non-null.
    KeyMadeStrict,
    MetaAdded,
    /// What would forbid the properties that the shim and the runtime add.
    RootOpened(String),
}

impl Change {
    pub(super) fn new(at: impl Into<String>, what: What) -> Self {
        Self { at: at.into(), what }
    }
}

impl What {
    /// A stable name in kebab-case.
    pub fn name(&self) -> &'static str {
        self.parts().0
    }

    /// Name, sentence, and the detail that belongs to it.
    fn parts(&self) -> (&'static str, &'static str, Option<&str>) {
        match self {
            Self::UnknownKeyword(k) => ("unknown-keyword", "not a keyword of Flow, dropped", Some(k)),
            Self::BadValue(k) => ("bad-value", "value doesn't fit the keyword, dropped", Some(k)),
            Self::ValueRepaired(k) => ("value-repaired", "value took the form that the keyword wants", Some(k)),
            Self::NotASchema => ("not-a-schema", "not a schema, replaced by one", None),
            Self::PropertyMoved(k) => ("property-moved", "moved into `properties`", Some(k)),
            Self::PatternDropped(p) => ("pattern-dropped", "pattern doesn't compile, dropped", Some(p)),
            Self::FormatDropped(f) => ("format-dropped", "not a format of Flow, dropped", Some(f)),
            Self::TypeRepaired => ("type-repaired", "type took its standard form", None),
            Self::TypeDropped => ("type-dropped", "not a type, dropped", None),
            Self::RequiredRepaired => ("required-repaired", "`required` became a list of unique names", None),
            Self::RequiredLifted(k) => ("required-lifted", "now in the `required` of its parent", Some(k)),
            Self::BoundFolded(k) => ("bound-folded", "boolean bound folded with its sibling", Some(k)),
            Self::DialectDropped => ("dialect-dropped", "`$schema` of another draft, dropped", None),
            Self::IdDropped => ("id-dropped", "not a usable `$id`, dropped", None),
            Self::IdToAnchor => ("id-to-anchor", "became `$anchor`", None),
            Self::TupleToPrefixItems => ("tuple-to-prefix-items", "tuple became `prefixItems`", None),
            Self::DependenciesSplit => {
                ("dependencies-split", "became `dependentRequired` and `dependentSchemas`", None)
            }
            Self::ExternalRefDropped(r) => ("external-ref-dropped", "reference to another document, dropped", Some(r)),
            Self::DanglingRefDropped(r) => ("dangling-ref-dropped", "reference to nothing, dropped", Some(r)),
            Self::CircularRefDropped(r) => ("circular-ref-dropped", "reference to itself, dropped", Some(r)),
            Self::OneOfToAnyOf => ("one-of-to-any-of", "branches may overlap now, `oneOf` became `anyOf`", None),
            Self::InexactDropped(k) => ("inexact-dropped", "can't be kept as it was meant, dropped", Some(k)),
            Self::TooDeep => ("too-deep", "nested too deep, takes anything", None),
            Self::EnumWidened => ("enum-widened", "widened to the type of its values", None),
            Self::RootMadeObject => ("root-made-object", "root type is exactly `object`", None),
            Self::DiscriminatorAdded(k) => ("discriminator-added", "branches are told apart by it", Some(k)),
            Self::DefaultAdded => ("default-added", "default of a discriminator is its const", None),
            Self::EnumToConst => ("enum-to-const", "enum of one value became `const`", None),
            Self::KeyMadeStrict => ("key-made-strict", "required and non-null, as part of the key", None),
            Self::MetaAdded => ("meta-added", "`_meta` declared", None),
            Self::RootOpened(k) => ("root-opened", "would forbid what is added or a deletion, dropped", Some(k)),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, sentence, detail) = self.parts();
        write!(f, "{name}: {sentence}")?;
        match detail {
            Some(it) => write!(f, " ({})", one_line(it)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.at.is_empty() { "(root)" } else { &self.at };
        write!(f, "{}: {}", one_line(at), self.what)
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
