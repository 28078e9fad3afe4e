//! The HTTP API: that of the CDK's manifest server (B3 to B13), and four paths of its predecessor (B20), which differs in the
//! names of members and in the form of errors.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::body::{Body, Problems};
use super::config::Config;
use super::engine::{Answer, Failure, Kind, Told};
use super::vault::Mask;
use super::{LARGEST, Server, flow_view, manifest};
use crate::error;
use crate::process::thread;

/// The most that a request may ask for (B9, B21).
const MOST_RECORDS: u64 = 5000;
const MOST_PAGES: u64 = 20;
const MOST_STREAMS: u64 = 100;

const LEGACY: &str = "/api/v1/connector_builder/";

pub fn routes() -> Router<Arc<Server>> {
    let mut routes = Router::new();
    for path in ["/health", "/health/"] {
        routes = routes.route(path, get(async || reply(StatusCode::OK, &json!({"status": "ok"}))));
    }
    for path in ["/capabilities", "/capabilities/"] {
        routes = routes.route(path, get(capabilities));
    }
    for path in ["/v1/health", "/api/v1/connector_builder/health"] {
        routes = routes.route(path, get(legacy_health));
    }
    for (path, operation) in [
        ("/v1/manifest/resolve", Operation::Resolve),
        ("/v1/manifest/full_resolve", Operation::FullResolve),
        ("/v1/manifest/check", Operation::Check),
        ("/v1/manifest/discover", Operation::Discover),
        ("/v1/manifest/test_read", Operation::TestRead),
        ("/api/v1/connector_builder/manifest/resolve", Operation::Resolve),
        ("/api/v1/connector_builder/manifest/full_resolve", Operation::FullResolve),
        ("/api/v1/connector_builder/stream/read", Operation::TestRead),
    ] {
        let handle = async move |State(server): State<Arc<Server>>, uri: Uri, headers: HeaderMap, body: Bytes| {
            let dialect = Dialect::of(uri.path());
            match answer(&server, operation, dialect, &headers, &body).await {
                Ok(response) => response,
                Err(refusal) => refuse(dialect, refusal),
            }
        };
        routes = routes.route(path, post(handle));
        if dialect_of_today(path) {
            routes = routes.route(&format!("{path}/"), post(handle));
        }
    }
    routes
}

fn dialect_of_today(path: &str) -> bool {
    Dialect::of(path) == Dialect::ManifestServer
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Resolve,
    FullResolve,
    Check,
    Discover,
    TestRead,
}

impl Operation {
    fn command(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::FullResolve => "full_resolve",
            Self::Check => "check",
            Self::Discover => "discover",
            Self::TestRead => "test_read",
        }
    }
}

/// Which of Airbyte's two servers a client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    ManifestServer,
    Legacy,
}

impl Dialect {
    pub fn of(path: &str) -> Self {
        if path.starts_with(LEGACY) { Self::Legacy } else { Self::ManifestServer }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    message: String,
    stack: Option<String>,
    problems: Option<Problems>,
}

impl Refusal {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), stack: None, problems: None }
    }

    fn masked(mut self, mask: &Mask) -> Self {
        self.message = mask.text(&self.message);
        self.stack = self.stack.map(|it| mask.text(&it));
        self
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Self {
        let message = "the request has another form".to_owned();
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, message, stack: None, problems: Some(problems) }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(failure: anyhow::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error::sentence(&failure))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Late => Self::new(StatusCode::GATEWAY_TIMEOUT, "the CDK did not answer within 300 seconds"),
            Failure::Died(why) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, why),
            Failure::Told(Told { kind, message, stack, names }) => {
                let (status, message) = match kind {
                    Kind::UnknownStream => {
                        let names = names.join(", ");
                        let message = format!("the manifest has no stream {message:?}: there are {names}");
                        (StatusCode::NOT_FOUND, message)
                    }
                    Kind::NoCatalog => (StatusCode::UNPROCESSABLE_ENTITY, message),
                    Kind::Manifest | Kind::Failed => (StatusCode::BAD_REQUEST, message),
                };
                Self { status, message, stack, problems: None }
            }
        }
    }
}

/// The response to a request without an answer.
pub fn refuse(dialect: Dialect, refusal: Refusal) -> Response {
    let Refusal { status, message, stack, problems } = refusal;
    let body = match (dialect, problems) {
        (Dialect::ManifestServer, Some(Problems(problems))) => json!({"detail": problems}),
        (Dialect::ManifestServer, None) => json!({"detail": message}),
        (Dialect::Legacy, Some(Problems(problems))) => json!({"message": message, "validationErrors": problems}),
        (Dialect::Legacy, None) => {
            let class = "io.airbyte.connector_builder.exceptions.ConnectorBuilderException";
            json!({"message": message, "exceptionClassName": class, "exceptionStack": stack.into_iter().collect::<Vec<_>>()})
        }
    };
    reply(status, &body)
}

/// The response of axum itself to a body or path that can't be read, in the form of all others.
pub fn in_form(dialect: Dialect, response: Response) -> Response {
    let status = response.status();
    if !status.is_client_error() || response.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return response;
    }
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => format!("the body is longer than {} MB", LARGEST >> 20),
        _ => status.canonical_reason().unwrap_or("the request can't be read").to_owned(),
    };
    refuse(dialect, Refusal::new(status, message))
}

pub async fn not_found(uri: Uri) -> Response {
    refuse(Dialect::of(uri.path()), Refusal::new(StatusCode::NOT_FOUND, "Not Found"))
}

pub async fn method_not_allowed(uri: Uri) -> Response {
    refuse(Dialect::of(uri.path()), Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"))
}

pub fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], HttpBody::from(body.to_string())).into_response()
}

async fn capabilities(State(server): State<Arc<Server>>) -> Response {
    reply(StatusCode::OK, &json!({"custom_code_execution": server.custom_code}))
}

async fn legacy_health(State(server): State<Arc<Server>>) -> Response {
    let capabilities = json!({"custom_code_execution": server.custom_code});
    let cdk = &server.engine.python.cdk;
    reply(StatusCode::OK, &json!({"available": true, "cdk_version": cdk, "capabilities": capabilities}))
}

/// A request that is ready for the CDK.
struct Call {
    manifest: Value,
    config: Value,
    stream_name: String,
    state: Vec<Value>,
    components: Option<String>,
    records: u64,
    pages: u64,
    slices: u64,
    streams: u64,
}

impl Call {
    fn read(operation: Operation, dialect: Dialect, bytes: &[u8]) -> Result<Self, Refusal> {
        let mut body = Body::parse(bytes)?;
        let manifest = Value::Object(body.object("manifest"));
        let config = match operation {
            Operation::Resolve => Map::new(),
            _ => body.object("config"),
        };
        let is_read = operation == Operation::TestRead;
        let name = if dialect == Dialect::Legacy { "stream" } else { "stream_name" };
        let (stream_name, state, components) = match is_read {
            true => (body.text(name), body.list("state"), body.optional_text("custom_components_code")),
            false => (String::new(), Vec::new(), None),
        };
        let limits =
            [("record_limit", MOST_RECORDS, 100), ("page_limit", MOST_PAGES, 5), ("slice_limit", MOST_PAGES, 5)];
        let [records, pages, slices] =
            limits.map(|(name, most, default)| if is_read { body.limit(name, most, default) } else { default });
        let streams = match operation {
            Operation::FullResolve => body.limit("stream_limit", MOST_STREAMS, MOST_STREAMS),
            _ => MOST_STREAMS,
        };
        body.finish().map_err(|problems| in_dialect(dialect, problems))?;
        let config = Value::Object(config);
        Ok(Self { manifest, config, stream_name, state, components, records, pages, slices, streams })
    }
}

/// The predecessor has one sentence for a limit that is too high (B21).
fn in_dialect(dialect: Dialect, problems: Problems) -> Refusal {
    let too_high = problems.0.iter().find(|it| it["type"] == "less_than_equal");
    match too_high {
        Some(it) if dialect == Dialect::Legacy => {
            let what = it["loc"][1].as_str().unwrap_or_default().replace('_', " ");
            let message = format!("Requested {what} exceeds maximum of {}.", it["ctx"]["le"]);
            Refusal::new(StatusCode::BAD_REQUEST, message)
        }
        _ => problems.into(),
    }
}

pub const NO_CUSTOM_CODE: &str = "custom Python code is off: start flow-shim builder with --custom-code to run it";

async fn answer(
    server: &Server,
    operation: Operation,
    dialect: Dialect,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Response, Refusal> {
    if !headers.get(CONTENT_TYPE).is_none_or(is_json) {
        let problem =
            json!({"type": "model_attributes_type", "loc": ["body"], "msg": "Content-Type is not application/json"});
        return Err(Problems(vec![problem]).into());
    }
    let Call { manifest, config, stream_name, state, components, records, pages, slices, streams } =
        Call::read(operation, dialect, bytes)?;
    let config = Config::of_request(server, config, manifest::config_schema(&manifest).as_ref()).await?;
    let mask = config.mask();
    let uses_code = components.is_some() || manifest::has_custom_code(&manifest);
    if uses_code && !server.custom_code && operation != Operation::Resolve {
        return match operation {
            // As for Airbyte's server (B7).
            Operation::Check => Ok(reply(StatusCode::OK, &json!({"success": false, "message": NO_CUSTOM_CODE}))),
            _ => Err(Refusal::new(StatusCode::BAD_REQUEST, NO_CUSTOM_CODE)),
        };
    }
    let request = json!({
        "command": operation.command(), "manifest": manifest, "config": config.value, "stream_name": stream_name,
        "state": state, "components": components,
        "limits": {"records": records, "pages": pages, "slices": slices, "streams": streams},
    });
    let Answer { mut value, took, was_ready } =
        server.engine.call(&request).await.map_err(|it| Refusal::from(it).masked(&mask))?;
    if operation == Operation::TestRead {
        let viewed = thread::spawn("flow view", move || flow_view::of_test_read(value, &stream_name, records))?;
        value = viewed.await.ok_or_else(|| anyhow::anyhow!("bug in flow-shim: the view of Flow has failed"))?;
    }
    mask.value(&mut value);
    let mut response = reply(StatusCode::OK, &value);
    let cost = format!("cdk;dur={};desc=\"{}\"", took.as_millis(), if was_ready { "ready" } else { "started" });
    if let Ok(cost) = HeaderValue::from_str(&cost) {
        response.headers_mut().insert(HeaderName::from_static("server-timing"), cost);
    }
    Ok(response)
}

fn is_json(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}
