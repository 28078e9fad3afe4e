//! What a newcomer does with the demo: edit, test, look at what Flow gets, capture, download.

use fantoccini::key::Key;

use crate::builder::Builder;
use crate::driver::{Browser, control};
use crate::sources::environment;

fn demo() -> (Builder, Browser) {
    let python = environment("manifest-server").join("bin/python");
    let builder = Builder::start(&["--demo", "--python", python.to_str().expect("a path")], &[]);
    let browser = Browser::open(builder.url());
    browser.wait("document.querySelectorAll('#streams li').length === 3");
    (builder, browser)
}

#[test]
#[ignore = "needs browser: tests/run --browser"]
fn a_manifest_is_edited_with_problems_at_their_lines() {
    let (_builder, browser) = demo();
    browser.wait_for_text("#problem-count", "Valid");
    browser.retype("BearerAuthenticator", "BeerAuthenticator");
    browser.wait_for_text("#problem-count", "1 problem");
    assert!(browser.text("#problems").contains("a component of type BeerAuthenticator can't stand here"));
    let line = "document.getElementById('manifest-text').value.split('\\n').findIndex((it) => it.includes('BeerAuthenticator')) + 1";
    let marked = browser.get("Number(document.querySelector('.gutter .problem').textContent)");
    assert_eq!(marked, browser.get(line));
    assert_eq!(browser.get("document.getElementById('unsaved').hidden"), false);
    browser.prefer_dark(true);
    browser.resize(1024, 768);
    browser.screenshot("builder-problem.png");
    browser.retype("BeerAuthenticator", "BearerAuthenticator");
    browser.wait_for_text("#problem-count", "Valid");
    // Broken YAML: the streams stay.
    browser.retype("streams:\n", "streams: [\n");
    browser.wait("document.querySelector('#problems').innerText.match(/Line \\d+/)");
    assert_eq!(browser.get("document.querySelectorAll('#streams li').length"), 3);
    // A link of the list leads to the line.
    browser.click("#problems button");
    assert_eq!(browser.get("document.activeElement.id"), "manifest-text");
    // Typed keys are indented as their line is, and undone.
    browser.retype("streams: [\n", "streams:\n");
    browser.retype("  - type: DeclarativeStream\n    name: customers\n", &format!("{}x:{}y", Key::Down, Key::Enter));
    let value = browser.get("document.getElementById('manifest-text').value");
    assert!(value.as_str().is_some_and(|it| it.contains("x:\n")), "{value}");
}

#[test]
#[ignore = "needs browser: tests/run --browser"]
fn a_test_read_shows_pages_requests_records_and_flow() {
    let (_builder, browser) = demo();
    // The form hides the key, and does not even have it.
    browser.click("#tab-config");
    assert_eq!(browser.get("document.querySelector('#config [name=api_key]').type"), "password");
    assert_eq!(browser.get("document.querySelector('#config [name=api_key]').value"), "");
    browser.keys("#config [name=api_key]", "wrong-key-of-the-test");
    browser.click("#check");
    browser.wait_for_text("#check-result", "401");
    browser.click("#test-read");
    browser.wait_for_text("#read-error", "401");
    browser.click("#tab-requests");
    browser.wait_for_text("#panel-requests", "The shop does not know this API key.");
    assert!(!browser.text("body").contains("wrong-key-of-the-test"));
    browser.fill("#config [name=api_key]", "demo-key");
    browser.click("#check");
    browser.wait_for_text("#check-result", "The connection works.");
    browser.click("#tab-manifest");
    browser.click("#tab-records");
    browser.press(&control(&Key::Enter.to_string()));
    browser.wait("document.querySelector('#records tbody')");
    assert!(browser.text("#records").contains("customer-1@corner-coffee.example"));
    assert_eq!(browser.text("#tab-records .count"), "100");
    browser.click("[aria-label='Page 2']");
    browser.wait_for_text("#panel-records", "No records");
    browser.click("#tab-requests");
    browser.wait_for_text("#panel-requests", "page=1&per_page=100");

    browser.click("#tab-flow");
    browser.wait("document.querySelector('#documents tbody')");
    let changes = browser.text("#changes");
    for part in ["/created_at", "2026-01-01T00:00:00Z", "unknown-keyword", "/properties/email/format"] {
        assert!(changes.contains(part), "{part}: {changes}");
    }
    assert!(browser.text("#panel-flow").contains("bindingStateV1"));
    assert_eq!(browser.text("#panel-flow .facts .chip.key"), "/id");
    browser.prefer_dark(false);
    browser.resize(1440, 900);
    browser.screenshot("builder.png");
    browser.click("#documents-json");
    browser.wait_for_text("#panel-flow .json", r#"{"_meta":{"row_id":1,"op":"u"},"id":1"#);

    // A stream in slices, without a key.
    browser.click("#streams li:nth-child(3)");
    browser.fill("#limit-records", "5000");
    browser.click("#test-read");
    browser.wait_for_text("#panel-flow .facts", "/_meta/row_id");
    browser.click("#tab-records");
    browser.wait("document.querySelectorAll(\"#panel-records [aria-label^='Slice ']\").length === 3");
}

#[test]
#[ignore = "needs browser: tests/run --browser"]
fn a_capture_has_a_growing_chart_and_its_files_can_be_downloaded() {
    let (_builder, browser) = demo();
    browser.click("#tab-capture");
    browser.click("#capture-start");
    let points = "(document.querySelector('#chart .series-0')?.getAttribute('d').match(/[ML]/g) ?? []).length";
    browser.wait(&format!("{points} >= 6"));
    let before = browser.get(points).as_i64().expect("a count");
    browser.wait(&format!("{points} >= {}", before + 8));
    browser.wait("document.querySelector('#counts td.number').innerText !== '0'");
    browser.screenshot("builder-capture.png");
    browser.wait("document.querySelector('#capture-outcome')");
    assert_eq!(browser.text("#capture-outcome"), "Complete: everything is committed.");
    let counts = browser.text("#counts");
    assert!(counts.contains("20,000") && counts.contains("3,000"), "{counts}");

    browser.click("#capture-start");
    browser.wait("document.querySelector('#chart')");
    browser.click("#capture-stop");
    browser.wait_for_text("#capture-outcome", "Stopped");

    browser.click("#files");
    browser.wait("document.querySelector('#download-all')");
    browser.click("#download-all");
    let shim = browser.downloaded("shim.yaml");
    assert!(shim.contains("command: [./source]") || shim.contains("command: [\"./source\"]"), "{shim}");
    assert!(browser.downloaded("Dockerfile").contains("RUN pip install --no-cache-dir airbyte-cdk==7.39.1"));
    let flow = browser.downloaded("flow.yaml");
    assert!(flow.contains("stream: customers") && !flow.contains("demo-key"), "{flow}");
    assert!(browser.downloaded("manifest.yaml").contains("name: page_views"));
}

#[test]
#[ignore = "needs browser: tests/run --browser"]
fn the_page_needs_no_mouse_and_nothing_from_elsewhere() {
    let (builder, browser) = demo();
    let host = builder.host();
    // From stream to stream and from tab to tab by arrow keys.
    browser.get("document.getElementById('streams').focus()");
    browser.press(&Key::Down.to_string());
    assert_eq!(browser.text("#streams [aria-selected=true] b"), "orders");
    browser.press(&Key::Enter.to_string());
    browser.wait("document.querySelector('#records tbody')");
    browser.get("document.getElementById('tab-records').focus()");
    browser.press(&Key::Right.to_string());
    assert_eq!(browser.get("document.activeElement.id"), "tab-requests");
    assert_eq!(browser.get("document.getElementById('panel-requests').hidden"), false);
    // Tab indents in the editor; after Escape it leaves it.
    browser.get("document.getElementById('manifest-text').focus()");
    browser.press(&format!("{}{}", Key::Escape, Key::Tab));
    assert_ne!(browser.get("document.activeElement.id"), "manifest-text");
    // At 1024 pixels nothing is cut off.
    browser.resize(1024, 768);
    assert_eq!(browser.get("document.documentElement.scrollWidth <= 1024"), true);
    let cut = "[...document.querySelectorAll('button, input, [role=tab]')].filter((it) => it.offsetParent && it.getBoundingClientRect().right > 1024).map((it) => it.id || it.textContent)";
    assert_eq!(browser.get(cut), serde_json::json!([]));
    // Every request went to flow-shim, and nothing is kept in the browser.
    let asked = browser.get("performance.getEntriesByType('resource').map((it) => it.name)");
    let asked = asked.as_array().expect("a list");
    assert!(
        asked.len() > 8
            && asked.iter().all(|it| it.as_str().is_some_and(|it| it.contains(host) || it.starts_with("data:"))),
        "{asked:?}"
    );
    assert_eq!(browser.get("localStorage.length + document.cookie.length"), 0);
}
