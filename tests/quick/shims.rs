//! The ready-made shims: each directory is complete, its OAuth templates render, and a strict server accepts the requests.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::authorization::{Rules, Server, Style, browser};
use crate::command::run;
use crate::runtime::repository;
use crate::specs;

const LABEL: &str = "LABEL FLOW_RUNTIME_PROTOCOL=capture CONNECTOR_PROTOCOL=flow-capture";

struct Shim {
    name: String,
    folder: PathBuf,
    /// Its shim.yaml.
    file: Value,
}

impl Shim {
    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_else(|it| panic!("{}/{name}: {it}", self.name))
    }

    fn is_singer(&self) -> bool {
        self.file["protocol"] == "singer"
    }

    fn arguments(&self, connector: Vec<String>) -> Vec<String> {
        ["--shim".to_owned(), format!("shims/{}", self.name)].into_iter().chain(connector).collect()
    }
}

fn shims() -> Vec<Shim> {
    let folders = fs::read_dir(repository().join("shims")).unwrap().map(|it| it.unwrap().path());
    let mut shims: Vec<Shim> = folders
        .map(|folder| {
            let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(folder.join("shim.yaml")).unwrap_or_else(|it| panic!("{name}: {it}"));
            Shim { file: serde_saphyr::from_str(&text).unwrap_or_else(|it| panic!("{name}: {it}")), name, folder }
        })
        .collect();
    shims.sort_by(|a, b| a.name.cmp(&b.name));
    shims
}

/// A typical spec with OAuth: any shim must be usable with it.
fn invented() -> Value {
    let place = |name: &str| json!({"path_in_connector_config": ["credentials", name]});
    json!({
        "connectionSpecification": {"type": "object", "properties": {"credentials": {"type": "object", "oneOf": [
            {"properties": {"kind": {"const": "oauth"}, "client_id": {}, "client_secret": {}, "access_token": {}}},
            {"properties": {"kind": {"const": "key"}, "key": {}}},
        ]}}},
        "advanced_auth": {"auth_flow_type": "oauth2.0", "predicate_key": ["credentials", "kind"], "predicate_value": "oauth",
            "oauth_config_specification": {
                "complete_oauth_output_specification": {"properties": {"access_token": place("access_token")}},
                "complete_oauth_server_output_specification": {"properties": {
                    "client_id": place("client_id"), "client_secret": place("client_secret"),
                }},
            }},
    })
}

#[test]
fn every_shim_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    for shim in shims() {
        let connector = specs::played(folder.path(), &invented());
        // A tap's own schema in shim.yaml decides whether a config is valid.
        let config: &[&str] = if shim.is_singer() { &[] } else { &["--config", "{}"] };
        let arguments = ["inspect"].iter().chain(config).map(|it| (*it).to_owned());
        run(arguments.chain(shim.arguments(connector))).ok();
        let readme = shim.text("README.md");
        assert!(readme.starts_with("# "), "{}", shim.name);
        assert!(readme.contains(&format!("--shim shims/{}", shim.name)), "{}: how is it run?", shim.name);
    }
}

#[test]
fn the_readme_lists_every_shim() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let section = readme.split("## Ready-made shims").nth(1).expect("a section").split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|it| it.strip_prefix("| `shims/")?.split('`').next());
    let listed: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(listed, shims().into_iter().map(|it| it.name).collect());
}

#[test]
fn images_run_the_shim_in_front_of_the_connector() {
    // The demo is in the binary.
    for shim in shims().into_iter().filter(|it| it.name != "demo") {
        let text = shim.text("Dockerfile");
        let lines: Vec<&str> = text.lines().collect();
        let build = format!("-f shims/{}/Dockerfile .", shim.name);
        assert!(
            lines[0].starts_with("# docker build --platform linux/amd64 -t ") && lines[0].contains(&build),
            "{}: {}",
            shim.name,
            lines[0]
        );
        assert!(lines.contains(&LABEL), "{}", shim.name);
        assert!(lines.contains(&"ENTRYPOINT [\"/usr/local/bin/flow-shim\"]"), "{}", shim.name);
        assert!(lines.contains(&"COPY flow-shim /usr/local/bin/flow-shim"), "{}", shim.name);
        let copied: Vec<&str> = lines.iter().filter_map(|it| it.strip_prefix("COPY shims/")).collect();
        assert!(copied[0].starts_with(&format!("{}/shim.yaml ", shim.name)), "{}: {copied:?}", shim.name);
        for file in copied[0].split(' ').rev().skip(1) {
            assert!(
                repository().join("shims").join(file.trim_start_matches("shims/")).exists(),
                "{}: {file}",
                shim.name
            );
        }
        let base = lines.iter().find_map(|it| it.strip_prefix("FROM ")).expect("a base");
        let version = base.split_once(':').expect("a version").1;
        assert_ne!(version, "latest", "{}", shim.name);
        if base.starts_with("docker.io/airbyte/") {
            assert!(!shim.is_singer(), "{}", shim.name);
            assert!(base.starts_with(&format!("docker.io/airbyte/source-{}:", shim.name)), "{}: {base}", shim.name);
        } else {
            // Airbyte's images have their own user; Python's would run as root.
            let user = lines.iter().find_map(|it| it.strip_prefix("USER "));
            assert!(user.is_some_and(|it| it != "root" && it != "0"), "{}: {user:?}", shim.name);
        }
    }
}

#[test]
fn captures_bind_collections_that_exist() {
    for shim in shims() {
        let name = &shim.name;
        let catalog: Value =
            serde_saphyr::from_str(&shim.text("flow.yaml")).unwrap_or_else(|it| panic!("{name}: {it}"));
        let collections = catalog["collections"].as_object().unwrap();
        let mut targets = BTreeSet::new();
        for capture in catalog["captures"].as_object().unwrap().values() {
            assert!(capture["autoDiscover"].is_object(), "{name}");
            let command = capture["endpoint"]["local"]["command"].as_array().unwrap();
            let wanted = json!(["flow-shim", "serve", "--shim", format!("shims/{name}")]);
            assert_eq!(command[..4], *wanted.as_array().unwrap(), "{name}");
            // Either the shim or the command names the connector.
            assert_eq!(command.get(4).is_none(), shim.file.get("command").is_some(), "{name}");
            for binding in capture["bindings"].as_array().unwrap() {
                let modes = match shim.file["protocol"].as_str() {
                    Some("singer") => {
                        Some(("replicationMethod", ["FULL_TABLE", "INCREMENTAL", "LOG_BASED"].as_slice()))
                    }
                    // A table is read in one way.
                    Some("fivetran") => None,
                    _ => Some(("syncMode", ["incremental", "full_refresh"].as_slice())),
                };
                assert!(binding["resource"]["stream"].is_string(), "{name}: {binding}");
                if let Some((mode, modes)) = modes {
                    let mode = binding["resource"][mode].as_str();
                    assert!(mode.is_some_and(|it| modes.contains(&it)), "{name}: {binding}");
                }
                targets.insert(binding["target"].as_str().unwrap());
            }
        }
        assert_eq!(targets, collections.keys().map(String::as_str).collect(), "{name}");
        for (collection, it) in collections {
            // Without the reference to the inferred schema, a published collection never gets inferred columns.
            let read = json!({"allOf": [{"$ref": "flow://relaxed-write-schema"}, {"$ref": "flow://inferred-schema"}]});
            assert_eq!(it["readSchema"], read, "{name}: {collection}");
            let required = it["writeSchema"]["required"].as_array().unwrap();
            for pointer in it["key"].as_array().unwrap() {
                let step = pointer.as_str().and_then(|it| it.strip_prefix('/')?.split('/').next()).unwrap();
                assert!(required.contains(&json!(step)), "{name}: {collection} may have no {pointer}");
                assert!(it["writeSchema"]["properties"].get(step).is_some(), "{name}: {collection}");
            }
        }
    }
}

/// A vendor's OAuth requests as the shim or the connector declares them; the test replaces the URLs by its server's.
struct Vendor {
    name: &'static str,
    style: Style,
    /// Names of the client id, the secret and the code.
    names: [&'static str; 3],
    authorize: &'static str,
    token: &'static str,
    /// User-entered fields.
    config: Value,
}

fn vendors() -> Vec<Vendor> {
    const NAMES: [&str; 3] = ["client_id", "client_secret", "code"];
    let google = ("https://accounts.google.com/o/oauth2/v2/auth", "https://oauth2.googleapis.com/token");
    let vendor =
        |name, style, (authorize, token), config| Vendor { name, style, names: NAMES, authorize, token, config };
    vec![
        vendor(
            "facebook-marketing",
            Style::Query,
            ("https://www.facebook.com/v23.0/dialog/oauth", "https://graph.facebook.com/v23.0/oauth/access_token"),
            json!({"account_ids": ["1"]}),
        ),
        vendor("google-ads", Style::Form, google, json!({"developer_token": "d3veloper-token"})),
        vendor("google-search-console", Style::Form, google, json!({"site_urls": ["https://example.com/"]})),
        vendor("google-sheets", Style::Form, google, json!({"spreadsheet_id": "1"})),
        vendor(
            "hubspot",
            Style::Form,
            ("https://app.hubspot.com/oauth/authorize", "https://api.hubapi.com/oauth/v1/token"),
            json!({}),
        ),
        vendor(
            "intercom",
            Style::Form,
            ("https://app.intercom.com/oauth", "https://api.intercom.io/auth/eagle/token"),
            json!({"start_date": "2024-01-01T00:00:00Z"}),
        ),
        vendor(
            "linkedin-ads",
            Style::Form,
            ("https://www.linkedin.com/oauth/v2/authorization", "https://www.linkedin.com/oauth/v2/accessToken"),
            json!({"start_date": "2024-01-01"}),
        ),
        vendor(
            "notion",
            Style::BasicJson,
            ("https://api.notion.com/v1/oauth/authorize", "https://api.notion.com/v1/oauth/token"),
            json!({}),
        ),
        vendor(
            "shopify",
            Style::Form,
            (
                "https://{{{ config.shop }}}.myshopify.com/admin/oauth/authorize",
                "https://{{{ config.shop }}}.myshopify.com/admin/oauth/access_token",
            ),
            json!({"shop": "acme-co"}),
        ),
        vendor(
            "slack",
            Style::Form,
            ("https://slack.com/oauth/v2/authorize", "https://slack.com/api/oauth.v2.access"),
            json!({"start_date": "2024-01-01T00:00:00Z", "lookback_window": 0, "join_channels": true}),
        ),
        Vendor {
            names: ["app_id", "secret", "auth_code"],
            ..vendor(
                "tiktok-marketing",
                Style::Json,
                (
                    "https://business-api.tiktok.com/portal/auth",
                    "https://business-api.tiktok.com/open_api/v1.3/oauth2/access_token/",
                ),
                json!({}),
            )
        },
        vendor(
            "zendesk-support",
            Style::Json,
            (
                "https://{{{ config.subdomain }}}.zendesk.com/oauth/authorizations/new",
                "https://{{{ config.subdomain }}}.zendesk.com/oauth/tokens",
            ),
            json!({"subdomain": "acme"}),
        ),
    ]
}

/// The shims' own templates; those declared by connectors are tested in signin.rs.
#[test]
fn every_vendor_gets_the_expected_requests() {
    let vendors = vendors();
    let by_shim: Vec<String> =
        shims().into_iter().filter(|it| it.file.get("oauth2").is_some()).map(|it| it.name).collect();
    assert_eq!(by_shim, vendors.iter().map(|it| it.name).collect::<Vec<_>>());
    for Vendor { name, style, names, authorize, token, config } in vendors {
        let server = Server::start(Rules { style, pkce: false, names });
        let folder = tempfile::tempdir().unwrap();
        let mut text = fs::read_to_string(repository().join("shims").join(name).join("shim.yaml")).unwrap();
        for (from, to) in [(authorize, "/authorize"), (token, "/token")] {
            assert_eq!(text.matches(from).count(), 1, "{name}: {from}");
            text = text.replace(from, &(server.address.clone() + to));
        }
        let shim = folder.path().join("shim.yaml");
        fs::write(&shim, text).unwrap();
        let spec = specs::of(name);
        let mut source = vec!["--shim".to_owned(), shim.to_str().unwrap().to_owned()];
        source.extend(specs::played(folder.path(), &spec));
        let signed_in = browser::sign_in(&config, &source);
        specs::check_given(name, folder.path(), &source, &spec, &signed_in);
    }
}

/// Requests made from the connectors' own specs. They were reviewed by hand, as no vendor's server is available here.
#[test]
fn dry_runs_match_the_vendors_documentation() {
    for shim in shims() {
        let is_signed_in = shim.file.get("oauth2").is_some() || ["github", "salesforce"].contains(&shim.name.as_str());
        if !is_signed_in {
            continue;
        }
        let spec = specs::of(&shim.name);
        let folder = tempfile::tempdir().unwrap();
        let source = shim.arguments(specs::played(folder.path(), &spec));
        let run = run(["oauth".to_owned(), "--dry-run".into()].into_iter().chain(source)).ok();
        insta::assert_snapshot!(format!("oauth_{}", shim.name), run.stdout);
    }
}
