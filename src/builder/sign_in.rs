//! A sign-in from the page: as `flow-shim oauth` does it, with the URL shown by the page.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::response::Response;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::capture::Lines;
use super::config::Config;
use super::{Server, manifest};
use crate::error::{self, Reason};
use crate::oauth::OAuthSetting;
use crate::process::shutdown::Shutdown;
use crate::secrets;
use crate::session::mapping::Endpoint;
use crate::settings::ConfigMap;
use crate::signin::{self, Client, Declared};
use crate::upstream::Spec;

/// Streams the URL to sign in at, then the config with the credentials, whose secrets the page gets placeholders for.
pub fn start(server: &Arc<Server>, spec: Spec, config: Config, client: Client) -> Result<Response> {
    secrets::redact_text(&client.secret);
    let derived = manifest::derive(&spec);
    let Some(oauth2) = derived.oauth2.clone() else {
        bail!("can't sign in: {}", derived.missing.as_deref().unwrap_or("the manifest declares no OAuth"));
    };
    let Config { value, mut secrets } = config;
    let config = value.as_object().cloned().unwrap_or_default();
    let (lines, response) = Lines::new();
    let (stop, server) = (Shutdown::default(), server.clone());
    tokio::spawn(async move {
        let (urls, mut shown) = mpsc::channel(1);
        let declared = Declared { oauth2: &oauth2, config_schema: &derived.schema };
        let show = |url: &str| drop(urls.try_send(url.to_owned()));
        let signing_in = signin::obtain(&declared, &client, config, signin::PORT, &stop, show);
        let mut signing_in = std::pin::pin!(signing_in);
        let result = loop {
            tokio::select! {
                result = &mut signing_in => break result,
                Some(url) = shown.recv() => {
                    lines.send(&json!({"url": url})).await;
                }
                () = lines.closed(), if stop.reason().is_none() => {
                    stop.request(Reason::Enough);
                }
                reason = server.shutdown.requested(), if stop.reason().is_none() => {
                    stop.request(reason);
                }
            }
        };
        let result = result.and_then(|config| of_connector(&spec, &config));
        let line = match result {
            Ok(config) => {
                secrets.extend(secrets::find(&config, Some(&spec.config_schema)));
                secrets::redact_texts(secrets.clone());
                json!({"config": server.vault.conceal(config, &secrets)})
            }
            Err(failure) => json!({"error": secrets::redacted(&error::sentence(&failure))}),
        };
        lines.send(&line).await;
    });
    Ok(response)
}

/// Flow's config as the connector gets it.
pub fn of_connector(spec: &Spec, config: &Value) -> Result<Value> {
    let endpoint = Endpoint::new(None, ConfigMap::default(), OAuthSetting::Unsaid);
    endpoint.derive(spec);
    let config = to_raw_value(config)?;
    let mapping = endpoint.mapping(&config, None)?.unwrap_or_default();
    let given = endpoint.to_connector(&config, &mapping)?;
    serde_json::from_str(given.get()).context("can't read the config")
}
