//! `--demo`: a small API in this process, the coffee shop of the demo source, and a manifest for it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::api::reply;
use super::config::Config;
use crate::demo::Shop;
use crate::process::shutdown::Shutdown;
use crate::settings::config::Given;

pub const MANIFEST: &str = include_str!("demo.yaml");

/// Customers and orders: enough for a capture that can be watched.
const ROWS: u64 = 20_000;

/// How long a page takes: this API is as fast as others.
const DELAY: Duration = Duration::from_millis(50);

/// Page views, which are searched for each page.
const VIEWS: u64 = 3_000;

/// The largest page.
const LARGEST: u64 = 200;

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    page: u64,
    #[serde(default = "ten")]
    per_page: u64,
    /// Only rows that are newer, as `2026-01-01 00:00:00`.
    since: Option<String>,
    device: Option<String>,
}

fn ten() -> u64 {
    10
}

/// Starts the API on a free port. Returns the config for its manifest.
pub async fn start(shutdown: &Shutdown) -> Result<Config> {
    let failed = "can't start the demo's API";
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context(failed)?;
    let url = format!("http://{}", listener.local_addr().context(failed)?);
    let shop = Arc::new(Shop { name: "corner-coffee".to_owned(), seed: 1 });
    let router = Router::new().route(
        "/{collection}",
        get(async move |path: Path<String>, headers: HeaderMap, paging: Query<Paging>| {
            tokio::time::sleep(DELAY).await;
            rows(&shop, &path, &headers, &paging)
        }),
    );
    let stop = shutdown.clone();
    let stopped = async move {
        stop.requested().await;
    };
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
    let config = json!({"url": url, "api_key": "demo-key"});
    Config::load(Given::of_value("the demo's config".to_owned(), &config)?, None, shutdown).await
}

fn rows(shop: &Shop, collection: &str, headers: &HeaderMap, paging: &Paging) -> Response {
    let key = headers.get("authorization").and_then(|it| it.to_str().ok());
    if key != Some("Bearer demo-key") {
        return reply(StatusCode::UNAUTHORIZED, &json!({"error": "The shop does not know this API key."}));
    }
    let row = |number: u64| -> Option<Value> {
        let row = match collection {
            "customers" => serde_json::to_value(shop.customer(number)),
            "orders" => serde_json::to_value(shop.order(number)),
            "page_views" => serde_json::to_value(shop.page_view(number)),
            _ => return None,
        };
        row.ok().map(as_api)
    };
    let per_page = paging.per_page.clamp(1, LARGEST);
    let skipped = paging.page.saturating_mul(per_page);
    let rows: Vec<Value> = match (collection, &paging.since) {
        ("page_views", _) => {
            let is_wanted = |row: &Value| paging.device.as_deref().is_none_or(|it| row["device"] == it);
            let wanted = (0..VIEWS).filter_map(row).filter(is_wanted);
            wanted.skip(index(skipped)).take(index(per_page)).collect()
        }
        ("customers" | "orders", since) => {
            let first = since.as_deref().map_or(0, |it| first_since(it, row));
            let from = first.saturating_add(skipped).min(ROWS);
            (from..from.saturating_add(per_page).min(ROWS)).filter_map(row).collect()
        }
        _ => {
            return reply(StatusCode::NOT_FOUND, &json!({"error": "There are customers, orders and page_views."}));
        }
    };
    reply(StatusCode::OK, &json!({"data": rows, "page": paging.page}))
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The first row that was changed at this time or later; rows are in the order of their changes.
fn first_since(since: &str, row: impl Fn(u64) -> Option<Value>) -> u64 {
    let (mut low, mut high) = (0, ROWS);
    while low < high {
        let middle = low + (high - low) / 2;
        let is_older = row(middle).is_some_and(|it| it["updated_at"].as_str().unwrap_or_default() < since);
        if is_older { low = middle + 1 } else { high = middle }
    }
    low
}

/// Like many an API, this one has no change log, and times without a zone.
fn as_api(mut row: Value) -> Value {
    let Some(members) = row.as_object_mut() else { return row };
    if let Some(changed) = members.shift_remove("_ab_cdc_updated_at") {
        members.insert("updated_at".to_owned(), changed);
    }
    members.retain(|name, _| !name.starts_with("_ab_"));
    for (name, value) in members.iter_mut().filter(|(name, _)| name.ends_with("_at")) {
        if let (Some(text), true) = (value.as_str(), name != "viewed_at") {
            *value = text.replace('T', " ").trim_end_matches('Z').into();
        }
    }
    row
}
