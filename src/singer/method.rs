//! Replication methods: how a stream is replicated.

use serde::{Deserialize, Serialize};

use crate::upstream::Mode;

/// How a stream is replicated (S8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    #[serde(rename = "FULL_TABLE")]
    FullTable,
    #[serde(rename = "INCREMENTAL")]
    Incremental,
    #[serde(rename = "LOG_BASED")]
    LogBased,
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Self::FullTable => "FULL_TABLE",
            Self::Incremental => "INCREMENTAL",
            Self::LogBased => "LOG_BASED",
        }
    }

    /// The method of that name, in any case: taps write it so, and people.
    pub fn named(name: &str) -> Option<Self> {
        [Self::FullTable, Self::Incremental, Self::LogBased].into_iter().find(|it| it.name().eq_ignore_ascii_case(name))
    }

    pub fn mode(self) -> Mode {
        match self {
            Self::FullTable => Mode::FullRefresh,
            Self::Incremental | Self::LogBased => Mode::Incremental,
        }
    }
}
