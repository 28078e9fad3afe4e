//! What may be different for a stream, in the forms that shim.yaml has for it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::dates;
use crate::json::merge::merge;
use crate::json::pointer;
use crate::schema;
use crate::settings::values::{Document, FullRefresh};

/// What shim.yaml says under one name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StreamOptions {
    /// The collection's key, in place of the source's: JSON pointers into its documents. An empty list means the synthetic row id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<Component>>,
    /// An RFC 7396 merge patch for the stream's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Document>,
    /// Discovered, but disabled by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// Not discovered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub omit: Option<bool>,
    /// The field by which the source finds what is new: a name, or the names that lead to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor_field: Option<CursorField>,
    /// What happens to the rows that a completed full refresh did not bring again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_refresh: Option<FullRefresh>,
    /// Singer: the name in the tap's messages, if it is not the one in the catalog (`__alias__` in `stream_maps`). Not for
    /// globs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// What becomes of dates; `false`: they stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<Normalize>,
}

/// A component of a key: `/id`, or `id` for short.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Component(String);

impl Component {
    pub fn new(pointer: &str) -> Self {
        Self(if pointer.starts_with('/') { pointer.to_owned() } else { format!("/{pointer}") })
    }

    pub fn path(&self) -> Vec<String> {
        pointer::steps(&self.0)
    }
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(&String::deserialize(deserializer)?))
    }
}

/// `updated_at`, or `[meta, updated_at]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CursorField(pub Vec<String>);

impl<'de> Deserialize<'de> for CursorField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = match Value::deserialize(deserializer)? {
            Value::String(name) => Some(vec![name]),
            Value::Array(names) => names.iter().map(|it| it.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        let path = path.filter(|it: &Vec<String>| !it.is_empty());
        path.map(Self).ok_or_else(|| de::Error::custom("expected the name of a field, or the names that lead to it"))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Normalize {
    Never,
    Given(Normalizations),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Normalizations {
    /// Where in the documents a date-time is cut to its date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<Vec<Component>>,
    /// What the source declares as dates are date-times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_to_date_time: Option<bool>,
}

impl<'de> Deserialize<'de> for Normalize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Normalize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("false, or an object with cut and dateToDateTime")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Normalize, E> {
                Ok(if on { Normalize::Given(Normalizations::default()) } else { Normalize::Never })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Normalize, A::Error> {
                Normalizations::deserialize(de::value::MapAccessDeserializer::new(map)).map(Normalize::Given)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Normalize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => false.serialize(serializer),
            Self::Given(it) => it.serialize(serializer),
        }
    }
}

impl StreamOptions {
    /// Takes over what `other` says.
    pub(super) fn overlay(&mut self, other: &Self) {
        fn set<T: Clone>(mine: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                mine.clone_from(other);
            }
        }
        set(&mut self.key, &other.key);
        set(&mut self.schema, &other.schema);
        set(&mut self.disable, &other.disable);
        set(&mut self.omit, &other.omit);
        set(&mut self.cursor_field, &other.cursor_field);
        set(&mut self.full_refresh, &other.full_refresh);
        set(&mut self.alias, &other.alias);
        match (&mut self.normalize, &other.normalize) {
            (Some(Normalize::Given(mine)), Some(Normalize::Given(other))) => {
                set(&mut mine.cut, &other.cut);
                set(&mut mine.date_to_date_time, &other.date_to_date_time);
            }
            (mine, other) => set(mine, other),
        }
    }

    /// What the source declares of a stream, changed as wished.
    pub fn change(&self, schema: &mut Value, key: &mut Vec<Vec<String>>) {
        if let Some(Document::Inline(patch)) = &self.schema {
            merge(schema, patch.clone());
        }
        if let Some(Normalize::Given(Normalizations { date_to_date_time: Some(true), .. })) = &self.normalize {
            schema::date_to_date_time(schema);
        }
        if let Some(wanted) = &self.key {
            // The row id is what there is without any key.
            *key = wanted.iter().map(Component::path).filter(|it| it[..] != ["_meta", "row_id"]).collect();
            key.iter().for_each(|it| schema::declare_path(schema, it));
        }
    }

    /// What is to become of dates.
    pub fn normalize(&self) -> dates::Normalize {
        match &self.normalize {
            None => dates::Normalize::default(),
            Some(Normalize::Never) => dates::Normalize::Off,
            Some(Normalize::Given(it)) => {
                let cut = it.cut.iter().flatten().map(|Component(pointer)| pointer.clone()).collect();
                dates::Normalize::On { cut }
            }
        }
    }

    pub fn is_disabled(&self) -> bool {
        self.disable == Some(true)
    }

    pub fn is_omitted(&self) -> bool {
        self.omit == Some(true)
    }
}
