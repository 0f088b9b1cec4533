//! What somebody else chose never steers a terminal, and never makes a line of its own.
//!
//! Owns the sweep: every string of every record at a destination, one at a time, and names, links and messages.

use serde_json::Value;

use super::*;

const EVIL: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}31m\u{8}\u{7f}\u{202e}\u{2066}\u{2028}é\r\nFAKE LINE";

/// Runs a verb; neither of its outputs may have anything of it raw.
fn safe(place: &Place, what: &str, args: &[&str]) {
    let ran = place.run(args);
    for (name, text) in [("stdout", &ran.out), ("stderr", &ran.err)] {
        let steers = |c: char| c != '\n' && c.is_control() || "\u{202e}\u{2066}\u{2028}".contains(c);
        assert!(!text.chars().any(steers), "{what}: {args:?}: {name}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("FAKE")), "{what}: {args:?}: {name} has a line of somebody else's: {text:?}");
        assert!(text.len() < 40_000, "{what}: {args:?}: {name} has {} bytes", text.len());
    }
}

fn verbs(place: &Place, what: &str) {
    let all: [&[&str]; 12] = [
        &["status", "copy"],
        &["snapshots", "copy"],
        &["ls", "--recursive", "copy"],
        &["diff", "copy", "1", "2"],
        &["history", "copy", "index.html"],
        &["check", "--no-record", "-v", "copy"],
        &["report", "copy"],
        &["report", "--list", "copy"],
        &["pull", "--dry-run", "-v", "copy", "target"],
        &["prune", "--keep-last", "1", "--dry-run", "copy"],
        &["repair", "--dry-run", "-v", "site", "copy"],
        &["plan", "-v", "site", "copy"],
    ];
    all.iter().for_each(|args| safe(place, what, args));
}

/// The strings of a document, as pointers.
fn strings(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(at),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| strings(item, format!("{at}/{i}"), out)),
        Value::Object(items) => items.iter().for_each(|(name, item)| strings(item, format!("{at}/{name}"), out)),
        _ => {}
    }
}

#[test]
fn names_links_and_foreign_objects_are_shown_tame() {
    let place = Place::new();
    fs::write(place.path("site").join(EVIL), "x").unwrap();
    std::os::unix::fs::symlink(EVIL, place.path("site/link")).unwrap();
    place.ok(&["sync", "site", "copy"]);
    fs::write(place.path("site").join(EVIL), "xy").unwrap();
    place.ok(&["sync", "site", "copy"]);
    fs::write(place.path("copy").join(format!("foreign{EVIL}")), "z").unwrap();
    verbs(&place, "names");
    safe(&place, "a file that is not there", &["cat", "copy", EVIL]);
    safe(&place, "a place that is not there", &["ls", &format!("/nowhere{EVIL}")]);
    safe(&place, "a scheme that is not there", &["ls", &format!("x{EVIL}://y")]);
}

#[test]
fn no_string_of_a_record_steers_a_terminal() {
    let place = Place::synced();
    fs::write(place.path("site/index.html"), "changed").unwrap();
    place.ok(&["sync", "site", "copy"]);
    let run = serde_json::json!({
        "job": "j", "type": "t", "host": "h", "program": "p", "time": "2026-01-01T00:00:00Z", "result": "failed", "message": "m", "snapshot": 2
    });
    let lease =
        serde_json::json!({ "run": "r", "host": "h", "writer": "w", "pid": 1, "since": "2026-01-01T00:00:00Z", "base": 2, "ttl": 86400 });
    place.ok(&["check", "copy"]);
    fs::write(place.path("copy/.offsite/run.json"), run.to_string()).unwrap();
    fs::write(place.path("copy/.offsite/lease.json"), lease.to_string()).unwrap();
    let mut records: Vec<PathBuf> =
        ["run", "check", "lease", "format"].map(|name| place.path(&format!("copy/.offsite/{name}.json"))).into();
    let snapshots = fs::read_dir(place.path("copy/.offsite/snapshots")).unwrap().map(|entry| entry.unwrap().path());
    records.extend(snapshots.filter(|path| path.extension().is_some_and(|e| e == "json")).max());
    for record in &records {
        let whole = read(record);
        let value: Value = serde_json::from_str(&whole).unwrap();
        let mut all = Vec::new();
        strings(&value, String::new(), &mut all);
        assert!(!all.is_empty(), "{record:?}");
        for pointer in all {
            let mut evil = value.clone();
            *evil.pointer_mut(&pointer).unwrap() = Value::String(format!("{EVIL}{}", "x".repeat(50_000)));
            fs::write(record, evil.to_string()).unwrap();
            verbs(&place, &format!("{pointer} of {}", record.display()));
        }
        fs::write(record, whole).unwrap();
    }
}
