//! One declaration of each kind that connectors make, and the result.

use serde_json::{Value, json};

use crate::oauth::{Declaration, Derived, OAuthSetting, derive};

fn derived(schema: &Value, auth: &Value, own: &OAuthSetting) -> Derived {
    let is_legacy = auth.get("oauth2Specification").is_some();
    let (advanced_auth, auth_specification) = if is_legacy { (None, Some(auth)) } else { (Some(auth), None) };
    derive(&Declaration { schema, advanced_auth, auth_specification }, own)
}

/// `advanced_auth` with outputs, clients, inputs and templates, each a map of names to paths.
fn auth(predicate: &Value, outputs: &Value, server: &Value, inputs: &Value, templates: Option<Value>) -> Value {
    let properties = |paths: &Value| -> Value {
        let all = paths.as_object().unwrap().iter();
        let all = all.map(|(name, path)| (name.clone(), json!({"type": "string", "path_in_connector_config": path})));
        json!({"type": "object", "properties": Value::Object(all.collect())})
    };
    let mut auth = json!({
        "auth_flow_type": "oauth2.0",
        "oauth_config_specification": {
            "complete_oauth_output_specification": properties(outputs),
            "complete_oauth_server_output_specification": properties(server),
            "oauth_user_input_from_connector_config_specification": properties(inputs),
        },
    });
    if let Some((key, value)) = predicate.as_array().and_then(|it| Some((it.first()?, it.get(1)?))) {
        auth["predicate_key"] = key.clone();
        auth["predicate_value"] = value.clone();
    }
    if let Some(templates) = templates {
        auth["oauth_config_specification"]["oauth_connector_input_specification"] = templates;
    }
    auth
}

fn urls() -> OAuthSetting {
    OAuthSetting::Given(json!({
        "authUrlTemplate": "https://login.example.co.uk/authorize?client_id={{{ client_id }}}",
        "accessTokenUrlTemplate": "https://login.example.co.uk/token",
        "accessTokenBody": "",
    }))
}

fn text() -> Value {
    json!({"type": "string"})
}

fn two_logins(oauth: Value) -> Value {
    let mut oauth = oauth;
    oauth["auth_type"] = json!({"type": "string", "const": "oauth2.0"});
    json!({
        "type": "object",
        "oneOf": [
            {"type": "object", "title": "API key", "required": ["api_key"], "properties": {"auth_type": {"type": "string", "const": "key"}, "api_key": text()}},
            {"type": "object", "title": "OAuth", "required": ["refresh_token"], "properties": oauth},
        ],
    })
}

/// The reason why there is no OAuth.
fn missing(derived: &Derived) -> &str {
    assert!(derived.oauth2.is_none() && derived.remap.is_nothing());
    derived.missing.as_deref().unwrap_or_default()
}

#[test]
fn a_branch_is_rebuilt_and_user_entered_fields_are_hoisted() {
    let schema = json!({"type": "object", "required": ["start"], "properties": {
        "start": text(),
        "credentials": two_logins(json!({"app_id": text(), "secret": text(), "refresh_token": text(), "tenant_id": {"type": "string", "title": "Tenant"}})),
    }});
    let auth = auth(
        &json!([["credentials", "auth_type"], "oauth2.0"]),
        &json!({"refresh_token": ["credentials", "refresh_token"]}),
        &json!({"app_id": ["credentials", "app_id"], "secret": ["credentials", "secret"]}),
        &json!({"tenant_id": ["credentials", "tenant_id"]}),
        Some(json!({
            "consent_url": "https://{{ tenant_id }}.login.example.com/authorize?{{client_id_param}}&{{redirect_uri_param}}&{{scopes_param}}&{{state_param}}&code_challenge={{ state_value | codechallengeS256 | replace('+', '-') | replace('/', '_') | replace('=', '') }}&code_challenge_method=S256",
            "access_token_url": "https://login.example.com/token",
            "scopes": [{"scope": "a:read"}, {"scope": "b c"}],
            "client_id_key": "app_id",
            "access_token_headers": {"Authorization": "Basic {{ {{client_id_value}}:{{client_secret_value}} | base64Encoder }}"},
            "access_token_params": {"grant_type": "authorization_code", "{{ auth_code_key }}": "{{ auth_code_value }}", "code_verifier": "{{ state_value }}"},
            "extract_output": ["data.refresh_token"],
        })),
    );
    let it = derived(&schema, &auth, &OAuthSetting::Unsaid);
    assert_eq!(it.missing, None);
    insta::assert_json_snapshot!(json!({"schema": it.schema, "oauth2": it.oauth2, "remap": it.remap}));
    let flow = json!({"start": "s", "tenant_id": "t", "credentials": {"auth_type": "oauth2.0", "client_id": "c", "client_secret": "x", "refresh_token": "r"}});
    let connector = json!({"start": "s", "credentials": {"auth_type": "oauth2.0", "app_id": "c", "secret": "x", "refresh_token": "r", "tenant_id": "t"}});
    assert_eq!(it.remap.apply(&flow), connector);
    let key = json!({"start": "s", "credentials": {"auth_type": "key", "api_key": "k"}});
    assert_eq!(it.remap.apply(&key), key);
}

#[test]
fn fields_at_the_root_get_an_object() {
    let schema = json!({"type": "object", "required": ["client_id", "client_secret", "refresh_token", "region"], "properties": {
        "auth_type": {"type": "string", "const": "Client"}, "client_id": text(), "client_secret": text(), "refresh_token": text(),
        "token_expiry_date": {"type": "string", "format": "date-time"}, "region": text(), "is_sandbox": {"type": "boolean"},
    }});
    let auth = auth(
        &json!([["auth_type"], "Client"]),
        &json!({"refresh_token": ["refresh_token"], "token_expiry_date": ["token_expiry_date"]}),
        &json!({"client_id": ["client_id"], "client_secret": ["client_secret"]}),
        &json!({"region": ["region"], "is_sandbox": ["is_sandbox"]}),
        Some(json!({
            "consent_url": "https://{% if is_sandbox %}test{% else %}login{% endif %}.example.com/{{ region }}/authorize?client_id={{ client_id_value }}&redirect_uri={{ {{redirect_uri_value}} | urlEncoder }}&scope={{ scope_value | urlEncoder }}&state={{ state_value }}",
            "access_token_url": "https://{{ 'test' if is_sandbox else 'login' }}.example.com/token",
            "scope": "api refresh",
            "access_token_headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "access_token_params": {"grant_type": "authorization_code", "code": "{{ auth_code_value }}", "redirect_uri": "{{ redirect_uri_value }}", "client_id": "{{ client_id_value }}"},
        })),
    );
    let it = derived(&schema, &auth, &OAuthSetting::Unsaid);
    assert_eq!(it.missing, None);
    insta::assert_json_snapshot!(json!({"schema": it.schema, "oauth2": it.oauth2, "remap": it.remap}));
    let flow = json!({"region": "EU", "credentials": {"client_id": "c", "client_secret": "x", "refresh_token": "r", "token_expiry_date": "d"}});
    let connector = json!({"region": "EU", "client_id": "c", "client_secret": "x", "refresh_token": "r", "token_expiry_date": "d", "auth_type": "Client"});
    assert_eq!(it.remap.apply(&flow), connector);
    let older = json!({"region": "EU", "client_id": "c", "client_secret": "x", "refresh_token": "r"});
    assert_eq!(it.remap.apply(&older), older);
}

#[test]
fn logins_under_another_name_move_whole() {
    let schema = json!({"type": "object", "required": ["authorization"], "properties": {
        "authorization": two_logins(json!({"client_id": text(), "client_secret": text(), "refresh_token": text()})),
    }});
    let outputs = json!({"refresh_token": ["authorization", "refresh_token"]});
    let server =
        json!({"client_id": ["authorization", "client_id"], "client_secret": ["authorization", "client_secret"]});
    let auth = auth(&json!([]), &outputs, &server, &json!({}), None);
    let it = derived(&schema, &auth, &urls());
    assert_eq!(it.schema["required"], json!(["credentials"]));
    assert_eq!(it.schema["properties"]["credentials"]["oneOf"][1]["x-oauth2-provider"], "example");
    assert_eq!(it.oauth2.as_ref().unwrap()["accessTokenResponseMap"], json!({"refresh_token": "/refresh_token"}));
    for login in [
        json!({"auth_type": "key", "api_key": "k"}),
        json!({"auth_type": "oauth2.0", "client_id": "c", "client_secret": "s", "refresh_token": "r"}),
    ] {
        let flow = json!({ "credentials": login });
        assert_eq!(it.remap.apply(&flow), json!({ "authorization": login }));
        assert_eq!(it.remap.undo(&json!({ "authorization": login }), &flow), flow);
    }
}

#[test]
fn the_legacy_declaration_is_understood() {
    let schema = json!({"type": "object", "properties": {
        "credentials": two_logins(json!({"client_id": text(), "client_secret": text(), "refresh_token": text()})),
    }});
    let auth = json!({"auth_type": "oauth2.0", "oauth2Specification": {
        "rootObject": ["credentials", 1],
        "oauthFlowInitParameters": [["client_id"], ["client_secret"]],
        "oauthFlowOutputParameters": [["refresh_token"]],
    }});
    let it = derived(&schema, &auth, &urls());
    assert_eq!(it.missing, None);
    let oauth = &it.schema["properties"]["credentials"]["oneOf"][1];
    assert_eq!(oauth["required"], json!(["client_id", "client_secret", "refresh_token"]));
    assert_eq!(it.schema["properties"]["credentials"]["discriminator"], json!({"propertyName": "auth_type"}));
}

#[test]
fn without_a_declaration_fields_are_found_by_name() {
    let schema = json!({"type": "object", "properties": {
        "credentials": two_logins(json!({"client_id": text(), "client_secret": text(), "refresh_token": text()})),
    }});
    let declaration = Declaration { schema: &schema, advanced_auth: None, auth_specification: None };
    assert_eq!(derive(&declaration, &OAuthSetting::Unsaid).missing, None);
    let OAuthSetting::Given(mut given) = urls() else { unreachable!() };
    given["accessTokenResponseMap"] = json!({"refresh_token": "/refresh_token"});
    let it = derive(&declaration, &OAuthSetting::Given(given));
    assert_eq!(it.missing, None);
    assert_eq!(it.schema["properties"]["credentials"]["oneOf"][1]["x-oauth2-provider"], "example");
}

#[test]
fn references_are_followed() {
    let schema = json!({"type": "object",
        "definitions": {
            "OAuth": {"type": "object", "properties": {"kind": {"const": "oauth"}, "client_id": text(), "client_secret": text(), "access_token": text()}},
            "Key": {"type": "object", "properties": {"kind": {"const": "key"}, "key": text()}},
        },
        "properties": {"credentials": {"anyOf": [{"$ref": "#/definitions/OAuth"}, {"$ref": "#/definitions/Key"}]}},
    });
    let auth = auth(
        &json!([["credentials", "kind"], "oauth"]),
        &json!({"access_token": ["credentials", "access_token"]}),
        &json!({}),
        &json!({}),
        None,
    );
    let it = derived(&schema, &auth, &urls());
    assert_eq!(it.missing, None);
    assert_eq!(it.schema["properties"]["credentials"]["oneOf"][0]["x-oauth2-provider"], "example");
    assert_eq!(it.schema["properties"]["credentials"]["oneOf"][1], json!({"$ref": "#/definitions/Key"}));
}

#[test]
fn a_handwritten_annotation_stays() {
    let mut schema = json!({"type": "object", "properties": {
        "credentials": {"type": "object", "x-oauth2-provider": "acme", "properties": {"client_id": text()}},
    }});
    let declaration = |schema| Declaration { schema, advanced_auth: None, auth_specification: None };
    let OAuthSetting::Given(mut given) = urls() else { unreachable!() };
    given["accessTokenResponseMap"] = json!({"refresh_token": "/refresh_token"});
    let it = derive(&declaration(&schema), &OAuthSetting::Given(given));
    assert_eq!(it.oauth2.unwrap()["provider"], "acme");
    let none = derive(&declaration(&schema), &OAuthSetting::Given(json!({"provider": "", "accessTokenHeaders": {}})));
    assert_eq!((none.oauth2, none.missing), (None, None));
    // A button without `oauth2` would hide the fields.
    schema["properties"]["credentials"].as_object_mut().unwrap().shift_remove("x-oauth2-provider");
    assert_eq!(none.schema, schema);
}

#[test]
fn the_reason_for_no_oauth_is_given() {
    let schema = json!({"type": "object", "properties": {
        "credentials": two_logins(json!({"client_id": text(), "client_secret": text(), "refresh_token": text()})),
    }});
    let with = |templates: Option<Value>| {
        let outputs = json!({"refresh_token": ["credentials", "refresh_token"]});
        auth(&json!([["credentials", "auth_type"], "oauth2.0"]), &outputs, &json!({}), &json!({}), templates)
    };
    let consent =
        |url: &str| Some(json!({"consent_url": url, "access_token_url": "https://x.example/{{ state_value }}"}));
    let cases = [
        (with(None), OAuthSetting::Unsaid),
        (with(consent("https://{{ {'EU': 'a'}[region] }}.example/")), OAuthSetting::Unsaid),
        (with(consent("https://x.example/?{{ nothing }}")), OAuthSetting::Unsaid),
        (with(consent("https://x.example/?{{ client_id_value | md5 }}")), OAuthSetting::Unsaid),
        (with(consent("https://x.example/")), OAuthSetting::Unsaid),
        (with(None), OAuthSetting::Given(json!({"provider": "x"}))),
        (with(None), OAuthSetting::Given(json!({"authUrlTemplate": "https://x.example/"}))),
        (with(None), OAuthSetting::Given(json!([1]))),
        (json!({"auth_flow_type": "oauth1.0"}), OAuthSetting::Unsaid),
        (json!({"predicate_key": ["login", "type"], "predicate_value": "x"}), OAuthSetting::Unsaid),
        (json!({}), OAuthSetting::Unsaid),
    ];
    let said: Vec<String> = cases.iter().map(|(auth, own)| missing(&derived(&schema, auth, own)).to_owned()).collect();
    insta::assert_snapshot!(said.join("\n"));
    let none = derived(&schema, &with(None), &OAuthSetting::Never);
    assert_eq!((none.schema, none.missing), (schema, None));
}

/// A number in a path selects a branch of a `oneOf`. If it can't, there is no OAuth.
#[test]
fn a_number_in_a_path_selects_a_branch() {
    let branch = |name: &str, more: Value| {
        let mut properties = json!({"auth_type": {"type": "string", "const": name}, "client_id": text(), "client_secret": text(), "access_token": text()});
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "object", "properties": properties})
    };
    let schema = json!({"type": "object", "properties": {
        "credentials": {"type": "object", "oneOf": [branch("first", json!({})), branch("second", json!({}))]},
        "plain": {"type": "object", "properties": {"access_token": text()}},
    }});
    let at = |path: Value, predicate: Value| {
        auth(
            &predicate,
            &json!({ "access_token": path }),
            &json!({"client_id": ["credentials", 1, "client_id"]}),
            &json!({}),
            None,
        )
    };
    let first = json!(["credentials", 0, "access_token"]);
    let second = json!(["credentials", 1, "access_token"]);
    for path in [second.clone(), json!(["credentials", "1", "access_token"]), json!(["credentials", "access_token"])] {
        let it = derived(&schema, &at(path, json!([])), &urls());
        assert_eq!(it.missing, None);
        assert_eq!(it.schema["properties"]["credentials"]["oneOf"][0], schema["properties"]["credentials"]["oneOf"][0]);
        assert_eq!(it.schema["properties"]["credentials"]["oneOf"][1]["x-oauth2-provider"], "example");
        let config = json!({"credentials": {"auth_type": "second", "client_id": "c", "client_secret": "s", "access_token": "t"}});
        assert_eq!(it.remap.apply(&config), config);
    }
    let legacy = |root: Value| json!({"auth_type": "oauth2.0", "oauth2Specification": {"rootObject": root, "oauthFlowOutputParameters": [["access_token"]]}});
    let none = json!([]);
    let cases = [
        at(first, none.clone()),
        at(json!(["credentials", 2, "access_token"]), none.clone()),
        at(json!(["plain", 0, "access_token"]), none.clone()),
        at(json!(["credentials", 1]), none.clone()),
        at(json!(["credentials", -1, "access_token"]), none.clone()),
        at(json!(["credentials", 1.5, "access_token"]), none.clone()),
        at(json!([null, "access_token"]), none.clone()),
        at(json!(["plain", "access_token"]), none),
        at(second.clone(), json!([["credentials", "auth_type"], "first"])),
        at(second, json!([["credentials", 0, "auth_type"], "first"])),
        legacy(json!(["credentials", 2])),
        legacy(json!(["plain", 0])),
        legacy(json!(["credentials"])),
    ];
    let reasons: Vec<String> = cases.iter().map(|auth| missing(&derived(&schema, auth, &urls())).to_owned()).collect();
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    the connector's OAuth selects several alternatives of its config
    the connector's OAuth selects an alternative of /credentials that its config does not have
    the connector's OAuth selects an alternative of /plain that its config does not have
    the connector's OAuth has the path ["credentials",1], which does not end with a name
    the connector's OAuth has the path ["credentials",-1,"access_token"], which is not a path
    the connector's OAuth has the path ["credentials",1.5,"access_token"], which is not a path
    the connector's OAuth has the path [null,"access_token"], which is not a path
    the connector's OAuth selects an alternative outside of the object with its fields
    the predicate of the connector's OAuth and its paths select different alternatives
    the connector's OAuth selects several alternatives of its config
    the connector's OAuth selects an alternative of /credentials that its config does not have
    the connector's OAuth selects an alternative of /plain that its config does not have
    none of the connector's logins is the OAuth one
    "#);
}

/// A number in a path selects the branch also where no field lies directly in it.
#[test]
fn a_number_in_a_path_selects_a_branch_with_nested_fields() {
    let branch = |name: &str| {
        let inner = json!({"type": "object", "required": ["token"], "properties": {"token": text()}});
        json!({"type": "object", "required": ["auth_type"], "properties": {"auth_type": {"type": "string", "const": name}, "inner": inner}})
    };
    let schema = json!({"type": "object", "properties": {
        "credentials": {"type": "object", "oneOf": [branch("first"), branch("second")]},
    }});
    let auth = auth(
        &json!([]),
        &json!({"token": ["credentials", 1, "inner", "token"]}),
        &json!({"client_id": ["credentials", 1, "inner", "id"], "client_secret": ["credentials", "1", "secret"]}),
        &json!({}),
        None,
    );
    let it = derived(&schema, &auth, &urls());
    assert_eq!(it.missing, None);
    let logins = &it.schema["properties"]["credentials"]["oneOf"];
    assert_eq!(logins[0], schema["properties"]["credentials"]["oneOf"][0]);
    assert_eq!(logins[1]["x-oauth2-provider"], "example");
    assert_eq!(logins[1]["required"], json!(["auth_type", "client_id", "client_secret", "token"]));
    assert!(it.schema["properties"].get("inner").is_none(), "OAuth fills it in, not the user");
    let flow = json!({"credentials": {"auth_type": "second", "client_id": "c", "client_secret": "s", "token": "t"}});
    let connector = json!({"credentials": {"auth_type": "second", "inner": {"id": "c", "token": "t"}, "secret": "s"}});
    assert_eq!(it.remap.apply(&flow), connector);
    assert_eq!(it.remap.undo(&connector, &flow), flow);
}

/// `"0"` is an index, unless a property has that name.
#[test]
fn a_number_in_quotes_may_be_a_name() {
    let branch = |kind: &str, name: &str| {
        let mut it = json!({"type": "object", "properties": {"kind": {"const": kind}, "client_id": text(), "client_secret": text()}});
        it["properties"][name] = text();
        it
    };
    let with = |name: &str| {
        json!({"type": "object", "properties": {
            "credentials": {"type": "object", "oneOf": [branch("key", "key"), branch("oauth", name)]},
        }})
    };
    let at = |path: Value| {
        let server =
            json!({"client_id": ["credentials", "client_id"], "client_secret": ["credentials", "client_secret"]});
        auth(&json!([["credentials", "kind"], "oauth"]), &json!({ "token": path }), &server, &json!({}), None)
    };
    let named = derived(&with("1"), &at(json!(["credentials", "1"])), &urls());
    assert_eq!(named.missing, None);
    let flow = json!({"credentials": {"kind": "oauth", "client_id": "c", "client_secret": "s", "token": "t"}});
    let connector = json!({"credentials": {"kind": "oauth", "client_id": "c", "client_secret": "s", "1": "t"}});
    assert_eq!(named.remap.apply(&flow), connector);
    let index = derived(&with("token"), &at(json!(["credentials", "1", "token"])), &urls());
    assert_eq!((index.missing, index.remap.apply(&flow)), (None, flow));
    assert_eq!(
        missing(&derived(&with("token"), &at(json!(["credentials", "1"])), &urls())),
        r#"the connector's OAuth has the path ["credentials","1"], which does not end with a name"#
    );
}

/// What the declaration selects stays selected where shim.yaml names the fields.
#[test]
fn named_fields_are_in_the_selected_branch() {
    let fields = json!({"client_id": text(), "client_secret": text(), "refresh_token": text()});
    let mut more = fields.clone();
    more["kind"] = json!({"const": "other"});
    let mut kind = fields.clone();
    kind["kind"] = json!({"const": "oauth"});
    let schema = |container: &str| {
        json!({"type": "object", "properties": {
            container: {"type": "object", "oneOf": [{"type": "object", "properties": more}, {"type": "object", "properties": kind}]},
        }})
    };
    let OAuthSetting::Given(mut given) = urls() else { unreachable!() };
    given["accessTokenResponseMap"] = json!({"refresh_token": "/refresh_token"});
    let given = OAuthSetting::Given(given);
    let legacy = |root: Value| json!({"auth_type": "oauth2.0", "oauth2Specification": { "rootObject": root }});
    let server = |index: Value| {
        let path = |name: &str| json!(["credentials", index, name]);
        let server = json!({"client_id": path("client_id"), "client_secret": path("client_secret")});
        auth(&json!([]), &json!({}), &server, &json!({}), None)
    };
    for (container, auth) in [
        ("credentials", legacy(json!(["credentials", 1]))),
        ("credentials", legacy(json!(["credentials", "1"]))),
        ("authorization", legacy(json!(["authorization", 1]))),
        ("credentials", auth(&json!([["credentials", "kind"], "oauth"]), &json!({}), &json!({}), &json!({}), None)),
        ("credentials", server(json!(1))),
    ] {
        let it = derived(&schema(container), &auth, &given);
        assert_eq!(it.missing, None, "{auth}");
        let logins = &it.schema["properties"]["credentials"]["oneOf"];
        assert_eq!(
            (&logins[0]["x-oauth2-provider"], &logins[1]["x-oauth2-provider"]),
            (&Value::Null, &json!("example")),
            "{auth}"
        );
    }
}

/// Found by fuzzing: the template's own text can look like the beginning of a tag.
#[test]
fn templates_that_cannot_be_read_are_missing() {
    let schema = json!({"type": "object", "properties": {"credentials": {"type": "object", "properties": {"refresh_token": {}}}}});
    let oauth2 = json!({
        "provider": "example", "authUrlTemplate": "https://example.com/{{#now", "accessTokenUrlTemplate": "https://example.com/token",
        "accessTokenResponseMap": {"refresh_token": "/refresh_token"},
    });
    let declaration = Declaration { schema: &schema, advanced_auth: None, auth_specification: None };
    let it = derive(&declaration, &OAuthSetting::Given(oauth2));
    assert_eq!(it.oauth2, None);
    assert_eq!(missing(&it), "`authUrlTemplate` of `oauth2` is not a template: a tag has no `}}`");
}
