//! Paths in a connector's config schema, as its OAuth declaration writes them.

use serde_json::Value;

use super::schema::{branches, property, resolve};

/// The location of a value, as member names.
pub(super) type Path = Vec<String>;

/// The schema of the value at a path of the config.
pub(super) fn at<'a>(schema: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(schema, |it, name| property(schema, it, name))
}

/// Reads the paths of one declaration. Most are lists of member names; a number in a path selects a branch of the `oneOf`
/// at that point.
pub(super) struct Paths<'a> {
    schema: &'a Value,
    /// The object with the selected branch, and the branch's index.
    pub selected: Option<(Path, usize)>,
}

impl<'a> Paths<'a> {
    pub fn new(schema: &'a Value) -> Self {
        Self { schema, selected: None }
    }

    /// The member names of a path below `base`; none if the path is absent or empty. It must end with a name.
    ///
    /// # Errors
    ///
    /// A sentence, if the path does not fit the config schema.
    pub fn read(&mut self, base: &[String], value: Option<&Value>) -> Result<Option<Path>, String> {
        let items = items(value);
        let (path, ends_with_name) = self.steps(base, items)?;
        match items {
            [] => Ok(None),
            _ if ends_with_name => Ok(Some(path)),
            _ => Err(format!("the connector's OAuth has the path {}, which does not end with a name", written(items))),
        }
    }

    /// Like [`Paths::read`], for the path of an object: it may end with the index of a branch, or be empty.
    pub fn read_object(&mut self, base: &[String], value: Option<&Value>) -> Result<Path, String> {
        Ok(self.steps(base, items(value))?.0)
    }

    /// The member names below `base`, and whether the last item is one.
    fn steps(&mut self, base: &[String], items: &[Value]) -> Result<(Path, bool), String> {
        let mut path = base.to_vec();
        let mut ends_with_name = false;
        for item in items {
            let index = match item {
                Value::String(name) => self.index(&path, name),
                Value::Number(number) => number.as_u64(),
                _ => None,
            };
            ends_with_name = index.is_none();
            match (index, item) {
                (Some(index), _) => self.select(&path, index)?,
                (None, Value::String(name)) => path.push(name.clone()),
                (None, _) => {
                    return Err(format!("the connector's OAuth has the path {}, which is not a path", written(items)));
                }
            }
        }
        Ok((path, ends_with_name))
    }

    /// The index that a text stands for: paths are declared as lists of strings, so that connectors write `"0"` for 0. A
    /// property of that name comes first.
    fn index(&self, path: &[String], name: &str) -> Option<u64> {
        let index = name.parse().ok()?;
        let holder = resolve(self.schema, at(self.schema, path)?);
        let branches = branches(holder)?;
        let is_name = |it: &Value| property(self.schema, it, name).is_some();
        (!is_name(holder) && !branches.iter().any(is_name)).then_some(index)
    }

    /// The number of branches that the schema has at a path.
    fn count(&self, path: &[String]) -> usize {
        let holder = at(self.schema, path).map(|it| resolve(self.schema, it));
        holder.and_then(branches).map_or(0, Vec::len)
    }

    fn select(&mut self, path: &[String], index: u64) -> Result<(), String> {
        let index = usize::try_from(index).ok().filter(|it| *it < self.count(path));
        let Some(index) = index else {
            return Err(format!(
                "the connector's OAuth selects an alternative of /{} that its config does not have",
                path.join("/")
            ));
        };
        let selected = (path.to_vec(), index);
        if self.selected.as_ref().is_some_and(|it| *it != selected) {
            return Err("the connector's OAuth selects several alternatives of its config".into());
        }
        self.selected = Some(selected);
        Ok(())
    }
}

/// A list, or one item.
fn items(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) => items,
        Some(item) => std::slice::from_ref(item),
    }
}

fn written(items: &[Value]) -> String {
    Value::from(items.to_vec()).to_string()
}
