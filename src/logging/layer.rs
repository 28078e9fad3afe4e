//! Turns events of `tracing` into log lines, with the fields of the spans around them.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, EnteredSpan, Id};
use tracing::{Metadata, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::level::{self, Level};
use super::{Fields, Origin, send};

/// Adds the field `rpc` to the lines that are logged within it.
pub fn rpc_span(name: &'static str) -> Span {
    // Of the highest level, so that warnings have the field at each LOG_LEVEL.
    tracing::error_span!("rpc", rpc = name)
}

/// Adds the field `streams` to all lines about one of several processes of the connector, its own lines included.
pub fn process_span(streams: &str) -> Span {
    tracing::error_span!("process", streams)
}

/// The fields of the spans around the present code that a connector's own lines have, too.
pub(super) fn fields_of_process() -> Fields {
    let mut found = Fields::new();
    Span::current().with_subscriber(|(id, subscriber)| {
        let span = subscriber.downcast_ref::<Registry>().and_then(|it| it.span(id));
        for span in span.iter().flat_map(|it| it.scope()).filter(|it| it.name() == "process") {
            found.extend(span.extensions().get::<Fields>().cloned().unwrap_or_default());
        }
    });
    found
}

/// Adds the field `stream` to the lines of this thread for as long as the span lives.
pub fn stream_span(stream: &impl fmt::Display) -> EnteredSpan {
    tracing::error_span!("stream", %stream).entered()
}

pub struct LogLayer;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _context: Context<'_, S>) -> bool {
        Level::from(*metadata.level()) >= level::least()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match level::least() {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
        })
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        attributes.record(&mut visitor);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(visitor.fields);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut visitor = Visitor::default();
        // People know what they have started, and messages name the stream.
        let scope = context.event_scope(event).filter(|_| super::sink().is_for_flow());
        for span in scope.into_iter().flat_map(|it| it.from_root()) {
            if let Some(fields) = span.extensions().get::<Fields>() {
                visitor.fields.extend(fields.clone());
            }
        }
        event.record(&mut visitor);
        send(Level::from(*event.metadata().level()), &visitor.message, visitor.fields, Origin::Shim);
    }
}

#[derive(Default)]
struct Visitor {
    message: String,
    fields: Fields,
}

impl Visitor {
    fn take(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::super::{Line, Sink, redirect};
    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl Sink for Lines {
        fn log(&self, line: &Line) {
            let fields = serde_json::to_string(line.fields).unwrap();
            self.0.lock().unwrap().push(format!("{} {} {fields}", line.level.name(), line.message));
        }

        fn is_for_flow(&self) -> bool {
            true
        }
    }

    #[test]
    fn events_have_the_fields_of_their_spans() {
        let lines = Arc::new(Lines::default());
        redirect(lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(LogLayer), || {
            let _rpc = rpc_span("open").entered();
            tracing::info!(page = 3, "an event");
            let _stream = stream_span(&"users");
            tracing::warn!(slow = true, "another {}", "event");
            tracing::debug!("below the level");
            let _process = process_span("users, orders").entered();
            super::super::connector_line(Level::Info, "the connector's own", Fields::new());
        });
        let lines = lines.0.lock().unwrap();
        let ours: Vec<&String> = lines.iter().filter(|it| it.contains(r#""rpc":"open""#)).collect();
        assert_eq!(
            ours,
            [
                r#"info an event {"rpc":"open","page":3}"#,
                r#"warn another event {"rpc":"open","stream":"users","slow":true}"#
            ]
        );
        assert!(lines.contains(&r#"info the connector's own {"streams":"users, orders"}"#.to_owned()), "{lines:?}");
    }
}
