//! Specs of connectors (`fixtures/specs`), and the configs passed to a connector with such a spec.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::authorization::{CLIENT_ID, CLIENT_SECRET};
use crate::command::run;

/// The ConnectorSpecification of that name in `fixtures/specs`.
pub fn of(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/specs").join(name).with_extension("json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The arguments of a connector with this spec; it stores its input in `folder`.
pub fn played(folder: &Path, spec: &Value) -> Vec<String> {
    let case = folder.join("spec.case");
    let message = json!({"type": "SPEC", "spec": spec});
    fs::write(&case, format!("A spec.\n\n== spec\n{message}\n")).expect("a case file");
    let player = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/scripted-source");
    let text = |path: &Path| path.to_str().expect("a path").to_owned();
    vec!["--".into(), player.into(), "--received".into(), text(&folder.join("received")), text(&case)]
}

/// Checks that the result of a sign-in is passed to the connector in a form that its schema accepts, with each value where the
/// connector declares it.
pub fn check_given(name: &str, folder: &Path, arguments: &[String], spec: &Value, signed_in: &Value) {
    let mut command = vec!["inspect".to_owned(), "--config".into(), signed_in.to_string()];
    command.extend(arguments.iter().cloned());
    run(&command).ok();
    let given = fs::read_to_string(folder.join("received/discover/config")).expect("the connector's config");
    let given: Value = serde_json::from_str(&given).expect("JSON");
    let validator = jsonschema::validator_for(&spec["connectionSpecification"]).expect("the connector's schema");
    let errors: Vec<String> =
        validator.iter_errors(&given).map(|it| format!("{it} at {}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {signed_in}\n  became {given}\n  {}", errors.join("\n  "));

    let declared = &spec["advanced_auth"]["oauth_config_specification"];
    let places = |of: &str| declared[of]["properties"].as_object().cloned().unwrap_or_default();
    let at = |place: &Value, config: &Value| {
        let path = place["path_in_connector_config"].as_array().expect("a path");
        path.iter().fold(config, |it, step| &it[step.as_str().expect("a name")]).clone()
    };
    for (output, place) in places("complete_oauth_output_specification") {
        // What is not in the token response was entered by the user.
        let wanted = signed_in["credentials"].get(&output).cloned().unwrap_or_else(|| at(&place, signed_in));
        assert!(!wanted.is_null(), "{name}: {output} in {signed_in}");
        assert_eq!(at(&place, &given), wanted, "{name}: {output} in {given}");
    }
    for (output, place) in places("complete_oauth_server_output_specification") {
        // Beside the app's id and secret there may be a value that the user enters.
        let wanted = match signed_in.get(&output) {
            Some(entered) => entered.clone(),
            None if output.contains("secret") => CLIENT_SECRET.into(),
            None => CLIENT_ID.into(),
        };
        assert_eq!(at(&place, &given), wanted, "{name}: {output} in {given}");
    }
    // A connector that only has OAuth declares no predicate.
    let Some(key) = spec["advanced_auth"]["predicate_key"].as_array() else { return };
    let predicate = key.iter().fold(&given, |it, step| &it[step.as_str().expect("a name")]);
    assert_eq!(*predicate, spec["advanced_auth"]["predicate_value"], "{name}: {given}");
}
