//! Chromium without a window, driven by its chromedriver (WebDriver).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::runtime::repository;

/// The CDK takes seconds to start, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Set, screenshots replace those in docs/.
const UPDATE: &str = "UPDATE_SCREENSHOTS";

pub struct Browser {
    runtime: Runtime,
    client: Option<Client>,
    driver: Child,
    /// What was downloaded, and the browser's profile.
    folder: TempDir,
}

impl Browser {
    /// Opens a page.
    pub fn open(url: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().expect("chromedriver is installed: run tests/setup browser");
        let stdout = BufReader::new(driver.stdout.take().expect("its stdout"));
        let port = stdout
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_suffix('.')?.split_once("started successfully on port ")?.1.to_owned()));
        let port = port.expect("chromedriver names its port");
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,900"];
        let profile = format!("--user-data-dir={}", folder.path().join("profile").display());
        let arguments: Vec<&str> = arguments.into_iter().chain([profile.as_str()]).collect();
        let capabilities = Map::from_iter([
            ("goog:chromeOptions".to_owned(), json!({"args": arguments})),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"})),
        ]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            let client = builder.capabilities(capabilities).connect(&format!("http://127.0.0.1:{port}")).await;
            let client = client.expect("Chromium starts");
            client.goto(url).await.expect("the page opens");
            client
        });
        let browser = Self { runtime, client: Some(client), driver, folder };
        let downloads = browser.folder.path().join("downloads");
        browser.chromium("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": downloads}));
        browser
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("an open browser")
    }

    /// What an expression in JavaScript gives.
    pub fn get(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.runtime
            .block_on(self.client().execute(&script, Vec::new()))
            .unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// Waits until an expression holds.
    pub fn wait(&self, expression: &str) {
        let since = Instant::now();
        while !self.get(&format!("Boolean({expression})")).as_bool().unwrap_or_default() {
            assert!(since.elapsed() < PATIENCE, "never true: {expression}; the page: {:.2000}", self.text("body"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until an element has a text that contains this.
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait(&format!("document.querySelector({selector})?.innerText.includes({text})"));
    }

    /// The visible text of an element.
    pub fn text(&self, selector: &str) -> String {
        let text = self.get(&format!("document.querySelector({})?.innerText", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    pub fn click(&self, selector: &str) {
        self.runtime.block_on(async {
            let element =
                self.client().find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
            element.click().await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        });
    }

    /// Types into an element.
    pub fn keys(&self, selector: &str, keys: &str) {
        self.runtime.block_on(async {
            let element =
                self.client().find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
            element.send_keys(keys).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        });
    }

    /// Replaces the value of a field by typing another.
    pub fn fill(&self, selector: &str, text: &str) {
        self.runtime.block_on(async {
            let element =
                self.client().find(Locator::Css(selector)).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
            element.clear().await.unwrap_or_else(|e| panic!("{selector}: {e}"));
            element.send_keys(text).await.unwrap_or_else(|e| panic!("{selector}: {e}"));
        });
    }

    /// Types into whatever has the focus.
    pub fn press(&self, keys: &str) {
        self.runtime.block_on(async {
            let element = self.client().active_element().await.expect("a focused element");
            element.send_keys(keys).await.expect("keys");
        });
    }

    /// Replaces a text in the editor by typing another.
    pub fn retype(&self, from: &str, to: &str) {
        let selected = self.get(&format!(
            "(() => {{ const it = document.getElementById('manifest-text'); const at = it.value.indexOf({from}); it.focus(); it.setSelectionRange(at, at + {from}.length); return at; }})()",
            from = json!(from)
        ));
        assert!(selected.as_i64().is_some_and(|it| it >= 0), "the manifest has no {from}");
        self.press(to);
    }

    /// Saves a screenshot in docs/, if that is wanted.
    pub fn screenshot(&self, name: &str) {
        let image = self.runtime.block_on(self.client().screenshot()).expect("a screenshot");
        assert!(image.starts_with(b"\x89PNG"));
        if std::env::var_os(UPDATE).is_some() {
            fs::write(repository().join("docs").join(name), image).expect("a file in docs");
        }
    }

    /// Sends a command of Chromium's own protocol.
    fn chromium(&self, command: &str, parameters: Value) -> Value {
        let endpoint = Cdp { command: command.to_owned(), parameters };
        self.runtime.block_on(self.client().issue_cmd(endpoint)).unwrap_or_else(|e| panic!("{command}: {e}"))
    }

    pub fn prefer_dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.chromium("Emulation.setEmulatedMedia", features);
    }

    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", size);
    }

    /// Waits for a downloaded file and reads it.
    pub fn downloaded(&self, name: &str) -> String {
        let path: PathBuf = self.folder.path().join("downloads").join(name);
        crate::builder::wait_until(|| path.exists());
        fs::read_to_string(path).expect("a downloaded file")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            let _ = self.runtime.block_on(client.close());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The key Control with another one.
pub fn control(key: &str) -> String {
    format!("{}{key}{}", char::from(Key::Control), char::from(Key::Null))
}

/// A command of Chromium's own protocol, as chromedriver passes it on.
#[derive(Debug)]
struct Cdp {
    command: String,
    parameters: Value,
}

impl fantoccini::wd::WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _url: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({"cmd": self.command, "params": self.parameters}).to_string()))
    }
}
