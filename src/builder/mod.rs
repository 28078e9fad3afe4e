//! `flow-shim builder`: the HTTP API of Airbyte's connector builder for low-code manifests, and a page around it that shows
//! what Flow would make of them.
//!
//! [`api`] speaks the protocol of the CDK's manifest server. Each call is one process of a real CDK ([`engine`]), and
//! [`flow_view`] adds what a capture would write. [`access`] decides who may ask. The page's own requests are in [`page`];
//! everything that they show about a manifest without running it is in [`manifest`].

mod access;
mod api;
mod body;
mod capture;
mod config;
mod demo;
mod engine;
mod environment;
mod flow_view;
mod manifest;
mod page;
mod problems;
mod sign_in;
mod vault;

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tracing::info;

use crate::process::shutdown::Shutdown;
use crate::session::config::read;
use crate::settings::config::ConfigArg;
use crate::settings::file;
use crate::signin;
use crate::terminal::Screen;

use access::Access;
use config::Config;
use engine::Engine;
use environment::Python;
use manifest::Manifest;
use vault::Vault;

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// The manifest to open [default: an example]
    manifest: Option<PathBuf>,
    /// The port to listen on; 0 chooses a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The address to listen on; any but a loopback address requires a token
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// A Python that has the package airbyte-cdk [default: a virtual environment, which flow-shim offers to create]
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArg,
    /// Open a manifest for a small API that is built in
    #[arg(long, conflicts_with_all = ["manifest", "config"])]
    demo: bool,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
    /// Run the Python code of custom components: the components.py beside the manifest, and what requests bring
    #[arg(long)]
    custom_code: bool,
}

const HELP: &str = "\
Serves a page to edit and try a low-code manifest, and the API of Airbyte's manifest server (/v1/manifest/...) and of its \
predecessor (/api/v1/connector_builder/...). A test read also shows what a capture would write to Flow.

Other web pages can't use the server. With AB_JWT_SIGNATURE_SECRET in the environment, or with another --host, requests need \
`Authorization: Bearer TOKEN`: a JWT signed (HS256) with that secret, or the token that is printed at the start.

Examples:
  flow-shim builder --demo --open
  flow-shim builder manifest.yaml --config config.yaml
  flow-shim builder manifest.yaml --python venv/bin/python";

/// The largest body of a request, in bytes.
const LARGEST: usize = 32 * 1024 * 1024;

/// What all requests share.
struct Server {
    engine: Arc<Engine>,
    access: Access,
    vault: Vault,
    document: Document,
    /// The config that the page begins with.
    config: Config,
    shutdown: Shutdown,
    runtime: Handle,
    custom_code: bool,
}

/// The manifest that the page opens.
struct Document {
    /// Where it is saved.
    path: Option<PathBuf>,
    /// What it is called, for people.
    name: String,
    /// Its text, if it is not read from a file.
    text: Option<&'static str>,
}

/// Opened without a manifest and without `--demo`.
const EXAMPLE: &str = include_str!("../../shims/declarative-manifest/manifest.yaml");

impl Document {
    fn of_file(path: &Path) -> Result<Self> {
        let document = Self {
            path: Some(path.to_owned()),
            name: path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            text: None,
        };
        document.read()?;
        Ok(document)
    }

    fn built_in(name: &str, text: &'static str) -> Self {
        Self { path: None, name: name.to_owned(), text: Some(text) }
    }

    /// The text as it is now.
    fn read(&self) -> Result<String> {
        match &self.path {
            Some(path) => std::fs::read_to_string(path).with_context(|| format!("can't read {}", path.display())),
            None => Ok(self.text.unwrap_or_default().to_owned()),
        }
    }

    /// The config of `--config`, or the one beside the manifest in a shim's directory, as the connector gets it.
    async fn load_config(&self, arg: &ConfigArg, shutdown: &Shutdown) -> Result<Config> {
        let folder = self.path.as_deref().and_then(Path::parent).filter(|it| it.join(file::NAME).exists());
        let Some(given) = read(arg, folder, shutdown).await? else { return Ok(Config::default()) };
        let spec = Manifest::parse(&self.read()?).ok().and_then(|it| it.spec());
        let schema = spec.as_ref().map(|it| manifest::derive(it).schema);
        let mut config = Config::load(given, schema.as_ref(), shutdown).await?;
        if let Some(spec) = &spec {
            config.value = sign_in::of_connector(spec, &config.value)?;
        }
        Ok(config)
    }

    /// The code of the custom components beside the manifest.
    fn components(&self) -> Option<String> {
        std::fs::read_to_string(self.path.as_ref()?.with_file_name("components.py")).ok()
    }
}

/// Runs `flow-shim builder`.
pub async fn run(args: &Args, shutdown: &Shutdown, stdout: File) -> ExitCode {
    let python = environment::find(args.python.as_deref(), shutdown).await;
    let screen = Screen::plain();
    let served = match python {
        Ok(python) => serve(args, python, shutdown, stdout).await,
        Err(failure) => Err(failure),
    };
    screen.conclude(served)
}

async fn serve(args: &Args, python: Python, shutdown: &Shutdown, mut stdout: File) -> Result<()> {
    let document = match (&args.manifest, args.demo) {
        (_, true) => Document::built_in("demo.yaml", demo::MANIFEST),
        (Some(path), false) => Document::of_file(path)?,
        (None, false) => Document::built_in("example.yaml", EXAMPLE),
    };
    let config = match args.demo {
        true => demo::start(shutdown).await?,
        false => document.load_config(&args.config, shutdown).await?,
    };
    let (listener, address) = listen(&args.host, args.port).await?;
    let access = Access::new(&args.host, address)?;
    let url = access.url(address);
    info!("airbyte-cdk {} runs the manifests, with Python {}", python.cdk, python.version);
    let engine = Engine::start(python, args.custom_code, shutdown);
    let (shutdown, runtime, custom_code) = (shutdown.clone(), Handle::current(), args.custom_code);
    let stop = shutdown.clone();
    let server =
        Arc::new(Server { engine, access, vault: Vault::default(), document, config, shutdown, runtime, custom_code });
    writeln!(stdout, "{url}").and_then(|()| stdout.flush()).context("can't write to stdout")?;
    if args.open {
        signin::open_browser(&url);
    }
    let stopped = async move {
        stop.requested().await;
    };
    axum::serve(listener, router(server)).with_graceful_shutdown(stopped).await.context("the server has failed")?;
    info!("stopped");
    Ok(())
}

fn router(server: Arc<Server>) -> Router {
    api::routes()
        .merge(page::routes())
        .fallback(api::not_found)
        .method_not_allowed_fallback(api::method_not_allowed)
        .layer(DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn_with_state(server.clone(), access::guard))
        .with_state(server)
}

async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr)> {
    let host = host.trim_matches(['[', ']']);
    let failed = || format!("can't listen on {host}, port {port} (choose others with --host and --port)");
    let listener = TcpListener::bind((host, port)).await.with_context(failed)?;
    let address = listener.local_addr().with_context(failed)?;
    if port != 0 && address.port() != port {
        bail!(failed());
    }
    Ok((listener, address))
}
