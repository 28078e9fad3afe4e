//! Snapshots of the generated files for each kind of connector.

use serde_json::{Value, json};

use super::image::Image;
use super::package::Package;
use super::*;
use crate::fivetran::Fivetran;
use crate::singer::Singer;
use crate::upstream::Protocol as _;

fn fields(schema: &Value) -> Vec<Field> {
    inspect::config::fields(schema)
}

fn subject(base: Base, target: Target) -> Subject {
    let schema = json!({"type": "object", "required": ["start", "credentials", "tables", "port"], "properties": {
        "start": {"type": "string", "format": "date-time", "title": "Replication start"},
        "credentials": {"type": "object", "description": "How to sign in.", "oneOf": [
            {"title": "Sign in", "required": ["client_id"], "properties": {
                "auth_type": {"type": "string", "const": "oauth"},
                "client_id": {"type": "string", "secret": true}}},
            {"title": "Key", "properties": {"auth_type": {"type": "string", "const": "key"}}}]},
        "tables": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
        "port": {"type": "integer"},
        "region": {"type": "string", "enum": ["eu", "us"], "default": "eu"},
        "password": {"type": "string", "secret": true, "default": "s3cret"},
        "tunnel": {"type": "object", "properties": {"host": {"type": "string"}}},
    }});
    Subject {
        name: "source-shop".to_owned(),
        protocol: Protocol::Airbyte,
        base,
        target,
        folder: "shims/shop".to_owned(),
        documentation_url: Some("https://docs.example/shop".to_owned()),
        fields: fields(&schema),
        resource_schema: crate::airbyte::Airbyte::default().resource_schema().0,
        provider: None,
        oauth2_missing: None,
        undescribed: None,
        bindings: None,
    }
}

fn all(subject: &Subject) -> String {
    let [shim, dockerfile, flow, readme, ci] = [
        ("shim.yaml", shim_yaml::text(subject)),
        ("Dockerfile", dockerfile::text(subject)),
        ("flow.yaml", flow_yaml::text(subject)),
        ("README.md", readme::text(subject)),
        (".github/workflows/ci.yml", ci::text(subject)),
    ];
    for (_, yaml) in [&shim, &flow, &ci] {
        serde_saphyr::from_str::<Value>(yaml).unwrap();
    }
    [shim, dockerfile, flow, readme, ci].map(|(name, text)| format!("──── {name}\n{text}")).join("\n")
}

#[test]
fn an_image_with_incomplete_oauth() {
    let image = Image {
        name: "docker.io/airbyte/source-shop".to_owned(),
        user: "airbyte".to_owned(),
        command: Some(vec!["/base.sh".to_owned(), "a b".to_owned()]),
        version: Some("1.2.3".to_owned()),
        license: Some("MIT".to_owned()),
        source: None,
    };
    let target = Target::Image(image.name.clone());
    let mut subject = subject(Base::Image(image), target);
    subject.oauth2_missing = Some("the connector declares no URLs".to_owned());
    insta::assert_snapshot!(all(&subject));
}

#[test]
fn a_package_with_streams_in_a_directory_that_needs_quotes() {
    let package = Package {
        name: "airbyte-source-shop".to_owned(),
        version: Some("1.2.3".to_owned()),
        python: Some("3.12".to_owned()),
        license: Some("ELv2".to_owned()),
        source: Some("https://git.example/shop".to_owned()),
    };
    let command = ["../venv/bin/source-shop", "--fast"].map(str::to_owned).to_vec();
    let mut subject = subject(Base::Package(package), Target::Command(command));
    subject.folder = "my shims/it's".to_owned();
    subject.provider = Some("shop".to_owned());
    let stream = |name: &str, key: &[&str]| DiscoveredBinding {
        recommended_name: name.to_owned(),
        resource_config: json!({"stream": name, "syncMode": "incremental", "namespace": null}),
        document_schema: json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}, "x-infer-schema": true}),
        key: key.iter().map(|it| (*it).to_owned()).collect(),
        disable: false,
        is_fallback_key: false,
    };
    subject.bindings = Some(vec![stream("public/users", &["/id"]), stream("größe: ?", &["/a b", "/c"])]);
    insta::assert_snapshot!(all(&subject));
}

#[test]
fn a_tap_without_config_schema() {
    let package = Package { name: "tap-shop".to_owned(), ..Package::default() };
    let command = vec!["python3".to_owned(), "tap.py".to_owned()];
    let mut subject = subject(Base::Package(package), Target::Command(command));
    let given = RawValue::from_string(r#"{"api_key": "s3cret", "shop-id": 7, "rate": 1.5}"#.to_owned()).unwrap();
    subject.name = "tap-shop".to_owned();
    subject.protocol = Protocol::Singer;
    subject.resource_schema = Singer::default().resource_schema().0;
    let schema = proposed(Some(&given));
    (subject.fields, subject.documentation_url) = (fields(&schema), None);
    subject.undescribed = Some(schema);
    subject.bindings = Some(Vec::new());
    let text = all(&subject);
    assert!(!text.contains("s3cret"));
    insta::assert_snapshot!(text);
}

#[test]
fn a_fivetran_connector() {
    let command = ["../venv/bin/python", "shop/main.py"].map(str::to_owned).to_vec();
    let mut subject = subject(Base::Command, Target::Command(command));
    (subject.name, subject.protocol, subject.documentation_url) = ("shop".to_owned(), Protocol::Fivetran, None);
    subject.resource_schema = Fivetran::default().resource_schema().0;
    subject.bindings = Some(Vec::new());
    insta::assert_snapshot!(all(&subject));
}

#[test]
fn the_current_directory_is_named_as_such() {
    let package = Package { name: "tap-shop".to_owned(), version: Some("1".to_owned()), ..Package::default() };
    let mut subject = subject(Base::Package(package), Target::Command(vec!["tap-shop".to_owned()]));
    subject.folder = ".".to_owned();
    let text = all(&subject);
    assert!(text.contains("COPY shim.yaml shim.yaml\n") && text.contains("-f Dockerfile .\n"), "{text}");
    assert!(text.contains("flowctl preview --source flow.yaml\n") && text.contains("`config.json`"), "{text}");
    let text = text.replace("$schema=./", "");
    assert!(!text.contains("contains .") && !text.contains("./"), "{text}");
}

#[test]
fn the_directory_is_relative_to_the_build_context() {
    let here = std::env::current_dir().unwrap();
    let inside = here.join("a/b").to_string_lossy().into_owned();
    for (dir, folder, context) in [
        ("a", "a", "."),
        ("./a//b/", "a/b", "."),
        (inside.as_str(), "a/b", "."),
        (".", ".", "."),
        ("../x", "x", ".."),
        ("/tmp/shims/x", "x", "/tmp/shims"),
    ] {
        let place = Place::of(Path::new(dir)).unwrap();
        assert_eq!((place.folder.as_str(), place.context.as_str()), (folder, context), "{dir}");
    }
    assert!(Place::of(Path::new("..")).is_err());
}
