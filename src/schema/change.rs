//! The changes of a rewrite, as `inspect` prints them.

use std::fmt;

/// One change of a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// A JSON pointer to the changed keyword or schema.
    pub at: String,
    pub what: What,
}

/// The kind of a change. The names ([`What::name`]) are stable, so scripts can search for them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A keyword that Flow doesn't know was dropped.
    UnknownKeyword(String),
    /// A keyword with an invalid value was dropped.
    BadValue(String),
    /// A keyword's invalid value was replaced by the intended one.
    ValueRepaired(String),
    /// A value that is not a schema was replaced by one.
    NotASchema,
    /// A property beside `properties` was moved into it.
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
    /// A `$schema` of a draft before Flow's was dropped.
    DialectDropped,
    IdDropped,
    /// Draft 4 to 7: `id: "#name"` became `$anchor`.
    IdToAnchor,
    TupleToPrefixItems,
    DependenciesSplit,
    /// A `$ref` to another document was dropped.
    ExternalRefDropped(String),
    /// A `$ref` without a target was dropped.
    DanglingRefDropped(String),
    /// A `$ref` that leads only to itself was dropped.
    CircularRefDropped(String),
    /// A branch lost a constraint, so more than one branch may match.
    OneOfToAnyOf,
    /// A negation or condition lost a constraint and was dropped, as its meaning would have changed.
    InexactDropped(String),
    /// A schema that is nested too deep now accepts anything.
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
    /// A keyword that forbids properties that the shim and the runtime add was dropped.
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

    /// The name, the description, and a detail.
    fn parts(&self) -> (&'static str, &'static str, Option<&str>) {
        match self {
            Self::UnknownKeyword(k) => ("unknown-keyword", "not a keyword of Flow, dropped", Some(k)),
            Self::BadValue(k) => ("bad-value", "value doesn't fit the keyword, dropped", Some(k)),
            Self::ValueRepaired(k) => {
                ("value-repaired", "value changed to the form that the keyword requires", Some(k))
            }
            Self::NotASchema => ("not-a-schema", "not a schema, replaced by one", None),
            Self::PropertyMoved(k) => ("property-moved", "moved into `properties`", Some(k)),
            Self::PatternDropped(p) => ("pattern-dropped", "pattern doesn't compile, dropped", Some(p)),
            Self::FormatDropped(f) => ("format-dropped", "not a format of Flow, dropped", Some(f)),
            Self::TypeRepaired => ("type-repaired", "type changed to its standard form", None),
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
            Self::DanglingRefDropped(r) => ("dangling-ref-dropped", "reference without a target, dropped", Some(r)),
            Self::CircularRefDropped(r) => ("circular-ref-dropped", "reference to itself, dropped", Some(r)),
            Self::OneOfToAnyOf => ("one-of-to-any-of", "branches may overlap now, `oneOf` became `anyOf`", None),
            Self::InexactDropped(k) => ("inexact-dropped", "can't be kept with its meaning, dropped", Some(k)),
            Self::TooDeep => ("too-deep", "nested too deep, accepts anything", None),
            Self::EnumWidened => ("enum-widened", "widened to the type of its values", None),
            Self::RootMadeObject => ("root-made-object", "root type is exactly `object`", None),
            Self::DiscriminatorAdded(k) => ("discriminator-added", "distinguishes the branches", Some(k)),
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
