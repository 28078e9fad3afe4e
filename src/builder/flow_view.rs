//! The member `flow` of a test read: what a capture of the same records would write to Flow.

use std::fs::File;
use std::io::{Seek, Write};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::airbyte::{Airbyte, Messages};
use crate::capture::{self, Replayed};
use crate::error;
use crate::inspect;
use crate::json::pointer;
use crate::process::activity::Activity;
use crate::serve;
use crate::settings::streams::StreamRules;
use crate::upstream::{Discovery, LineFeed, Stream};

/// How many records that Flow can't take are found, at most.
const MOST_REFUSED: usize = 20;

/// Completes the CDK's answer to a test read: not more than `limit` records, and `flow`.
pub fn of_test_read(answer: Value, stream_name: &str, limit: u64) -> Value {
    let Value::Object(mut answer) = answer else { return Value::Null };
    let mut read = answer.shift_remove("read").unwrap_or_default();
    let stream = answer.shift_remove("stream").unwrap_or_default();
    let unknown = read.as_object_mut().and_then(|it| it.shift_remove("stream_error"));
    cut(&mut read, usize::try_from(limit).unwrap_or(usize::MAX));
    let failure = failure(&read);
    let mut flow = match view(stream, &read) {
        Ok(flow) => flow,
        Err(problem) => {
            let why = unknown.as_ref().and_then(Value::as_str).map_or(error::sentence(&problem), str::to_owned);
            json!({"stream": stream_name, "warnings": [warning("no-view", &format!("what Flow would get is not known: {why}"))]})
        }
    };
    if let Some(members) = flow.as_object_mut() {
        members.shift_insert(0, "error".to_owned(), failure.map_or(Value::Null, Value::from));
    }
    if let Some(members) = read.as_object_mut() {
        members.insert("flow".to_owned(), flow);
    }
    read
}

/// Drops records beyond the limit, and the pages and slices that only had such.
fn cut(read: &mut Value, limit: usize) {
    let mut left = limit;
    let mut is_cut = false;
    for slice in read["slices"].as_array_mut().into_iter().flatten() {
        for page in slice["pages"].as_array_mut().into_iter().flatten() {
            let Some(records) = page["records"].as_array_mut() else { continue };
            is_cut |= records.len() > left;
            records.truncate(left);
            left -= records.len();
        }
    }
    if is_cut || left == 0 {
        read["test_read_limit_reached"] = true.into();
    }
}

/// The first error of a read, which a program would otherwise have to look for in the logs.
fn failure(read: &Value) -> Option<String> {
    let logs = read["logs"].as_array().into_iter().flatten();
    let errors = logs.filter(|it| it["level"] == "ERROR" || it["level"] == "FATAL");
    let text = |it: &Value| it["message"].as_str().or(it["internal_message"].as_str()).map(str::to_owned);
    errors.filter_map(text).next()
}

fn warning(kind: &str, message: &str) -> Value {
    json!({"kind": kind, "message": message})
}

fn view(declared: Value, read: &Value) -> Result<Value> {
    if !declared.is_object() {
        return Err(anyhow!("the CDK did not describe the stream"));
    }
    let rules = StreamRules::default();
    let stream = Airbyte::default().stream(to_raw_value(&declared)?)?;
    let described = inspect::streams::describe(vec![stream.clone()], &rules).pop().context("a stream is described")?;
    let binding = serve::discovered(vec![stream.clone()], &rules).pop().context("a stream is a binding")?;
    let mut messages = messages(&stream, read)?;
    let mut warnings = Vec::new();
    let mut replayed = replay(&stream, &binding, &messages)?;
    // A record that Flow can't take would end the capture. Here the others are shown all the same.
    while let Some(failure) = replayed.failure.take() {
        let at =
            messages.iter().enumerate().filter(|(_, it)| it.is_record).map(|(at, _)| at).nth(replayed.documents.len());
        let Some(at) = at.filter(|_| warnings.len() < MOST_REFUSED) else {
            warnings.push(warning("capture-fails", &error::sentence(&failure)));
            break;
        };
        let mut refused = warning("record-refused", &error::sentence(&failure));
        refused["record"] = messages[at].record["data"].clone();
        warnings.push(refused);
        messages.remove(at);
        replayed = replay(&stream, &binding, &messages)?;
    }
    let records = messages.iter().filter(|it| it.is_record).map(|it| &it.record["data"]);
    warnings.extend(changed(records, &replayed.documents));
    if let Some(why) = &described.no_source_key {
        warnings.push(warning("no-source-key", &format!("the collection is keyed by /_meta/row_id: {why}")));
    }
    Ok(json!({
        "stream": stream.id.name,
        "collection": described.recommended_name,
        "mode": described.mode,
        "cursor": described.cursor,
        "key": binding.key,
        "documents": replayed.documents,
        "schema": replayed.sourced_schema,
        "declared_schema": stream.schema,
        "write_schema": binding.document_schema,
        "rewrites": described.rewritten,
        "state": replayed.state,
        "warnings": warnings,
    }))
}

/// A message of the connector.
struct Message {
    line: String,
    is_record: bool,
    record: Value,
}

/// The messages that a connector would have printed for this read.
fn messages(stream: &Stream, read: &Value) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut add = |kind: &str, member: &str, content: Value| {
        let line = json!({"type": kind, member: content}).to_string();
        messages.push(Message { line, is_record: kind == "RECORD", record: content });
    };
    for slice in read["slices"].as_array().into_iter().flatten() {
        for page in slice["pages"].as_array().into_iter().flatten() {
            for record in page["records"].as_array().into_iter().flatten() {
                let mut content = json!({"stream": stream.id.name, "data": record, "emitted_at": 0});
                if let Some(namespace) = &stream.id.namespace {
                    content["namespace"] = namespace.as_str().into();
                }
                add("RECORD", "record", content);
            }
        }
        for state in slice["state"].as_array().into_iter().flatten() {
            let mut state = without_nulls(state);
            // Records of the read that are not shown are counted as well.
            if let Some(members) = state.as_object_mut() {
                members.shift_remove("sourceStats");
            }
            add("STATE", "state", state);
        }
    }
    Ok(messages)
}

/// The CDK's server spells out what is absent, down to a stream's own state.
fn without_nulls(state: &Value) -> Value {
    let members = |value: &Value| -> Map<String, Value> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, it)| !it.is_null())
            .map(|(name, it)| (name.clone(), it.clone()))
            .collect()
    };
    let mut state = members(state);
    if let Some(stream) = state.get_mut("stream") {
        let mut inner = members(stream);
        if let Some(descriptor) = inner.get_mut("stream_descriptor") {
            *descriptor = Value::Object(members(descriptor));
        }
        *stream = Value::Object(inner);
    }
    Value::Object(state)
}

fn replay(
    stream: &Stream,
    binding: &crate::flow::response::DiscoveredBinding,
    messages: &[Message],
) -> Result<Replayed> {
    // In memory: the records are nobody else's business.
    let mut file = File::from(memfd_create("messages", MemfdFlags::CLOEXEC)?);
    for message in messages {
        writeln!(file, "{}", message.line)?;
    }
    file.rewind()?;
    let feed = LineFeed::new(file, Messages::default(), Activity::default());
    capture::replay(&Airbyte::default(), stream, binding, Box::new(feed))
}

/// What of the records' values was changed, place by place: dates, and what JSON or Flow does not have.
fn changed<'a>(records: impl Iterator<Item = &'a Value>, documents: &[Box<RawValue>]) -> Vec<Value> {
    struct Change {
        at: String,
        from: Value,
        to: Value,
        count: u64,
    }
    let mut changes: Vec<Change> = Vec::new();
    for (record, document) in records.zip(documents) {
        let document: Value = serde_json::from_str(document.get()).unwrap_or_default();
        compare(record, &document, &mut String::new(), &mut |at, from, to| match changes
            .iter_mut()
            .find(|it| it.at == at)
        {
            Some(it) => it.count += 1,
            None => changes.push(Change { at: at.to_owned(), from: from.clone(), to: to.clone(), count: 1 }),
        });
    }
    let warning = |it: Change| {
        let message = format!("{}: {} becomes {}", it.at, it.from, it.to);
        let mut warning = warning("value-changed", &message);
        (warning["at"], warning["from"], warning["to"]) = (it.at.into(), it.from, it.to);
        warning["count"] = it.count.into();
        warning
    };
    changes.into_iter().map(warning).collect()
}

/// Calls `differs` with each place whose value is another one; items of an array share a place.
fn compare(record: &Value, document: &Value, at: &mut String, differs: &mut impl FnMut(&str, &Value, &Value)) {
    let length = at.len();
    match (record, document) {
        (Value::Object(record), Value::Object(document)) => {
            for (name, value) in record.iter().filter(|(name, _)| length > 0 || *name != "_meta") {
                at.push('/');
                at.push_str(&pointer::escape(name));
                compare(value, document.get(name).unwrap_or(&Value::Null), at, differs);
                at.truncate(length);
            }
        }
        (Value::Array(record), Value::Array(document)) => {
            at.push_str("/*");
            record.iter().zip(document).for_each(|(record, document)| compare(record, document, at, differs));
            at.truncate(length);
        }
        (record, document) if record != document => differs(at, record, document),
        _ => {}
    }
}
