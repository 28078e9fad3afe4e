//! `flow-shim oauth`: signs in as Flow would, on a developer's machine, to test a shim's OAuth without Flow.
//!
//! The authorization server redirects the browser to this machine with a code. The code is exchanged for tokens with the
//! shim's templates, and the result is written to a config's `credentials`.

mod callback;
mod exchange;

use anyhow::{Context, Result, anyhow, bail};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::error;
use crate::http;
use crate::process::shutdown::Shutdown;
use crate::process::thread;
use crate::secrets;
use crate::session::Session;
use crate::settings::SourceArgs;
use crate::settings::config::ConfigArg;
use crate::terminal::Screen;

use callback::Callback;
pub use exchange::Client;
use exchange::{Exchange, TokenRequest};

#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    /// Client id of your registered OAuth app [default: $OAUTH_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// Client secret of the app [default: $OAUTH_CLIENT_SECRET]
    #[arg(long, value_name = "SECRET")]
    client_secret: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
    /// Write the config to this file, readable only by you, instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Local port of the redirect URI
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// Print the authorize URL and the token request without sending anything
    #[arg(long)]
    dry_run: bool,
    #[command(flatten, next_help_heading = "Source")]
    source: SourceArgs,
}

/// The port of the redirect URI that users register.
pub const PORT: u16 = 16963;

const HELP: &str = "\
Register http://localhost:16963 as a redirect URI of your OAuth app. Fields that the sign-in needs, such as a subdomain, \
are read from the config.

Examples:
  flow-shim oauth --shim DIR --dry-run
  flow-shim oauth --shim DIR --client-id ID --client-secret SECRET --output config.json";

pub async fn run(args: &Args, shutdown: &Shutdown, mut stdout: File) -> ExitCode {
    let screen = Screen::open();
    screen.conclude(sign_in(args, shutdown, &screen, &mut stdout).await)
}

async fn sign_in(args: &Args, shutdown: &Shutdown, screen: &Screen, stdout: &mut File) -> Result<()> {
    let client = client(args)?;
    let session = Session::resolve(&args.source, shutdown.clone())?;
    let config = match session.load_incomplete_config(&args.config).await? {
        Some(config) => serde_json::from_str(config.get())
            .map_err(|it| error::without_input(&it))
            .context("the config can't be read")?,
        None => Map::new(),
    };
    screen.status("asking the connector for its spec");
    let described = session.describe().await?;
    let Some(oauth2) = described.oauth2 else {
        let why = described.missing.unwrap_or_else(|| "the connector declares no OAuth".to_owned());
        bail!("can't sign in: {why}");
    };
    let redirect_uri = format!("http://localhost:{}", args.port);
    if args.dry_run {
        screen.settle();
        let text = dry_run(&oauth2, &client, &redirect_uri, config)?;
        return stdout.write_all(text.as_bytes()).context("can't write to stdout");
    }
    let declared = Declared { oauth2: &oauth2, config_schema: &described.config_schema };
    let show = |url: &str| {
        screen.print(&["Open this URL and sign in:".to_owned(), format!("  {url}")]);
        open_browser(url);
        screen.status("waiting for the sign-in");
    };
    let config = obtain(&declared, &client, config, args.port, shutdown, show).await?;
    screen.settle();
    let text = serde_json::to_string_pretty(&config).context("can't write the config")? + "\n";
    match &args.output {
        Some(path) => write_privately(path, &text).with_context(|| format!("can't write {}", path.display())),
        None => stdout.write_all(text.as_bytes()).context("can't write to stdout"),
    }
}

/// What Flow is told of a connector's OAuth.
pub struct Declared<'a> {
    pub oauth2: &'a Value,
    pub config_schema: &'a Value,
}

/// Signs in at the URL that `show` gets, through a browser. Returns Flow's config, with the credentials.
pub async fn obtain(
    declared: &Declared<'_>,
    client: &Client,
    config: Map<String, Value>,
    port: u16,
    shutdown: &Shutdown,
    show: impl FnOnce(&str),
) -> Result<Value> {
    let (state, verifier) = (random()?, random()?);
    let entered = Value::Object(config.clone());
    let redirect_uri = format!("http://localhost:{port}");
    let exchange = Exchange::new(declared.oauth2, client, &redirect_uri, &entered, &state, &verifier);
    let missing_fields = exchange.missing_fields()?;
    if !missing_fields.is_empty() {
        let names = missing_fields.into_iter().collect::<Vec<_>>().join(", ");
        bail!("the sign-in needs these config fields: {names} (set them in the config)");
    }
    let callback = Callback::listen(port)?;
    show(&exchange.authorize_url()?);
    let code = callback.code(&state, shutdown).await?;
    let response = exchanged(exchange.token_request(&code)?, shutdown).await?;
    let credentials = exchange.credentials(&response)?;
    Ok(with_credentials(config, declared.config_schema, credentials))
}

/// The client; placeholders in a dry run.
fn client(args: &Args) -> Result<Client> {
    let given = |value: &Option<String>, variable: &str| value.clone().or_else(|| std::env::var(variable).ok());
    let id = given(&args.client_id, "OAUTH_CLIENT_ID");
    let secret = given(&args.client_secret, "OAUTH_CLIENT_SECRET");
    if args.dry_run {
        return Ok(Client { id: id.unwrap_or_else(|| "CLIENT_ID".to_owned()), secret: "CLIENT_SECRET".to_owned() });
    }
    match (id, secret) {
        (Some(id), Some(secret)) => {
            secrets::redact_text(&secret);
            Ok(Client { id, secret })
        }
        (None, _) => Err(anyhow!("no OAuth app was given: use --client-id or set OAUTH_CLIENT_ID")),
        (_, None) => Err(anyhow!("no client secret was given: use --client-secret or set OAUTH_CLIENT_SECRET")),
    }
}

/// Describes the requests, with placeholders for values that are only known during a sign-in.
fn dry_run(oauth2: &Value, client: &Client, redirect_uri: &str, config: Map<String, Value>) -> Result<String> {
    let mut entered = Value::Object(config);
    let missing = Exchange::new(oauth2, client, redirect_uri, &entered, "", "").missing_fields()?;
    for name in missing {
        let pointer = format!("/{}", name.replace('.', "/"));
        let _ = crate::json::pointer::put(&mut entered, &pointer, name.to_uppercase().into());
    }
    let exchange = Exchange::new(oauth2, client, redirect_uri, &entered, "STATE", "CODE_VERIFIER");
    let TokenRequest { url, headers, body } = exchange.token_request("CODE")?;
    let mut lines = vec!["Authorize URL".to_owned(), format!("  {}", exchange.authorize_url()?), String::new()];
    lines.extend(["Token request".to_owned(), format!("  POST {url}")]);
    lines.extend(headers.iter().map(|(name, value)| format!("  {name}: {value}")));
    if !body.is_empty() {
        lines.extend([String::new(), format!("  {body}")]);
    }
    lines.extend([String::new(), "Response fields copied into credentials".to_owned()]);
    let map = oauth2.get("accessTokenResponseMap").and_then(Value::as_object);
    lines.extend(
        map.into_iter().flatten().map(|(name, place)| format!("  {name}: {}", place.as_str().unwrap_or_default())),
    );
    Ok(lines.join("\n") + "\n")
}

/// 32 random bytes in the encoding that RFC 7636 recommends for verifiers.
pub fn random() -> Result<String> {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], flags).context("can't get random numbers from the system")?;
    }
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Opens a URL in the browser if stderr is a terminal.
pub fn open_browser(url: &str) {
    if std::io::stderr().is_terminal() {
        let command =
            Command::new("xdg-open").arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if let Ok(mut child) = command {
            // Reaped when it ends; nobody waits for it.
            drop(thread::spawn("browser", move || child.wait()));
        }
    }
}

/// Sends the token request. Errors include the server's error fields, never tokens.
async fn exchanged(request: TokenRequest, shutdown: &Shutdown) -> Result<Value> {
    let url = request.url.clone();
    let answer = http::post_async(request.url, request.headers, request.body.into_bytes(), shutdown).await?;
    let host = http::host(&url);
    let response: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let text = |name: &str| response.as_ref().and_then(|it| it.get(name)?.as_str()).map(str::to_owned);
    let details: Vec<String> = ["error", "error_description", "message"].into_iter().filter_map(text).collect();
    if !(200..300).contains(&answer.status) || text("error").is_some() {
        let details = if details.is_empty() { "no details".to_owned() } else { details.join(": ") };
        bail!("{host} rejected the token request with status {}: {details}", answer.status);
    }
    response.ok_or_else(|| anyhow!("{host} answered the token request with invalid JSON"))
}

/// The config as Flow would write it, with the defaults of the OAuth object's fields.
fn with_credentials(mut config: Map<String, Value>, schema: &Value, given: Map<String, Value>) -> Value {
    let credentials = schema.pointer("/properties/credentials");
    let branches = credentials.and_then(|it| it.get("oneOf")?.as_array()).into_iter().flatten();
    let login = credentials.into_iter().chain(branches).find(|it| it.get("x-oauth2-provider").is_some());
    let properties = login.and_then(|it| it.get("properties")?.as_object()).into_iter().flatten();
    let defaults = properties.filter_map(|(name, it)| Some((name.clone(), it.get("default")?.clone())));
    let mut credentials: Map<String, Value> = defaults.collect();
    credentials.extend(given);
    config.insert("credentials".into(), Value::Object(credentials));
    json!(config)
}

fn write_privately(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An existing file may be readable by others.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())
}
