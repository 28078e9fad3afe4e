//! A web service of many streams, which is slow and fails now and then, and the manifest of a connector that reads it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Streams of the manifest that have no more to them than a path.
pub const SENSORS: usize = 300;
/// Streams that the connector learns of from the service.
pub const TABLES: usize = 5;
const PAGE: usize = 20;

/// A service on a free port. Each connection has a thread and carries one request.
pub struct Weather {
    pub url: String,
    data: Arc<Mutex<Data>>,
}

pub struct Data {
    /// Alerts are of the days 1 to this one, thirty a day.
    pub days: usize,
    /// How long the next request for the names of the tables takes.
    pub delay: Option<Duration>,
    /// How often each status was sent.
    pub sent: HashMap<u16, usize>,
    /// How often each path was asked for.
    asked: HashMap<String, usize>,
}

impl Weather {
    /// `key` is the bearer token that it expects.
    pub fn start(key: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let data = Data { days: 10, delay: None, sent: HashMap::new(), asked: HashMap::new() };
        let data = Arc::new(Mutex::new(data));
        let served = Arc::clone(&data);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let data = Arc::clone(&served);
                // A killed connector does not read its response.
                thread::spawn(move || answer(stream, key, &data));
            }
        });
        Self { url, data }
    }

    pub fn data(&self) -> MutexGuard<'_, Data> {
        lock(&self.data)
    }

    /// A config of Airbyte's manifest runner.
    pub fn config(&self, key: &str) -> Value {
        json!({"__injected_declarative_manifest": manifest(), "url": self.url, "api_key": key})
    }
}

fn lock(data: &Mutex<Data>) -> MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, key: &str, data: &Mutex<Data>) -> std::io::Result<()> {
    let reader = BufReader::new(stream.try_clone()?);
    let head: Vec<String> = reader.lines().map_while(Result::ok).take_while(|it| !it.is_empty()).collect();
    let url = head.first().and_then(|it| it.split(' ').nth(1)).unwrap_or_default();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let authorized = head.iter().any(|it| it.eq_ignore_ascii_case(&format!("authorization: Bearer {key}")));
    let delay = if path == "/tables" { lock(data).delay.take() } else { None };
    thread::sleep(delay.unwrap_or_default());
    let (status, body) = match authorized {
        true => lock(data).answer(path, query),
        false => (401, json!({"error": "this key opens nothing"})),
    };
    *lock(data).sent.entry(status).or_default() += 1;
    let body = body.to_string();
    let length = body.len();
    let wait = if status == 429 { "retry-after: 1\r\n" } else { "" };
    write!(
        stream,
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\nconnection: close\r\n{wait}content-length: {length}\r\n\r\n{body}"
    )
}

impl Data {
    fn answer(&mut self, path: &str, query: &str) -> (u16, Value) {
        let asked = self.asked.entry(format!("{path}?{query}")).or_default();
        *asked += 1;
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        // Every other request for some of the paths fails, so that each session meets with it.
        if *asked % 2 == 1 {
            match parts[..] {
                ["sensors", "50" | "150"] | ["tables", "t3"] => return (429, json!({"error": "slow down"})),
                ["sensors", "100" | "200"] | ["stations", "2", "readings"] => {
                    return (500, json!({"error": "a storm"}));
                }
                ["alerts"] if query.contains("2024-01-04") => return (429, json!({"error": "slow down"})),
                _ => {}
            }
        }
        let parameter = |name: &str| query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        let rows = match parts[..] {
            ["sensors", sensor] => rows(2, |id| json!({"id": id, "sensor": sensor, "at": "2024-01-02T03:04:05"})),
            ["stations"] => rows(4, |id| json!({"id": id, "name": format!("station {id}")})),
            ["stations", station, "readings"] => rows(
                self.days,
                |day| json!({"id": format!("{station}-{day}"), "station": station, "at": at(day), "celsius": 20.50}),
            ),
            ["tables"] => {
                rows(TABLES, |table| json!({"name": format!("table {table}: ä"), "slug": format!("t{table}")}))
            }
            ["tables", table] => rows(3, |id| json!({"id": id, "table": table})),
            // A day's alerts are two pages, the second one half full.
            ["alerts"] => {
                let page: usize = parameter("page").and_then(|it| it.parse().ok()).unwrap_or(1);
                let day = parameter("since").and_then(|it| it.get(8..10)?.parse().ok()).unwrap_or(0);
                let count =
                    if day <= self.days { (PAGE * 3 / 2).saturating_sub((page - 1) * PAGE).min(PAGE) } else { 0 };
                rows(count, |row| json!({"id": format!("{day}-{page}-{row}"), "at": at(day), "text": "wind"}))
            }
            _ => return (404, json!({"error": "there is no such path"})),
        };
        (200, json!({"data": rows}))
    }
}

fn rows(count: usize, row: impl Fn(usize) -> Value) -> Vec<Value> {
    (1..=count).map(row).collect()
}

fn at(day: usize) -> String {
    format!("2024-01-{day:02}T12:00:00Z")
}

fn manifest() -> Value {
    let requester = |path: &str| {
        let filter =
            |action: &str, code: u16| json!({"type": "HttpResponseFilter", "action": action, "http_codes": [code]});
        json!({
            "type": "HttpRequester",
            "url_base": "{{ config['url'] }}",
            "path": path,
            "http_method": "GET",
            "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['api_key'] }}"},
            "error_handler": {
                "type": "DefaultErrorHandler",
                "max_retries": 5,
                "backoff_strategies": [
                    {"type": "WaitTimeFromHeader", "header": "Retry-After"},
                    {"type": "ConstantBackoffStrategy", "backoff_time_in_seconds": 0.1},
                ],
                "response_filters": [filter("RATE_LIMITED", 429), filter("RETRY", 500)],
            },
        })
    };
    let retriever = |path: &str| {
        json!({
            "type": "SimpleRetriever",
            "requester": requester(path),
            "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}},
        })
    };
    let stream = |name: &str, path: &str| {
        json!({
            "type": "DeclarativeStream",
            "name": name,
            "primary_key": ["id"],
            "retriever": retriever(path),
            "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": {
                "id": {"type": ["integer", "string"]},
                "at": {"type": ["null", "string"], "format": "date-time"},
                "celsius": {"type": "number"},
            }}},
        })
    };
    let by_time = json!({
        "type": "DatetimeBasedCursor",
        "cursor_field": "at",
        "datetime_format": "%Y-%m-%dT%H:%M:%SZ",
        "start_datetime": "2024-01-01T00:00:00Z",
        "end_datetime": "2024-01-12T23:59:59Z",
    });
    let option = |name: &str| json!({"type": "RequestOption", "inject_into": "request_parameter", "field_name": name});

    let mut alerts = stream("alerts", "/alerts");
    alerts["retriever"]["paginator"] = json!({
        "type": "DefaultPaginator",
        "page_token_option": option("page"),
        "pagination_strategy": {"type": "PageIncrement", "page_size": PAGE, "start_from_page": 1},
    });
    alerts["incremental_sync"] = by_time.clone();
    alerts["incremental_sync"]["step"] = "P1D".into();
    alerts["incremental_sync"]["cursor_granularity"] = "PT1S".into();
    alerts["incremental_sync"]["start_time_option"] = option("since");
    alerts["incremental_sync"]["end_time_option"] = option("until");

    let stations = stream("stations", "/stations");
    let mut readings = stream("readings", "/stations/{{ stream_partition.station }}/readings");
    readings["retriever"]["partition_router"] = json!({
        "type": "SubstreamPartitionRouter",
        "parent_stream_configs": [
            {"type": "ParentStreamConfig", "parent_key": "id", "partition_field": "station", "stream": stations},
        ],
    });
    readings["incremental_sync"] = by_time;

    let of_tables = |name: &str, value: &str| {
        let path: Vec<&str> = name.split('/').collect();
        json!({"type": "ComponentMappingDefinition", "field_path": path, "value": value})
    };
    let mut streams = vec![alerts, stations, readings];
    streams.extend((0..SENSORS).map(|it| stream(&format!("sensor_{it}"), &format!("/sensors/{it}"))));
    json!({
        "version": "6.40.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["stations"]},
        "concurrency_level": {"type": "ConcurrencyLevel", "default_concurrency": 4},
        "streams": streams,
        "dynamic_streams": [{
            "type": "DynamicDeclarativeStream",
            "name": "tables",
            "stream_template": stream("", "/tables/"),
            "components_resolver": {
                "type": "HttpComponentsResolver",
                "retriever": retriever("/tables"),
                "components_mapping": [
                    of_tables("name", "{{ components_values['name'] }}"),
                    of_tables("retriever/requester/path", "/tables/{{ components_values['slug'] }}"),
                ],
            },
        }],
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
