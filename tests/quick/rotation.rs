//! A token that the connector rotates is published encrypted, wherever the runtime says (A18, F7, F27, F28), or the process
//! fails. It is readable nowhere.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command::{Run, flow_shim, scripted};
use crate::services::{Answer, ENCRYPT_CONFIG, ENCRYPT_SECRET, SET_SECRET, Services, UPDATE_CONFIG, encrypted};

const SPEC: &str = r#"{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","required":["refresh_token"],"properties":{"client_id":{"type":"string"},"client_secret":{"type":"string","airbyte_secret":true},"region":{"type":"string"},"zone":{"type":"string"},"refresh_token":{"type":"string","airbyte_secret":true}}},"advanced_auth":{"auth_flow_type":"oauth2.0","oauth_config_specification":{"oauth_connector_input_specification":{"consent_url":"https://www.example.com/authorize?{{client_id_param}}","access_token_url":"https://www.example.com/token"},"complete_oauth_output_specification":{"properties":{"refresh_token":{"path_in_connector_config":["refresh_token"]}}},"complete_oauth_server_output_specification":{"properties":{"client_id":{"path_in_connector_config":["client_id"]},"client_secret":{"path_in_connector_config":["client_secret"]}}}}}}}"#;
const SUCCEEDED: &str = r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}"#;
const FAILED: &str = r#"{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"no access"}}"#;
const RECORD: &str = r#"{"type":"RECORD","record":{"stream":"users","data":{"id":1},"emitted_at":1}}"#;
const CATALOG: &str = r#"{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object","properties":{"id":{"type":"integer"}}},"supported_sync_modes":["full_refresh","incremental"],"source_defined_primary_key":[["id"]]}]}}"#;

/// What is never readable.
const SECRETS: [&str; 6] =
    ["0ld-token", "r0tated-token", "n3west-token", "s3cret-of-it", "s3cret-query", "t4sk-update"];

/// The start of the sentence that names what is lost.
const LOST: &str = "the connector has rotated credentials.refresh_token, which could not be published (";

fn config() -> Value {
    json!({"credentials": {"client_id": "c1ient", "client_secret": "s3cret-of-it", "refresh_token": "0ld-token"}})
}

/// Flow's config with another token.
fn config_with(token: &str) -> Value {
    let mut config = config();
    config["credentials"]["refresh_token"] = token.into();
    config
}

/// The connector says that its config has changed: the token, and these members.
fn control(token: &str, more: Value) -> String {
    let mut config = json!({"client_id": "c1ient", "client_secret": "s3cret-of-it", "refresh_token": token});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": "CONTROL", "control": {"type": "CONNECTOR_CONFIG", "emitted_at": 1, "connectorConfig": {"config": config}}})
        .to_string()
}

/// A connector that rotates its token at each check, discover and read.
fn rotating() -> String {
    case(&control("r0tated-token", json!({})))
}

/// A connector that sends this message at each of them.
fn case(control: &str) -> String {
    format!(
        "It rotates.\n\n== spec\n{SPEC}\n== check\n{control}\n{SUCCEEDED}\n== discover\n{control}\n{CATALOG}\n== read\n{control}\n{RECORD}\n"
    )
}

fn validate() -> Value {
    json!({"validate": {"name": "acmeCo/in/source-x", "config": config(), "bindings": []}})
}

fn discover() -> Value {
    json!({"discover": {"name": "acmeCo/in/source-x", "config": config()}})
}

fn open() -> Value {
    json!({"open": {"capture": {"name": "acmeCo/in/source-x", "config": config(), "bindings": [{
        "resourceConfig": {"stream": "users", "syncMode": "incremental"},
        "resourcePath": ["users"], "stateKey": "users.v1", "collection": {"key": ["/id"]},
    }]}, "version": "1", "state": {"catalogV1": kept_catalog()}}})
}

/// So that no discovery is needed, which would rotate as well.
fn kept_catalog() -> Value {
    let catalog: Value = serde_json::from_str(CATALOG).unwrap();
    json!([{"version": "1", "streams": [catalog["catalog"]["streams"][0]]}])
}

/// The request of a task that has its token in a secret.
fn with_secret(request: Value) -> Value {
    with_secrets(request, json!({"acmeCo/in/token": "/credentials/refresh_token"}))
}

fn with_secrets(mut request: Value, secrets: Value) -> Value {
    if let Some(open) = request.get_mut("open") {
        open["capture"]["secrets"] = secrets;
        open["sealedConfig"] = json!({"credentials": {"client_id": "c1ient"}});
    } else {
        let kind = request.as_object().unwrap().keys().next().unwrap().clone();
        request[kind]["secrets"] = secrets;
    }
    request
}

/// One start of the shim.
struct Setup {
    folder: TempDir,
    command: Command,
}

impl Setup {
    fn new(case: &str) -> Self {
        Self::of(&["serve"], case)
    }

    /// With these arguments before the connector's command.
    fn of(arguments: &[&str], case: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [separator, player, path] = scripted(folder.path(), case);
        let received = folder.path().join("received").to_string_lossy().into_owned();
        let connector = [separator.as_str(), &player, "--received", &received, &path];
        let mut command = flow_shim(arguments.iter().chain(&connector));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { folder, command }
    }

    /// With an encryption service, as older runtimes have it.
    fn encrypting(case: &str, services: &Services) -> Self {
        Self::new(case).encrypt(services)
    }

    fn encrypt(mut self, services: &Services) -> Self {
        self.command.env("ENCRYPTION_URL", format!("{}{ENCRYPT_CONFIG}?key=s3cret-query", services.url));
        self
    }

    /// With `task-update.json`.
    fn mounted(case: &str, services: &Services) -> Self {
        Self::new(case).mount(services)
    }

    fn mount(mut self, services: &Services) -> Self {
        services.mount(self.folder.path(), "t4sk-update-token");
        self.command.env("CONNECTOR_MOUNT", self.folder.path());
        self
    }

    fn level(mut self, level: &str) -> Self {
        self.command.env("LOG_LEVEL", level);
        self
    }

    fn start(&mut self, requests: &[Value]) -> Child {
        let mut child = self.command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for request in requests {
            writeln!(stdin, "{request}").unwrap();
        }
        child
    }

    fn run(mut self, requests: &[Value]) -> Run {
        finished(self.start(requests))
    }
}

fn finished(child: Child) -> Run {
    let run = Run::from(child.wait_with_output().unwrap());
    for secret in SECRETS {
        assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "{}", run.stderr);
    }
    run
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

fn logged(run: &Run) -> Vec<Value> {
    run.stderr.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The configs in `configUpdate` events.
fn updates(run: &Run) -> Vec<Value> {
    let events = logged(run).into_iter().filter(|it| it["fields"]["eventType"] == "configUpdate");
    events.map(|it| it["fields"]["config"].clone()).collect()
}

/// Asserts that the process failed because of a token that is lost, and says why.
fn assert_lost(run: &Run, why: &str) {
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    let last = logged(run).pop().unwrap();
    let message = last["message"].as_str().unwrap();
    assert!(message.contains(LOST) && message.contains(why), "{message}");
    assert!(message.ends_with("so sign in again or update the capture's config"), "{message}");
    assert_eq!(last["level"], "error");
}

fn assert_encrypted(published: &Value, token: &str) {
    assert_eq!(published["credentials"]["refresh_token_sops"], encrypted(&token.into()), "{published}");
    assert_eq!(published["credentials"]["client_secret_sops"], encrypted(&"s3cret-of-it".into()));
    assert!(published["sops"].is_object() && !SECRETS.iter().any(|it| published.to_string().contains(it)));
}

/// Runs each on a thread of its own.
fn each<T: Send + 'static>(all: impl IntoIterator<Item = T>, run: impl Fn(T) + Send + Clone + 'static) {
    let threads: Vec<_> = all
        .into_iter()
        .map(|it| {
            let run = run.clone();
            thread::spawn(move || run(it))
        })
        .collect();
    for it in threads {
        it.join().expect("no failure");
    }
}

const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];

#[test]
fn a_new_config_is_published_encrypted_at_every_level() {
    each(LEVELS, |level| {
        for request in [validate(), discover(), open()] {
            let services = Services::well();
            let run = Setup::encrypting(&rotating(), &services).level(level).run(&[request]).ok();
            let updates = updates(&run);
            assert_eq!(updates.len(), 1, "{}", run.stderr);
            assert_encrypted(&updates[0], "r0tated-token");
            let sent = services.bodies(ENCRYPT_CONFIG).remove(0);
            // Flow's version of the config, with marks for Flow's version.
            assert_eq!(sent["config"], config_with("r0tated-token"));
            let properties = &sent["schema"]["properties"]["credentials"]["properties"];
            assert_eq!(properties["refresh_token"]["secret"], true);
            assert_eq!(properties["refresh_token"]["airbyte_secret"], true);
        }
    });
}

#[test]
fn a_new_config_is_sent_to_the_control_plane() {
    each(LEVELS, |level| {
        let services = Services::well();
        let run = Setup::mounted(&rotating(), &services).level(level).run(&[open()]).ok();
        let sent = services.bodies(UPDATE_CONFIG);
        assert_eq!(sent.len(), 1, "{}", run.stderr);
        assert_encrypted(&sent[0]["config"], "r0tated-token");
        assert_eq!(sent[0]["token"], "t4sk-update-token");
        assert_eq!(sent[0]["secrets"], json!({}));
        assert_eq!(sent[0]["message"], "the connector has changed its config (credentials.refresh_token)");
        // One or the other, never both.
        assert!(updates(&run).is_empty(), "{}", run.stderr);
    });
}

#[test]
fn the_secret_of_a_task_is_replaced() {
    // Runtimes up to mid 2026 send pointers as the names (F28).
    let older = with_secrets(validate(), json!({"/credentials/refresh_token": "acmeCo/in/token"}));
    each([older, with_secret(validate()), with_secret(discover()), with_secret(open())], |request| {
        let services = Services::well();
        let run = Setup::mounted(&rotating(), &services).run(&[request]).ok();
        let sent = services.received();
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0].path, "/secret/encrypt?name=acmeCo%2Fin%2Ftoken");
        assert_eq!(sent[0].body, "r0tated-token");
        let want = json!({"name": "acmeCo/in/token", "value": encrypted(&"r0tated-token".into()),
            "sops": {"lastmodified": "2026-11-26T00:00:00Z"}});
        assert_eq!(sent[1].path, SET_SECRET);
        assert_eq!(sent[1].body, json!({"name": "acmeCo/in/token", "document": want, "token": "t4sk-update-token"}));
        assert!(updates(&run).is_empty(), "{}", run.stderr);
    });
}

#[test]
fn other_members_go_into_the_config_of_a_task_with_secrets() {
    // `access_token` and `added` would be readable there, and `region` would not survive without a running capture.
    let case = case(&control("r0tated-token", json!({"region": "eu", "added": "x"})));
    let services = Services::well();
    let run = Setup::mounted(&case, &services).run(&[with_secret(open())]).ok();
    let sent = services.bodies(UPDATE_CONFIG);
    assert_eq!(sent.len(), 1, "{}", run.stderr);
    assert_eq!(sent[0]["config"], json!({"credentials": {"client_id": "c1ient"}, "region": "eu"}));
    assert_eq!(sent[0]["secrets"], json!({"acmeCo/in/token": "/credentials/refresh_token"}));
    assert!(run.stderr.contains("the capture has no secret for /added"), "{}", run.stderr);
    // The secrets first: the config may be published at once.
    assert_eq!(services.received().last().unwrap().path, UPDATE_CONFIG);

    let services = Services::well();
    let run = Setup::mounted(&case, &services).run(&[with_secret(validate())]).ok();
    assert_eq!((services.bodies(SET_SECRET).len(), services.bodies(UPDATE_CONFIG).len()), (1, 0), "{}", run.stderr);
}

/// Its name, how often it happens, and what the services do to the first requests at a route.
type Misbehaviour = (&'static str, usize, fn() -> Answer);

const MISBEHAVIOURS: [Misbehaviour; 5] = [
    ("retryMillis", 3, || Answer::Status(200, json!({"retryMillis": 20}).to_string())),
    ("500", 1, || Answer::Status(500, "t4sk-update-token".to_owned())),
    ("401", 1, || Answer::Status(401, "an expired token".to_owned())),
    ("closing", 1, || Answer::Broken),
    ("hanging", 1, || Answer::Hang),
];

#[test]
fn no_misbehaviour_loses_a_token() {
    let all = MISBEHAVIOURS.into_iter().zip(LEVELS).flat_map(|it| [(it, SET_SECRET), (it, UPDATE_CONFIG)]);
    each(all, |(((name, times, answer), level), route)| {
        let services = Services::start(
            move |request, earlier| {
                if request.is_for(route) && earlier < times { answer() } else { Answer::Well }
            },
        );
        let request = if route == SET_SECRET { with_secret(open()) } else { open() };
        let run = Setup::mounted(&rotating(), &services).level(level).run(&[request]).ok();
        let sent = services.bodies(route);
        assert_eq!(sent.len(), times + 1, "{name}: {}", run.stderr);
        let at_last = sent.last().unwrap();
        assert!(at_last.to_string().contains(encrypted(&"r0tated-token".into()).as_str().unwrap()), "{name}");
        for secret in SECRETS.iter().filter(|it| **it != "t4sk-update") {
            assert!(!sent.iter().any(|it| it.to_string().contains(secret)), "{name}");
        }
    });
}

#[test]
fn the_token_is_read_anew_for_each_request() {
    let mount = tempfile::tempdir().unwrap();
    let folder = mount.path().to_owned();
    let services = Services::start(move |request, earlier| {
        if !request.is_for(SET_SECRET) || earlier > 0 {
            return Answer::Well;
        }
        let text = std::fs::read_to_string(folder.join("task-update.json")).unwrap();
        std::fs::write(folder.join("task-update.json"), text.replace("-token", "-again")).unwrap();
        Answer::Status(200, json!({"retryMillis": "10"}).to_string())
    });
    services.mount(mount.path(), "t4sk-update-token");
    let mut setup = Setup::new(&rotating());
    setup.command.env("CONNECTOR_MOUNT", mount.path());
    setup.run(&[with_secret(validate())]).ok();
    let tokens: Vec<Value> = services.bodies(SET_SECRET).iter().map(|it| it["token"].clone()).collect();
    assert_eq!(tokens, ["t4sk-update-token", "t4sk-update-again"]);
}

#[test]
fn a_refused_token_fails_the_process() {
    let all = [validate(), open(), with_secret(validate()), with_secret(open())];
    each(all.into_iter().zip(["error", "warn", "info", "trace"]), |(request, level)| {
        let services = Services::start(|request, _| match request.path.starts_with("/task/") {
            true => Answer::Status(403, "t4sk-update-token may not do this".to_owned()),
            false => Answer::Well,
        });
        let run = Setup::mounted(&rotating(), &services).level(level).run(std::slice::from_ref(&request));
        assert_lost(&run, "the control plane answers 403 (*** may not do this)");
        assert!(updates(&run).is_empty());
        // A check that lost the token is not a success; what was read is.
        assert!(!run.stdout.contains("validated"));
        assert_eq!(run.stdout.contains("captured"), request.get("open").is_some());
        assert_eq!(run.stdout.matches("checkpoint").count(), if request.get("open").is_some() { 2 } else { 0 });
    });
}

#[test]
fn an_answer_that_shows_a_secret_is_not_published() {
    type EncryptionAnswer = fn(&Value) -> (u16, Value);
    let answers: [EncryptionAnswer; 6] = [
        // The unencrypted config.
        |sent| (200, sent["config"].clone()),
        // Marked as encrypted, but unencrypted.
        |sent| (200, json!({"sops": {}, "credentials": sent["config"]["credentials"]})),
        |_| {
            (
                200,
                json!({"sops": {}, "credentials": {"refresh_token_sops": "ENC[x]", "client_secret_sops": "s3cret-of-it"}}),
            )
        },
        // Without the token.
        |_| (200, json!({"sops": {}, "credentials": {"client_secret_sops": "ENC[x]"}})),
        |sent| (500, sent.clone()),
        |_| (200, "r0tated-token".into()),
    ];
    each(answers, |answer| {
        let services = Services::start(move |request, _| {
            let (status, answer) = answer(&request.body);
            Answer::Status(status, answer.to_string())
        });
        let run = Setup::encrypting(&rotating(), &services).run(&[validate()]);
        assert!(updates(&run).is_empty(), "{}", run.stderr);
        assert_lost(&run, "the encryption service ");
        let run = Setup::mounted(&rotating(), &services).run(&[open()]);
        assert!(services.bodies(UPDATE_CONFIG).is_empty());
        assert_lost(&run, "the encryption service ");
    });
    let mut setup = Setup::new(&rotating());
    setup.command.env("ENCRYPTION_URL", "http://127.0.0.1:9/nobody?key=s3cret-query");
    assert_lost(&setup.run(&[validate()]), "can't reach http://127.0.0.1:9/nobody");
}

#[test]
fn an_unencrypted_secret_is_not_stored() {
    let answers: [fn(&Value) -> Value; 4] = [
        |sent| json!({"name": "acmeCo/in/token", "value": sent, "sops": {}}),
        |sent| json!({"name": "acmeCo/in/token", "value": encrypted(sent), "copy": sent, "sops": {}}),
        |_| json!({"name": "acmeCo/in/token", "value": "readable", "sops": {}}),
        encrypted,
    ];
    each(answers, |answer| {
        let services = Services::start(move |request, _| match request.is_for(ENCRYPT_SECRET) {
            true => Answer::Status(200, answer(&request.body).to_string()),
            false => Answer::Well,
        });
        let run = Setup::mounted(&rotating(), &services).run(&[with_secret(open())]);
        assert_lost(&run, "the encryption service returned an unencrypted or invalid secret");
        assert!(services.bodies(SET_SECRET).is_empty());
    });
}

#[test]
fn without_an_encryption_service_flows_own_is_asked() {
    // As a proxy, the test sees whom the shim wants to reach.
    let services = Services::start(|_, _| Answer::Status(403, String::new()));
    let mut setup = Setup::new(&rotating());
    setup.command.env_remove("ENCRYPTION_URL").env("HTTPS_PROXY", &services.url).env_remove("NO_PROXY");
    let run = setup.run(&[validate()]);
    assert_lost(&run, "can't reach https://config-encryption.estuary.dev/v1/encrypt-config");
    assert_eq!(services.received()[0].path, "config-encryption.estuary.dev:443");
}

#[test]
fn a_task_with_secrets_never_gets_a_config_update() {
    each([validate(), open()], |request| {
        let services = Services::well();
        let run = Setup::encrypting(&rotating(), &services).run(&[with_secret(request)]);
        assert_lost(&run, "gives no task-update.json");
        assert!(updates(&run).is_empty() && services.received().is_empty());
    });
}

#[test]
fn a_token_without_a_secret_of_its_own_is_lost() {
    let request = with_secrets(open(), json!({"acmeCo/in/id": "/credentials/client_id"}));
    let services = Services::well();
    let run = Setup::mounted(&rotating(), &services).run(&[request]);
    assert_lost(&run, "the capture has no secret for /credentials/refresh_token");
    assert!(services.received().is_empty());
}

#[test]
fn a_stop_does_not_wait_for_a_service_that_hangs() {
    each([open(), with_secret(open())], |request| {
        let services = Services::start(|_, _| Answer::Hang);
        let read = format!(
            "It waits.\n\n== spec\n{SPEC}\n== read\n{}\n{RECORD}\n%wait\n",
            control("r0tated-token", json!({}))
        );
        let mut setup = Setup::mounted(&read, &services);
        let child = setup.start(&[request]);
        services.arrivals.recv_timeout(Duration::from_secs(60)).expect("a request");
        terminate(&child);
        // Also where the stop itself would be a success or has an exit code of its own.
        assert_lost(&finished(child), "can't reach ");
    });
}

#[test]
fn a_token_that_is_rotated_during_a_stop_is_published() {
    let services = Services::well();
    let control = control("r0tated-token", json!({}));
    let read = format!("It stops.\n\n== spec\n{SPEC}\n== read\n%on TERM resume\n{RECORD}\n%wait\n{control}\n");
    let mut setup = Setup::mounted(&read, &services);
    let mut child = setup.start(&[with_secret(open())]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("captured") {
        line.clear();
        assert!(stdout.read_line(&mut line).unwrap() > 0, "no document");
    }
    terminate(&child);
    // One document has no state.
    assert_eq!(finished(child).code, Some(128 + 15));
    assert_eq!(services.bodies(SET_SECRET)[0]["document"]["value"], encrypted(&"r0tated-token".into()));
}

#[test]
fn later_requests_use_the_new_config() {
    let services = Services::well();
    let mut setup = Setup::encrypting(&rotating(), &services);
    let child = setup.start(&[validate(), discover()]);
    let run = finished(child).ok();
    let given = std::fs::read_to_string(setup.folder.path().join("received/discover/config")).unwrap();
    let given: Value = serde_json::from_str(&given).unwrap();
    assert_eq!(given["refresh_token"], "r0tated-token");
    // And it is published once.
    assert_eq!((updates(&run).len(), services.received().len()), (1, 1));
}

#[test]
fn the_newest_config_is_published_last() {
    let (first, newest) = (control("r0tated-token", json!({})), control("n3west-token", json!({})));
    let case = format!("It rotates twice.\n\n== spec\n{SPEC}\n== read\n{first}\n{newest}\n{RECORD}\n{newest}\n");
    let services = Services::start(|request, earlier| match request.is_for(SET_SECRET) && earlier == 0 {
        true => Answer::Status(500, String::new()),
        false => Answer::Well,
    });
    let run = Setup::mounted(&case, &services).run(&[with_secret(open())]).ok();
    let values: Vec<Value> = services.bodies(SET_SECRET).iter().map(|it| it["document"]["value"].clone()).collect();
    let of = |token: &str| encrypted(&token.into());
    assert_eq!(values.last(), Some(&of("n3west-token")), "{}", run.stderr);
    // In order, and not again once it was published.
    assert!(values.is_sorted_by_key(|it| *it == of("n3west-token")));
    assert!(values[1..].iter().filter(|it| **it == of("n3west-token")).count() <= 2, "{values:?}");
}

#[test]
fn a_token_that_discovery_rotated_is_published_by_the_capture() {
    // The kept catalog is of another version: it is discovered again, and goes without if that fails.
    let mut request = open();
    request["open"]["version"] = "2".into();
    request["open"]["capture"]["config"] = config()["credentials"].take();
    let control = control("r0tated-token", json!({}));
    let case = format!("It rotates.\n\n== spec\n{SPEC}\n== discover\n{control}\n{CATALOG}\n== read\n{RECORD}\n");
    let services =
        Services::start(|_, earlier| if earlier < 4 { Answer::Status(500, String::new()) } else { Answer::Well });
    let run = Setup::encrypting(&case, &services).run(std::slice::from_ref(&request)).ok();
    assert_eq!((updates(&run).len(), services.received().len()), (1, 5), "{}", run.stderr);
    let services = Services::start(|_, _| Answer::Status(500, String::new()));
    let run = Setup::encrypting(&case, &services).level("error").run(&[request]);
    assert_eq!(run.code, Some(1));
    assert!(run.last_line().contains("has rotated refresh_token, which could not be published"), "{}", run.stderr);
}

#[test]
fn each_config_of_a_task_with_secrets_has_all_changes() {
    let (first, then) = (json!({"region": "eu"}), json!({"region": "eu", "zone": "z"}));
    let discovered = control("r0tated-token", first);
    let read = control("n3west-token", then);
    let case =
        format!("It rotates.\n\n== spec\n{SPEC}\n== discover\n{discovered}\n{CATALOG}\n== read\n{read}\n{RECORD}\n");
    let mut request = with_secret(open());
    request["open"]["version"] = "2".into();
    let services = Services::well();
    let run = Setup::mounted(&case, &services).run(&[request]).ok();
    let sent = services.bodies(UPDATE_CONFIG);
    assert_eq!(sent.len(), 2, "{}", run.stderr);
    assert_eq!(sent[1]["config"], json!({"credentials": {"client_id": "c1ient"}, "region": "eu", "zone": "z"}));
    assert_eq!(services.bodies(SET_SECRET).len(), 2);
}

#[test]
fn a_migration_that_is_not_published_is_no_error() {
    // The same at each command; no secret is new.
    let case = case(&control("0ld-token", json!({"region": "eu", "copy": "0ld-token"})));
    each([validate(), discover(), open()], move |request| {
        let services = Services::start(|_, _| Answer::Status(500, String::new()));
        let run = Setup::encrypting(&case, &services).run(&[request]).ok();
        assert!(!logged(&run).iter().any(|it| it["level"] == "error"), "{}", run.stderr);
        assert!(run.stderr.contains("the connector has changed its config (region, copy), which is not published"));
        // It is not worth another attempt.
        assert_eq!(services.received().len(), 1);
    });
}

#[test]
fn an_access_token_that_can_be_renewed_is_not_lost() {
    let more = json!({"access_token": "4ccess-token", "token_expiry_date": "2026-11-25T18:49:48+00:00"});
    each([with_secret(validate()), open()], move |request| {
        let services = Services::start(|_, _| Answer::Status(500, String::new()));
        let run = Setup::mounted(&case(&control("0ld-token", more.clone())), &services).run(&[request]).ok();
        assert!(!run.stderr.contains("4ccess-token"), "{}", run.stderr);
    });
}

#[test]
fn a_failed_check_publishes_nothing_but_rotated_tokens() {
    let more = json!({"region": "eu", "added": "x"});
    for (token, published) in [("r0tated-token", 1), ("0ld-token", 0)] {
        let case = format!("It fails.\n\n== spec\n{SPEC}\n== check\n{}\n{FAILED}\n", control(token, more.clone()));
        let services = Services::well();
        let run = Setup::encrypting(&case, &services).run(&[validate()]);
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        let sent = services.bodies(ENCRYPT_CONFIG);
        assert_eq!((sent.len(), updates(&run).len()), (published, published), "{}", run.stderr);
        assert!(sent.iter().all(|it| it["config"] == config_with("r0tated-token")));
        assert_eq!(logged(&run).last().unwrap()["message"], "the connector can't use this config: no access");
    }
}

#[test]
fn two_failures_are_one_sentence() {
    let services = Services::start(|_, _| Answer::Status(500, String::new()));
    let control = control("r0tated-token", json!({}));
    let case = format!(
        "It fails.\n\n== spec\n{SPEC}\n== check\n{control}\n{FAILED}\n== read\n{control}\n%stderr gone wrong\n%exit 3\n"
    );
    for (request, first) in [(validate(), "the connector can't use this config: no access"), (open(), "gone wrong")] {
        let run = Setup::encrypting(&case, &services).run(&[request]);
        assert_lost(&run, "the encryption service answers 500");
        assert!(logged(&run).last().unwrap()["message"].as_str().unwrap().contains(first), "{}", run.stderr);
    }
}

#[test]
fn a_tap_that_rewrites_its_config_file_is_published() {
    let case = "It rewrites.\n\n== read\n%rewrite {\"api_key\":\"n3west-token\",\"start\":\"2020\"}\n{\"type\":\"RECORD\",\"stream\":\"users\",\"record\":{\"id\":1}}\n";
    let services = Services::well();
    let setup = Setup::of(&["serve", "--protocol", "singer"], case).encrypt(&services);
    let mut open = open();
    open["open"]["capture"]["config"] = json!({"api_key": "0ld-token", "start": "2020"});
    open["open"]["capture"]["bindings"][0]["resourceConfig"] =
        json!({"stream": "users", "replicationMethod": "INCREMENTAL", "replicationKey": "updated_at"});
    open["open"]["state"] = json!({});
    let run = setup.run(&[open]).ok();
    assert_eq!(updates(&run).len(), 1, "{}", run.stderr);
    assert_eq!(updates(&run)[0]["api_key_sops"], encrypted(&"n3west-token".into()));
}

#[test]
fn a_preview_publishes_nothing() {
    let services = Services::well();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let text =
        json!({"client_id": "c1ient", "client_secret": "s3cret-of-it", "refresh_token": "0ld-token"}).to_string();
    std::fs::write(&config, text).unwrap();
    for subcommand in ["preview", "inspect"] {
        let setup = Setup::of(&[subcommand, "--config", &config.to_string_lossy()], &rotating());
        let run = setup.encrypt(&services).mount(&services).run(&[]).ok();
        let want =
            "the connector has rotated refresh_token, and the old value may not work any more: update the config file";
        assert_eq!(run.stderr.matches(want).count(), 1, "{}", run.stderr);
        assert!(services.received().is_empty());
    }
}
