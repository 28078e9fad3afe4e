//! The discovered streams, bound as Flow's control plane binds them.

use anyhow::{Context, Result};
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::selection::Selectable;
use crate::strict::Binding;
use crate::upstream::{Mode, Protocol};

/// The key of rows that the shim counts.
pub const ROW_ID: &str = "/_meta/row_id";

pub struct Stream {
    pub name: String,
    pub binding: Binding,
    path: Vec<String>,
    is_disabled: bool,
    pub mode: Mode,
    /// The shim counts the rows: the source has no key that Flow can use.
    pub by_row_id: bool,
}

impl Stream {
    /// Of a binding of Flow's Discovered response.
    pub fn of(discovered: &Value, protocol: &dyn Protocol) -> Result<Self> {
        let binding = Binding::of_discovered(discovered);
        let config = to_raw_value(&binding.resource).context("can't write a resource config")?;
        let path = binding.resource_path().into_iter().map(str::to_owned).collect();
        Ok(Self {
            name: discovered["recommendedName"].as_str().unwrap_or_default().to_owned(),
            path,
            is_disabled: discovered["disable"] == true,
            mode: protocol.resource(&config)?.mode,
            by_row_id: binding.key == [ROW_ID],
            binding,
        })
    }
}

impl Selectable for Stream {
    fn name(&self) -> &str {
        &self.name
    }

    fn path(&self) -> &[String] {
        &self.path
    }

    fn is_disabled(&self) -> bool {
        self.is_disabled
    }
}
