//! The page, and the requests that only it makes.

use std::io::Write;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tracing::warn;

use super::api::{self, Dialect, Refusal, reply};
use super::body::Body;
use super::capture::{self, Connector};
use super::config::Config;
use super::manifest::{self, Manifest};
use super::problems::ComponentSchema;
use super::vault::Mask;
use super::{Server, sign_in};
use crate::error;
use crate::init::{self, Package};
use crate::oauth::OAuthSetting;
use crate::process::thread;
use crate::serve;
use crate::signin::Client;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// The files of the page; the first is the page itself.
const FILES: [(&str, &str, &str); 9] = [
    ("index.html", HTML, include_str!("page/index.html")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("main.js", JS, include_str!("page/main.js")),
    ("dom.js", JS, include_str!("page/dom.js")),
    ("server.js", JS, include_str!("page/server.js")),
    ("editor.js", JS, include_str!("page/editor.js")),
    ("form.js", JS, include_str!("page/form.js")),
    ("results.js", JS, include_str!("page/results.js")),
    ("capture.js", JS, include_str!("page/capture.js")),
];

pub fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/", get(async || file("index.html")))
        .route("/page/{name}", get(async |Path(name): Path<String>| file(&name)))
        .route("/builder/start", get(start))
        .route("/builder/outline", post(outline))
        .route("/builder/save", post(save))
        .route("/builder/files", post(files))
        .route("/builder/capture", post(run_capture))
        .route("/builder/sign_in", post(run_sign_in))
}

fn file(name: &str) -> Response {
    match FILES.iter().find(|it| it.0 == name) {
        Some((_, kind, text)) => ([(CONTENT_TYPE, *kind)], *text).into_response(),
        None => api::refuse(Dialect::ManifestServer, Refusal::new(StatusCode::NOT_FOUND, "Not Found")),
    }
}

/// What a handler of the page returns.
type Handled = Result<Response, PageError>;

struct PageError(Refusal);

impl<E: Into<Refusal>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        api::refuse(Dialect::ManifestServer, self.0)
    }
}

/// What the page begins with.
async fn start(State(server): State<Arc<Server>>) -> Handled {
    let document = &server.document;
    let text = document.read()?;
    let config = server.vault.conceal(server.config.value.clone(), &server.config.secrets);
    let python = &server.engine.python;
    Ok(reply(
        StatusCode::OK,
        &json!({
            "name": document.name, "text": text, "can_save": document.path.is_some(), "config": config,
            "cdk": python.cdk, "python": python.version, "custom_code": server.custom_code,
            "components": server.custom_code.then(|| document.components()).flatten(),
            "flow_shim": env!("CARGO_PKG_VERSION"),
        }),
    ))
}

/// The schema of manifests, which is read once; without it no problems are found but those of YAML.
fn component_schema(server: &Server) -> Option<&'static ComponentSchema> {
    static SCHEMA: OnceLock<Option<ComponentSchema>> = OnceLock::new();
    let read = || {
        let read = ComponentSchema::read(&server.engine.python.component_schema());
        read.inspect_err(|failure| warn!("{}", error::sentence(failure))).ok()
    };
    SCHEMA.get_or_init(read).as_ref()
}

async fn outline(State(server): State<Arc<Server>>, bytes: Bytes) -> Handled {
    let mut body = Body::parse(&bytes)?;
    let text = body.text("text");
    body.finish()?;
    let found = thread::spawn("outline", move || {
        let found = manifest::outline(&text, component_schema(&server));
        serde_json::to_value(found)
    })?;
    let found = found.await.ok_or_else(|| anyhow!("bug in flow-shim: the manifest can't be read"))?;
    Ok(reply(StatusCode::OK, &found.context("can't describe the manifest")?))
}

/// Writes the manifest's file.
async fn save(State(server): State<Arc<Server>>, bytes: Bytes) -> Handled {
    let mut body = Body::parse(&bytes)?;
    let text = body.text("text");
    body.finish()?;
    let path =
        server.document.path.as_ref().ok_or_else(|| anyhow!("there is no file to save to: download the manifest"))?;
    let failed = || format!("can't write {}", path.display());
    let folder = path.canonicalize().ok().and_then(|it| Some(it.parent()?.to_owned())).with_context(failed)?;
    // Whole or not at all, at the file's own place if it is a link.
    let mut file = NamedTempFile::new_in(folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    let target = path.canonicalize().with_context(failed)?;
    let mode = target.metadata().with_context(failed)?.permissions();
    file.as_file().set_permissions(mode).with_context(failed)?;
    file.persist(&target).map_err(|it| it.error).with_context(failed)?;
    Ok(reply(StatusCode::OK, &json!({"saved": path.display().to_string()})))
}

/// A manifest and a config of the page.
struct Given {
    manifest: Manifest,
    config: Config,
    mask: Mask,
}

impl Given {
    /// Manifests with custom code are refused where it may not run.
    async fn read(server: &Server, body: &mut Body, runs: bool) -> Result<Self, PageError> {
        let text = body.text("text");
        let config = Value::Object(body.object("config"));
        let manifest = Manifest::parse(&text).map_err(|it| manifest::unreadable(&it))?;
        let schema = manifest::config_schema(&manifest.value);
        let config = Config::of_request(server, config, schema.as_ref()).await?;
        let mask = config.mask();
        let has_code = manifest::has_custom_code(&manifest.value);
        if runs && has_code && !server.custom_code {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, api::NO_CUSTOM_CODE).into());
        }
        Ok(Self { manifest, config, mask })
    }
}

/// The files that `init` would write for the manifest; bindings are discovered if there is a config.
async fn files(State(server): State<Arc<Server>>, bytes: Bytes) -> Handled {
    let mut body = Body::parse(&bytes)?;
    let given = Given::read(&server, &mut body, true).await?;
    body.finish()?;
    let Given { manifest, config, mask } = given;
    let components = server.custom_code.then(|| server.document.components()).flatten();
    let name = name_of(&server.document.name, &manifest);
    let (worker, runtime) = (server.clone(), server.runtime.clone());
    let _slot = server.engine.slots.acquire().await;
    let stop = StopOnDrop::default();
    let shutdown = stop.0.clone();
    let written = thread::spawn("init", move || -> Result<Value> {
        let connector = Connector::new(&worker, &manifest.value, components.as_deref())?;
        let session = connector.session(shutdown.clone(), OAuthSetting::Unsaid)?;
        // The page's config is the connector's own, in which OAuth moves nothing.
        let reading = connector.session(shutdown, OAuthSetting::Never)?;
        let config = to_raw_value(&config.value)?;
        let python = &worker.engine.python;
        let version = Some(python.version.clone());
        let cdk = Package {
            name: "airbyte-cdk".to_owned(),
            version: Some(python.cdk.clone()),
            python: version,
            ..Package::default()
        };
        let files = runtime.block_on(async {
            let bindings = match config.get() {
                "{}" => None,
                _ => Some(serve::discovered(reading.discover(&config).await?, &reading.settings.streams)),
            };
            init::of_manifest(&name, cdk, &session, bindings).await
        })?;
        Ok(files.into_iter().map(|(name, text)| json!({"name": name, "text": text})).collect())
    })?;
    let written = tokio::select! {
        written = written => written,
        reason = server.shutdown.requested() => {
            stop.0.request(reason);
            None
        }
    };
    let files = written.ok_or_else(|| anyhow!("flow-shim builder is being stopped"))?;
    let files = files.map_err(|it| Refusal::new(StatusCode::BAD_REQUEST, mask.text(&error::sentence(&it))))?;
    Ok(reply(StatusCode::OK, &json!({"files": files})))
}

/// Stops what a dropped request has started.
#[derive(Default)]
struct StopOnDrop(crate::process::shutdown::Shutdown);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request(error::Reason::Enough);
    }
}

/// The name of the connector: of the file, or of the spec's title for `manifest.yaml`.
fn name_of(file: &str, manifest: &Manifest) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let title = manifest.spec().and_then(|it| it.config_schema.get("title")?.as_str().map(str::to_owned));
    let name =
        if stem == "manifest" || stem == "demo" { title.unwrap_or_else(|| stem.to_owned()) } else { stem.to_owned() };
    let word: String =
        name.to_lowercase().chars().map(|it| if it.is_ascii_alphanumeric() { it } else { '-' }).collect();
    let word = word.split('-').filter(|it| !it.is_empty()).collect::<Vec<_>>().join("-");
    if word.starts_with("source-") { word } else { format!("source-{word}") }
}

async fn run_capture(State(server): State<Arc<Server>>, bytes: Bytes) -> Handled {
    let mut body = Body::parse(&bytes)?;
    let given = Given::read(&server, &mut body, true).await?;
    let streams = body.list("streams").iter().filter_map(|it| it.as_str().map(str::to_owned)).collect();
    body.finish()?;
    Ok(capture::start(&server, &given.manifest.value, &given.config.value, streams, given.mask)?)
}

async fn run_sign_in(State(server): State<Arc<Server>>, bytes: Bytes) -> Handled {
    let mut body = Body::parse(&bytes)?;
    let given = Given::read(&server, &mut body, false).await?;
    let client = Client { id: body.text("client_id"), secret: body.text("client_secret") };
    body.finish()?;
    let spec = given.manifest.spec().ok_or_else(|| anyhow!("the manifest has no spec"))?;
    Ok(sign_in::start(&server, spec, given.config, client)?)
}
