//! A state without what it holds of some bindings: they start afresh, as if their backfill counters had been raised (F19).

use serde_json::{Map, Value};

use super::ledger::BINDINGS;

/// Removes bindings from a state by their state keys. If no other binding is left, the result is empty: without shared state and
/// without a legacy wrapper's members.
pub fn reset_bindings(state: Value, state_keys: &[String]) -> Value {
    let Value::Object(mut members) = state else { return Value::Object(Map::new()) };
    let Some(Value::Object(cells)) = members.get_mut(BINDINGS) else { return Value::Object(Map::new()) };
    cells.retain(|state_key, _| !state_keys.contains(state_key));
    if cells.is_empty() { Value::Object(Map::new()) } else { Value::Object(members) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shared_state_is_reset_with_the_last_binding() {
        let state = json!({"bindingStateV1": {"a.v0": {"rowId": 1}, "b.v0": {"rowId": 2}}, "sharedStateV1": [1]});
        let keys = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let left = json!({"bindingStateV1": {"b.v0": {"rowId": 2}}, "sharedStateV1": [1]});
        assert_eq!(reset_bindings(state.clone(), &keys(&["a.v0"])), left);
        assert_eq!(reset_bindings(state, &keys(&["a.v0", "b.v0", "c.v0"])), json!({}));
        assert_eq!(reset_bindings(json!({"users": {"cursor": 1}}), &keys(&["users.v0"])), json!({}));
    }
}
