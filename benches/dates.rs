//! Measures the cost of dates: `cargo bench --bench dates`. `payload`, the scan of a
//! record alone, is the baseline.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow_shim::dates::{Dates, Typed};
use flow_shim::json::hints::Hints;
use flow_shim::json::watch::Watchlist;
use flow_shim::upstream::line::{DeletionMark, bare_payload};
use serde_json::{Map, Value, json};

/// A record of about 400 bytes with two dates, as airbyte-source-faker has them.
const DELETION: DeletionMark = DeletionMark { member: "_ab_cdc_deleted_at", is_set: |value| value != b"null" };

fn small(date: &str) -> String {
    format!(
        r#"{{"id":4711,"created_at":"{date}","updated_at":"{date}","name":"Reda","title":"M.Sc.Tech.","age":47,"email":"locations1983+4711@protonmail.com","telephone":"+1-(110)-795-7610","gender":"Male","language":"Tamil","academic_degree":"Master","nationality":"Italian","occupation":"Word Processing Operator","height":"1.55","blood_type":"B-","weight":64}}"#
    )
}

/// A record of about 1,000 bytes with ten.
fn large(date: &str) -> String {
    let members = (0..10)
        .map(|it| format!(r#""at_{it}":"{date}","text_{it}":"Lorem ipsum dolor sit amet, {it}","n{it}":1{it}.25,"#));
    format!(r#"{{{}"end":null}}"#, members.collect::<String>())
}

fn dates(names: impl Iterator<Item = String>, watched: &mut Watchlist) -> Option<Dates> {
    let properties: Map<String, Value> =
        names.map(|it| (it, json!({"type": "string", "format": "date-time"}))).collect();
    Dates::of(&json!({"properties": properties}), Typed::Key(&[]), &[], watched)
}

fn records(criterion: &mut Criterion) {
    record(criterion, "small", small, ["created_at", "updated_at"].map(str::to_owned).into_iter());
    record(criterion, "large", large, (0..10).map(|it| format!("at_{it}")));
}

fn record(criterion: &mut Criterion, name: &str, record: fn(&str) -> String, dates: impl Iterator<Item = String>) {
    let right = record("2023-01-30T02:34:15+00:00");
    let wrong = record("2023-01-30T02:34:15.123456");
    // Not a date: it stays as it is.
    let unknown = record("some time in January, 2023");
    let mut watched = Watchlist::default();
    watched.add("id");
    let mut dates = self::dates(dates, &mut watched).expect("dates are declared");
    let mut hints = Hints::default();
    hints.watch(watched);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(right.len() as u64));
    group.bench_function("payload", |it| {
        it.iter(|| bare_payload(black_box(right.as_bytes()), &mut hints, &DELETION).is_ok());
    });
    for (what, text) in [("right", &right), ("unknown", &unknown), ("rewrite", &wrong)] {
        group.bench_function(what, |it| {
            it.iter(|| {
                let payload = bare_payload(black_box(text.as_bytes()), &mut hints, &DELETION).expect("it is a record");
                dates.normalize(payload.bytes, &hints.found).is_some()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = records
}
criterion_main!(benches);
