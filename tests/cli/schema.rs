//! `docs/schema/`: is current, and the documents have what it promises.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Place, read};

fn schema(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{name}.json"));
    serde_json::from_str(&read(file)).unwrap()
}

/// Every required key is there, and no key that the schema does not know; objects inside as well.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{place}: {name}"));
        return check(root, target, value, place);
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().enumerate().for_each(|(i, v)| check(root, items, v, &format!("{place}[{i}]")));
    }
    let (Some(known), Some(object)) = (schema["properties"].as_object(), value.as_object()) else { return };
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(object.contains_key(key), "{place}: no {key} in {value}");
    }
    for (key, value) in object {
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let schema = known.get(key).or(others).unwrap_or_else(|| panic!("{place}: {key} is not in the schema"));
        check(root, schema, value, &format!("{place}.{key}"));
    }
}

#[test]
fn the_schemas_are_current() {
    let place = Place::new();
    let names = place.ok(&["schema"]);
    let mut lying: Vec<String> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    lying.sort();
    assert_eq!(lying, names.lines().map(|name| format!("{name}.json")).collect::<Vec<_>>());
    for name in names.lines() {
        let now: Value = serde_json::from_str(&place.ok(&["schema", name])).unwrap();
        // Whole schemas side by side would tell nobody anything.
        assert!(now == schema(name), "run: offsite schema {name} > docs/schema/{name}.json");
    }
}

#[test]
fn the_documents_are_as_the_schemas_say() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/third"], "dumps": { "d": "echo d" }, "after": ["true"] } } }"#);
    let verbs: [&[&str]; 18] = [
        &["init", "copy", "second"],
        &["run"],
        &["status", "third"],
        &["plan", "site", "copy", "--out", "x.plan"],
        &["apply", "x.plan"],
        &["sync", "site", "copy", "second"],
        &["snapshots", "copy"],
        &["report", "copy", "--by-directory", "--price", "aws/s3-standard"],
        &["ls", "copy"],
        &["diff", "copy", "1"],
        &["history", "copy", "docs/a.txt"],
        &["cat", "copy", "docs/a.txt"],
        &["pull", "copy", "back"],
        &["check", "copy", "--read-data"],
        &["repair", "site", "copy"],
        &["copy", "copy", "second copy", "--packed"],
        &["repair", "copy", "--from", "second copy"],
        &["prune", "copy", "--keep-last", "1"],
    ];
    let with = |name: &str, args: &[&str]| {
        let (code, document) = place.json(args);
        assert_eq!(code, 0, "{document}");
        let schema = schema(name);
        check(&schema, &schema, &document, args[0]);
    };
    verbs.iter().for_each(|args| with(args[0], args));
    fs::write(place.path("old.sh"), "aws s3 sync site s3://bucket/site --exclude '*.log'\n").unwrap();
    with("config-check", &["config", "check"]);
    with("config-import", &["config", "import", "old.sh"]);
    with("schedule", &["schedule", "install", "--daily", "03:00", "--units", "units"]);
}

#[test]
fn failures_are_documents() {
    let place = Place::synced();
    let wrong: [&[&str]; 5] = [
        &["ls", "copy", "no/such"],
        &["cat", "copy", "no/such"],
        &["diff", "copy", "7"],
        &["pull", "nowhere", "x"],
        &["history", "copy", "no/such"],
    ];
    let schema = schema("error");
    for args in wrong {
        let (code, document) = place.json(args);
        assert_ne!(code, 0, "{document}");
        assert_eq!(document["exit"], code, "{document}");
        check(&schema, &schema, &document, args[0]);
    }
}

#[test]
fn times_in_documents_are_rfc_3339() {
    let place = Place::synced();
    let (_, document) = place.json(&["ls", "copy", "docs"]);
    let mtime = document["entries"][0]["mtime"].as_str().unwrap();
    assert!(mtime.ends_with('Z') && mtime.contains('T'), "{mtime}");
    let (_, document) = place.json(&["cat", "copy", "docs/a.txt"]);
    assert_eq!(document["content_b64"], "Zmlyc3Q=");
}
