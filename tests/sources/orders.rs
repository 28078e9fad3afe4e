//! A small web service, with pages and a cursor, and the manifest of a connector that reads it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};
use tiny_http::{Header, Response, Server};

/// The bearer token that the service expects.
pub const KEY: &str = "k3y-of-the-orders";
const PAGE: usize = 50;

/// A service on a free port, stopped on drop.
pub struct Orders {
    server: Arc<Server>,
    shop: Arc<Mutex<Shop>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub struct Shop {
    pub orders: Vec<Value>,
    pub countries: Vec<&'static str>,
    /// Path and query of each request.
    pub asked: Vec<String>,
    /// The first page that is answered with 500.
    pub broken_from: Option<usize>,
}

impl Orders {
    pub fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a port"));
        let shop = Arc::new(Mutex::new(Shop { countries: vec!["Kenya", "Brazil", "Ethiopia"], ..Shop::default() }));
        let (listening, answering) = (Arc::clone(&server), Arc::clone(&shop));
        let thread = thread::spawn(move || {
            for request in listening.incoming_requests() {
                let authorized = request
                    .headers()
                    .iter()
                    .any(|it| it.field.equiv("Authorization") && it.value == format!("Bearer {KEY}").as_str());
                let (status, body) = match authorized {
                    true => lock(&answering).answer(request.url()),
                    false => (401, json!({"error": "this key opens nothing"})),
                };
                let json = Header::from_bytes("Content-Type", "application/json").expect("a header");
                // A killed connector does not read the response.
                let _ =
                    request.respond(Response::from_string(body.to_string()).with_status_code(status).with_header(json));
            }
        });
        Self { server, shop, thread: Some(thread) }
    }

    pub fn shop(&self) -> MutexGuard<'_, Shop> {
        lock(&self.shop)
    }

    pub fn config(&self) -> Value {
        json!({
            "__injected_declarative_manifest": manifest(),
            "url": format!("http://{}", self.server.server_addr()),
            "api_key": KEY,
        })
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().map(JoinHandle::join);
    }
}

fn lock(shop: &Mutex<Shop>) -> MutexGuard<'_, Shop> {
    shop.lock().expect("nothing panics with the shop in its hands")
}

impl Shop {
    /// Orders with these ids, ten a day.
    pub fn sell(&mut self, ids: std::ops::RangeInclusive<usize>) {
        self.orders.extend(ids.map(|id| {
            let total: Value = serde_json::from_str(&format!("{}.{}0", id * 7, id % 10)).expect("a number");
            json!({"id": id, "updated_at": format!("2024-02-{:02}T00:00:00Z", 1 + id / 10), "total": total, "note": "ünïcode \u{1f600} \"quoted\""})
        }));
    }

    fn answer(&mut self, url: &str) -> (u16, Value) {
        self.asked.push(url.to_owned());
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let parameter = |name: &str| {
            let value = query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
            value.map(|it| it.replace("%3A", ":"))
        };
        let page: usize = parameter("page").and_then(|it| it.parse().ok()).unwrap_or(1);
        if self.broken_from.is_some_and(|it| page >= it) {
            return (500, json!({"error": "out of coffee"}));
        }
        if path == "/countries" {
            return (200, json!({"data": self.countries.iter().map(|it| json!({"name": it})).collect::<Vec<_>>()}));
        }
        let since = parameter("since").unwrap_or_default();
        let recent = self.orders.iter().filter(|it| it["updated_at"].as_str() >= Some(&since));
        (200, json!({"data": recent.skip((page - 1) * PAGE).take(PAGE).collect::<Vec<_>>()}))
    }
}

fn manifest() -> Value {
    let requester = |path: &str| {
        json!({
            "type": "HttpRequester",
            "url_base": "{{ config['url'] }}",
            "path": path,
            "http_method": "GET",
            "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['api_key'] }}"},
            "error_handler": {"type": "DefaultErrorHandler", "max_retries": 0},
        })
    };
    let selector = json!({"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}});
    let schema = |properties: Value| json!({"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": properties}});
    json!({
        "version": "6.5.2",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["orders"]},
        "streams": [
            {
                "type": "DeclarativeStream",
                "name": "orders",
                "primary_key": ["id"],
                "retriever": {
                    "type": "SimpleRetriever",
                    "requester": requester("/orders"),
                    "record_selector": selector,
                    "paginator": {
                        "type": "DefaultPaginator",
                        "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "page"},
                        "pagination_strategy": {"type": "PageIncrement", "page_size": PAGE, "start_from_page": 1},
                    },
                },
                "incremental_sync": {
                    "type": "DatetimeBasedCursor",
                    "cursor_field": "updated_at",
                    "datetime_format": "%Y-%m-%dT%H:%M:%SZ",
                    "start_datetime": "2024-01-01T00:00:00Z",
                    "end_datetime": "2024-12-31T00:00:00Z",
                    "start_time_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "since"},
                },
                "schema_loader": schema(json!({
                    "id": {"type": "integer"},
                    "updated_at": {"type": "string", "format": "date-time"},
                    "total": {"type": "number"},
                    "note": {"type": ["null", "string"]},
                })),
            },
            {
                "type": "DeclarativeStream",
                "name": "countries",
                "retriever": {"type": "SimpleRetriever", "requester": requester("/countries"), "record_selector": selector},
                "schema_loader": schema(json!({"name": {"type": "string"}})),
            },
        ],
        "spec": {
            "type": "Spec",
            "connection_specification": {
                "type": "object",
                "required": ["url", "api_key"],
                "properties": {"url": {"type": "string"}, "api_key": {"type": "string", "airbyte_secret": true}},
            },
        },
    })
}
