//! `offsite run` and the config: order, types, hooks, who is told, and every bad config that must be met.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Place, read};

impl Place {
    pub(super) fn config(&self, text: &str) -> &Self {
        let path = self.path("offsite.json");
        fs::write(&path, text.replace("$HERE", &self.dir.path().display().to_string())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    #[track_caller]
    pub(super) fn refused(&self, config: &str, args: &[&str], said: &str) {
        self.config(config);
        let ran = self.run(args);
        assert_eq!(ran.code, 2, "{config}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(said), "{config}: {}", ran.err);
    }
}

const TYPES: &str = r#"{
  "variables": { "VOLUME": "acme" },
  "destinations": { "near": "$HERE/near/$VOLUME", "far": { "url": "$HERE/far/${VOLUME}" } },
  "jobs": {
    "files": { "source": "$HERE/site", "destinations": ["near", "far"],
               "subdirectories": { "vdrupal": "docs/" },
               "options": { "*": { "exclude": "*.tmp" }, "vdrupal": { "exclude": ["*.log"] }, "vwp": "ignore" } },
    "all": { "source": "$HERE/site", "destinations": ["$HERE/all"], "comment": "everything" },
    "gone": { "source": "$HERE/nowhere", "missing": "skip", "destinations": ["$HERE/gone"] }
  } }"#;

#[test]
fn jobs_run_in_file_order_for_their_type() {
    let place = Place::new();
    place.config(TYPES);
    fs::write(place.path("site/docs/x.tmp"), "t").unwrap();
    let (code, run) = place.json(&["run", "--type", "vdrupal"]);
    let said: Vec<_> =
        run["jobs"].as_array().unwrap().iter().map(|j| (j["job"].as_str().unwrap(), j["result"].as_str().unwrap())).collect();
    assert_eq!((code, said), (0, vec![("files", "done"), ("all", "done"), ("gone", "skipped")]));
    for root in ["near", "far"] {
        assert_eq!(read(place.path(&format!("{root}/acme/docs/a.txt"))), "first");
        let left_out = ["x.tmp", "b.log"].map(|name| place.path(&format!("{root}/acme/docs/{name}")).exists());
        assert_eq!(left_out, [false, false], "by the type's rules and by those of all types");
    }
    let (_, snapshot) = place.json(&["snapshots", "near/acme/docs"]);
    let own = fs::read_to_string(place.path("near/acme/docs/.offsite/snapshots/000000000001.json")).unwrap();
    assert!(own.contains("\"job\":\"files\"") && own.contains("\"type\":\"vdrupal\""), "{own} {snapshot}");
    // The pair that is left out is left out of every verb, and says so.
    let ran = place.run(&["run", "files", "--type", "vwp", "--set", "VOLUME=other"]);
    assert!(ran.code == 0 && ran.out.contains("ignored") && !place.path("near/other").exists(), "{}{}", ran.out, ran.err);
    assert!(place.run(&["report", "--type", "vwp"]).out.lines().all(|line| !line.contains("near")));
}

#[test]
fn one_job_that_fails_stops_no_other_and_the_worst_code_is_said() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": {
          "one": { "source": "$HERE/site", "destinations": ["$HERE/one"], "before": ["exit 7"], "on_failure": ["touch $HERE/told"], "finally": ["touch $HERE/cleaned"] },
          "two": { "source": "$HERE/site", "destinations": ["$HERE/two"], "missing": "fail" },
          "three": { "source": "$HERE/nowhere", "destinations": ["$HERE/three"], "missing": "fail" } } }"#,
    );
    let (code, run) = place.json(&["run"]);
    let ended: Vec<_> =
        run["jobs"].as_array().unwrap().iter().map(|j| (j["result"].as_str().unwrap(), j["exit"].as_i64().unwrap())).collect();
    assert_eq!((code, ended), (1, vec![("failed", 1), ("done", 0), ("failed", 1)]));
    assert!(!place.path("one").exists(), "nothing is sent after a `before` that failed");
    assert!(place.path("two/index.html").exists() && place.path("told").exists() && place.path("cleaned").exists());
    assert!(run["jobs"][0]["message"].as_str().unwrap().contains("exit code 7"), "{run}");
}

#[test]
fn commands_find_their_values_in_the_environment() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "a b": { "source": "$HERE/site", "destinations": ["$HERE/copy"],
             "before": ["printf '%s|%s' \"$OFFSITE_JOB\" \"$ODD\" > $HERE/before", ["sh", "-c", "printf %s \"$1\" > $HERE/argument", "sh", "$ODD"]],
             "after": ["printf '%s|%s|' \"$OFFSITE_RESULT\" \"$OFFSITE_SOURCE\" > $HERE/after; cat \"$OFFSITE_OUTCOME\" >> $HERE/after"] } } }"#
            .replace("\\\"$1\\\"", "\\\"$$1\\\"")
            .as_str(),
    );
    let odd = "it's \"a\" $HOME\n`id`; rm -rf x";
    // Of two for one name the later counts, in the config and in the environment alike.
    let ran = place.run(&["run", "--set", "ODD=first", "--set", &format!("ODD={odd}")]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("before")), format!("a b|{odd}"));
    assert_eq!(read(place.path("argument")), odd);
    let after = read(place.path("after"));
    let (head, outcome) = after.split_at(after.find('{').unwrap());
    assert_eq!(head, format!("done|{}|", place.path("site").display()));
    let outcome: serde_json::Value = serde_json::from_str(outcome).unwrap();
    assert_eq!((&outcome["job"], &outcome["destinations"][0]["snapshot"]), (&"a b".into(), &1.into()));
}

#[test]
fn on_a_dry_run_no_command_runs_and_nothing_is_made() {
    let place = Place::new();
    place.config(
        r#"{ "before": ["touch $HERE/ran"], "finally": ["touch $HERE/ran"], "metrics": "$HERE/ran",
             "destinations": { "d": { "url": "$HERE/copy", "initialize": ["mkdir", "$HERE/ran"] } },
             "jobs": { "j": { "source": "$HERE/site", "destinations": ["d"], "before": ["touch $HERE/ran"], "after": ["touch $HERE/ran"] } } }"#,
    );
    let (code, run) = place.json(&["run", "--dry-run"]);
    assert_eq!((code, &run["jobs"][0]["plans"][0]["changes"]["added"]), (0, &4.into()), "{run}");
    assert!(!place.path("ran").exists() && !place.path("copy").exists());
}

#[test]
fn initialize_is_made_as_declared_or_by_the_users_command() {
    let place = Place::new();
    place.config(
        r#"{ "destinations": { "own": { "url": "$HERE/mount/own", "initialize": ["mkdir", "-p", "$DESTINATION"] },
                               "bad": { "url": "$HERE/mount/bad", "initialize": "echo no such disk; exit 5" } },
             "jobs": { "j": { "source": "$HERE/site", "destinations": ["own", "bad"] } } }"#,
    );
    let (code, run) = place.json(&["run"]);
    assert_eq!(code, 1);
    assert!(
        place.path("mount/own/index.html").exists() && !place.path("mount/bad").exists(),
        "a mount that did not come about is not written to"
    );
    let said = run["jobs"][0]["destinations"].to_string();
    assert!(said.contains("its `initialize` command failed (it ended with exit code 5)"), "{said}");
    // A directory keeps no versions: said, and no reason not to sync.
    place.config(
        r#"{ "destinations": { "d": { "url": "$HERE/copy", "initialize": { "versioning": true } } },
             "jobs": { "j": { "source": "$HERE/site", "destinations": ["d"] } } }"#,
    );
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.contains("offsite init --check"), "{}{}", ran.out, ran.err);
    assert_eq!(place.run(&["init", "--check"]).code, 1);
}

#[test]
fn a_hook_that_hangs_or_prints_a_secret() {
    let place = Place::new();
    place.config(
        r#"{ "hook_timeout": "1s", "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"],
             "before": ["echo postgres://me:hush@db; yes | head -c 3000000"], "after": ["sleep 60"] } } }"#,
    );
    let began = Instant::now();
    let ran = place.run(&["run", "--json"]);
    assert!(ran.code == 1 && began.elapsed() < Duration::from_secs(20), "{}", ran.err);
    assert!(place.path("copy/index.html").exists() && ran.err.contains("longer than 1 s"), "{}", ran.err);
    assert!(ran.out.len() < 200_000 && !ran.out.contains("hush") && !ran.err.contains("hush"));
}

#[test]
fn a_job_runs_once_at_a_time() {
    let place = Arc::new(Place::new());
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "before": ["touch $HERE/begun; sleep 3"] } } }"#,
    );
    let first = {
        let place = Arc::clone(&place);
        thread::spawn(move || place.run(&["run"]).code)
    };
    while !place.path("begun").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let second = place.run(&["run"]);
    assert!(second.code == 1 && second.err.contains("another run of it is in progress"), "{}", second.err);
    assert_eq!(first.join().unwrap(), 0);
    assert_eq!(place.run(&["run"]).code, 0);
}

/// A web server that takes everything down.
pub(super) fn listener(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            loop {
                let got = stream.read(&mut buffer).unwrap_or(0);
                text.extend_from_slice(&buffer[..got]);
                let whole = String::from_utf8_lossy(&text).into_owned();
                let length = whole
                    .to_lowercase()
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
                let body = whole.split_once("\r\n\r\n").map(|(_, body)| body.len());
                if got == 0 || body.is_some_and(|body| body >= length.unwrap_or(0)) {
                    break;
                }
            }
            all.lock().unwrap().push(String::from_utf8_lossy(&text).into_owned());
            let _ = write!(stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, seen)
}

#[test]
fn those_who_want_to_know_are_told() {
    let place = Place::new();
    let (url, seen) = listener("200 OK");
    place.config(&format!(
        r#"{{ "notify": {{ "ping": "{url}/run?key=k", "webhook": "{url}/hook" }}, "metrics": "$HERE/offsite.prom",
             "jobs": {{ "good": {{ "source": "$HERE/site", "destinations": ["$HERE/copy"], "notify": {{ "ping": "{url}/good/" }} }},
                        "bad": {{ "source": "$HERE/nowhere", "missing": "fail", "destinations": ["$HERE/c2"], "notify": {{ "webhook": "{url}/bad" }} }} }} }}"#
    ));
    assert_eq!(place.run(&["run"]).code, 1);
    let seen = seen.lock().unwrap().clone();
    let paths: Vec<_> = seen.iter().map(|request| request.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/run/start?key=k", "/good/start", "/good", "/bad", "/run/fail?key=k", "/hook"]);
    let body = seen[5].split_once("\r\n\r\n").unwrap().1;
    let outcome: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&outcome["exit"], &outcome["jobs"][0]["result"]), (&1.into(), &"done".into()));
    let metrics = read(place.path("offsite.prom"));
    place.run(&["run", "good", "--metrics", "other.prom"]);
    assert!(read(place.path("other.prom")).contains("offsite_job_success{job=\"good\",type=\"\"} 1\n"));
    assert!(
        metrics.contains("offsite_job_success{job=\"good\",type=\"\"} 1\n")
            && metrics.contains("offsite_job_success{job=\"bad\",type=\"\"} 0\n")
    );
}

#[test]
fn who_cannot_be_told_fails_no_job_and_shows_no_secret() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "notify": { "webhook": "http://127.0.0.1:9/hush" } } } }"#,
    );
    let ran = place.run(&["run"]);
    assert!(ran.code == 0 && ran.err.contains("the webhook at 127.0.0.1:9: ") && !ran.err.contains("hush"), "{}", ran.err);
}

#[test]
fn a_pull_by_the_name_of_a_job_and_its_profile() {
    let place = Place::new();
    place.config(
        r#"{ "destinations": { "gone": "$HERE/gone", "near": "$HERE/near" },
             "jobs": { "files": { "source": "$HERE/site", "destinations": ["near", "gone"],
                 "profiles": { "staging": { "exclude": "*.log", "max_size": "1M", "after": ["echo scrubbed > scrubbed; pwd > $HERE/where"] } } } } }"#,
    );
    place.ok(&["run"]);
    fs::remove_dir_all(place.path("near")).unwrap();
    place.ok(&["pull", "files@gone", "whole"]);
    assert_eq!(read(place.path("whole/docs/b.log")), "log");
    // The first destination is lost; the other one has it.
    let ran = place.run(&["pull", "files", "staging", "--profile", "staging"]);
    assert!(ran.code == 0, "{}{}", ran.out, ran.err);
    assert!(place.path("staging/docs/a.txt").exists() && !place.path("staging/docs/b.log").exists());
    assert!(place.path("staging/scrubbed").exists() && read(place.path("where")).trim().ends_with("/staging"));
    assert_eq!(place.run(&["pull", "files@nowhere", "x"]).code, 2);
    assert_eq!(place.run(&["pull", "files", "x", "--profile", "nope"]).code, 2);
    place.config(&read(place.path("offsite.json")).replace("echo scrubbed > scrubbed;", "exit 3;"));
    let ran = place.run(&["pull", "files", "dirty", "--profile", "staging"]);
    assert!(ran.code == 1 && ran.err.contains("clean is not clean"), "{} {}", ran.code, ran.err);
    // A path keeps its meaning.
    place.ok(&["pull", "gone", "plain"]);
    let (_, report) = place.json(&["report"]);
    assert_eq!(report["destinations"].as_array().unwrap().len(), 2);
}

#[test]
fn a_job_is_named_wherever_something_was_synced_to() {
    let place = Place::new();
    place.config(
        r#"{ "destinations": { "near": "$HERE/near", "far": "$HERE/far" },
             "jobs": { "both": { "source": "$HERE/site", "destinations": ["near", "far"], "keep": { "last": 2 } } } }"#,
    );
    place.ok(&["run"]);
    for state in ["second", "third"] {
        fs::write(place.path("site/docs/a.txt"), state).unwrap();
        place.ok(&["run"]);
    }
    assert_eq!(place.ok(&["cat", "both", "docs/a.txt", "--at", "1"]), "first");
    assert_eq!(place.ok(&["cat", "both@far", "docs/a.txt"]), "third");
    for args in [
        &["ls", "both@far"][..],
        &["snapshots", "both"],
        &["diff", "both", "1"],
        &["history", "both", "docs/a.txt"],
        &["check", "both@near"],
    ] {
        place.ok(args);
    }
    // What is worked on is named, where there are several; a job's own rules are those of its prune.
    for verb in ["check", "prune"] {
        let ran = place.run(&[verb, "both"]);
        assert!(ran.code == 2 && ran.err.contains("both@NAME: near, far"), "{}", ran.err);
    }
    let (_, document) = place.json(&["prune", "both@far"]);
    assert_eq!(document["removed"], serde_json::json!([1]));
    assert_eq!(place.json(&["prune", "both@far", "--keep-last", "9"]).1["removed"], serde_json::json!([]));
    assert_eq!(place.run(&["prune", "near"]).code, 2, "no rule");
    assert!(place.run(&["ls", "both@nowhere"]).err.contains("its destinations are near, far"));
    assert!(place.run(&["ls", "bot"]).code == 2);
}

#[test]
fn bad_configs_are_refused_before_anything_runs() {
    let place = Place::new();
    let job = |job: &str| format!(r#"{{ "jobs": {{ {job} }} }}"#);
    let plain = r#""source": "$HERE/site", "destinations": ["$HERE/copy"]"#;
    for (config, said) in [
        (String::new(), "the file is empty"),
        ("{ \"jobs\": { }".into(), "offsite.json:1:"),
        (job(&format!(r#""j": {{ {plain}, "source": "/x" }}"#)), "appears twice"),
        (job(&format!(r#""j": {{ {plain}, "keeep": {{}} }}"#)), "did you mean `keep`?"),
        // An array is no section, though its members would fit one by one.
        (job(r#""j": [null, "/srv", ["/x"]]"#), "jobs.j: invalid type: sequence, expected an object"),
        (job(&format!(r#""j": {{ {plain}, "keep": [7, 3] }}"#)), "jobs.j.keep: invalid type: sequence, expected an object"),
        (job(&format!(r#""j": {{ {plain}, "notify": [null] }}"#)), "jobs.j.notify: invalid type"),
        (job(&format!(r#""j": {{ {plain}, "profiles": {{ "p": [] }} }}"#)), "jobs.j.profiles.p: invalid type"),
        (job(&format!(r#""j": {{ {plain}, "options": {{ "*": [] }} }}"#)), "jobs.j.options.*"),
        (job(&format!(r#""../j": {{ {plain} }}"#)), "job names may contain letters"),
        (job(r#""j": { "source": "/srv/$NO_SUCH", "destinations": ["/x"] }"#), "$NO_SUCH is not set"),
        (job(r#""j": { "source": "/srv", "destinations": ["nass"] }"#), "unknown destination `nass`"),
        (job(&format!(r#""j": {{ {plain} }}, "k": {{ {plain} }}"#)), "of the job `j` are the same"),
        (
            job(&format!(r#""j": {{ {plain} }}, "k": {{ "source": "$HERE/site", "destinations": ["$HERE/copy/inside"] }}"#)),
            "the same or one inside the other",
        ),
        (job(&format!(r#""j": {{ {plain}, "keep": {{ "within": "soon" }} }}"#)), "jobs.j.keep.within: `soon` is not a duration"),
        (job(&format!(r#""j": {{ {plain}, "options": {{ "*": {{ "max_removals": "2" }} }} }}"#)), "jobs.j.options.*.max_removals"),
        (job(&format!(r#""j": {{ {plain}, "notify": {{ "ping": "example.org" }} }}"#)), "http://"),
        (job(r#""j": { "source": "/srv", "destinations": ["s3://me:hush@bucket/x"] }"#), "a password does not belong in a URL"),
    ] {
        place.refused(&config, &["run"], said);
        assert!(!place.path("copy").exists());
    }
    place.refused(&job(&format!(r#""j": {{ {plain} }}"#)), &["run", "--type", "vdrupal"], "no type `vdrupal`");
    place.refused(&job(&format!(r#""j": {{ {plain} }}"#)), &["run", "k"], "no job `k`");
    place.refused(&job(""), &["run"], "it has no jobs");
    place.refused(&job(&format!(r#""comment": {{ {plain} }}"#)), &["run"], "`comment` must be a string");
    place.refused(&job(&format!(r#""j": {{ {plain} }}"#)), &["run", "--allow-empty"], "name it: offsite run JOB");
    place.refused(&job(&format!(r#""j": {{ {plain} }}"#)), &["run", "--set", "OFFSITE_JOB=x"], "OFFSITE_JOB: names that begin");
    place.refused(r#"{ "variables": { "OFFSITE_JOB": "x" }, "jobs": {} }"#, &["run"], "offsite.json:1: variables.OFFSITE_JOB: ");
    place.refused(&job(&format!(r#""j": {{ {plain} }}"#)), &["ls", "j@x"], "the destinations of job j have no names");
    let priced = r#"{ "destinations": { "d": { "url": "$HERE/copy", "report": { "price": "no/such" } } },
                      "jobs": { "j": { "source": "$HERE/site", "destinations": ["d"] } } }"#;
    place.refused(priced, &["config", "check"], "destinations.d.report.price: no price `no/such`\nhint: the prices are");
    // The job that is in the way need not be run along, and one that cannot be resolved now is in nobody's way.
    let types = r#""t": { "source": "/srv/$NO_SUCH", "destinations": ["$HERE/copy"] }"#;
    let two = job(&format!(r#""j": {{ {plain} }}, {types}, "k": {{ {plain} }}"#));
    place.refused(&two, &["run", "k"], "of the job `j` are the same");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"], "before": ["psql postgres://me:hush@db/x"] } } }"#,
    );
    fs::set_permissions(place.path("offsite.json"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 2 && ran.err.contains("chmod 600") && !ran.err.contains("hush"), "{}", ran.err);
    assert_eq!(place.run(&["run", "--config", "nowhere.json"]).code, 2);
}

#[test]
fn config_check_says_what_would_run_and_keeps_secrets() {
    let place = Place::new();
    place.config(&TYPES.replace("\"comment\"", "\"before\": [\"psql postgres://me:hush@db/x\"], \"comment\""));
    let said = place.ok(&["config", "check"]);
    for word in ["files (vdrupal)", "files (vwp)  ignored", "to near: ", "near/acme/docs", "gone", "(missing)", "postgres://***@db/x"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("hush"));
    let (_, document) = place.json(&["config", "check"]);
    assert_eq!(document["jobs"].as_array().unwrap().len(), 4, "{document}");
    let schema: serde_json::Value = serde_json::from_str(&place.ok(&["config", "schema"])).unwrap();
    assert!(schema["properties"]["jobs"].is_object());
}

#[test]
fn status_tells_well_from_failed_stale_and_never() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"] }, "k": { "source": "$HERE/site", "destinations": ["$HERE/other"] } } }"#);
    let never = place.run(&["status"]);
    assert!(never.code == 1 && never.err.contains("no run has ever been recorded"), "{}{}", never.out, never.err);
    place.ok(&["run"]);
    let (code, status) = place.json(&["status", "--max-age", "1h"]);
    let row = &status["destinations"][0];
    assert_eq!(
        (code, &row["job"], &row["result"], &row["files"], &row["snapshot"]),
        (0, &"j".into(), &"done".into(), &3.into(), &1.into())
    );
    assert!(place.ok(&["status"]).contains('-'), "no check yet");
    // Whoever can read the destination can ask, without the config and without the cache.
    place.ok(&["check", "copy"]);
    let said = place.ok(&["status", "copy", "--cache-dir", "elsewhere"]);
    assert!(said.contains("good"), "{said}");
    thread::sleep(Duration::from_millis(2100));
    let stale = place.run(&["status", "--max-age", "1s"]);
    assert!(stale.code == 1 && stale.err.contains("the limit is 1 s"), "{}", stale.err);
    // A run that is refused is told from one that did not take place.
    fs::remove_dir_all(place.path("site/docs")).unwrap();
    fs::remove_file(place.path("site/index.html")).unwrap();
    assert_eq!(place.run(&["run", "j"]).code, 4);
    let refused = place.run(&["status", "copy"]);
    assert!(refused.code == 1 && refused.err.contains("the last run was refused"), "{}", refused.err);
    // The record is no stranger to a check, and goes along with nothing else.
    let (_, check) = place.json(&["check", "copy"]);
    assert_eq!((&check["foreign"], &check["exit"]), (&0.into(), &0.into()));
    // A place that was only ever synced to has its snapshots.
    place.ok(&["sync", "cache", "plain"]);
    assert_eq!(place.json(&["status", "plain"]).1["destinations"][0]["result"], "done");
}

/// A job that never came to its destination leaves word there, where one ran before.
#[test]
fn what_ends_before_its_destination_is_known_there() {
    let place = Place::new();
    let config = |before: &str, made: &str| {
        place.config(&format!(
            r#"{{ "destinations": {{ "d": {{ "url": "$HERE/copy", "initialize": "{made}" }}, "e": "$HERE/other" }},
                 "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["d", "e"], "before": ["{before}"] }} }} }}"#
        ));
    };
    let said = || {
        let ran = place.run(&["status", "copy"]);
        format!("{}{}", ran.out, ran.err)
    };
    let states = || {
        let (code, document) = place.json(&["status", "copy", "other"]);
        let all = document["destinations"].as_array().unwrap().clone();
        (
            code,
            all.iter().map(|row| (row["result"].as_str().unwrap_or("none").to_owned(), row["files"].as_u64().unwrap())).collect::<Vec<_>>(),
        )
    };
    config("exit 7", "true");
    assert_eq!(place.run(&["run"]).code, 1);
    assert!(!place.path("copy").exists() && !place.path("other").exists(), "nothing is made for a word");
    config("true", "true");
    assert_eq!(place.run(&["run"]).code, 0);
    let (code, well) = states();
    assert_eq!((code, well[0].0.as_str(), well[1].0.as_str()), (0, "done", "done"));
    let files = well[0].1;
    assert!(files > 0);
    config("echo no database >&2; exit 7", "true");
    assert_eq!(place.run(&["run"]).code, 1);
    assert_eq!(states(), (1, vec![("failed".into(), files), ("failed".into(), files)]));
    assert!(said().contains("a hook before it failed"), "{}", said());
    config("true", "exit 3");
    assert_eq!(place.run(&["run"]).code, 1);
    assert_eq!(states(), (1, vec![("failed".into(), files), ("done".into(), files)]));
    assert!(said().contains("its `initialize` command failed"), "{}", said());
    place.ok(&["check", "other"]);
}

#[test]
fn what_goes_wrong_after_before_still_reaches_on_failure_and_finally() {
    let place = Place::new();
    place.config(
        r#"{ "jobs": { "j": { "dumps": { "x": "echo x" }, "destinations": "$HERE/copy", "before": "touch $HERE/mounted",
                              "on_failure": ["echo $OFFSITE_RESULT > $HERE/told"], "finally": ["rm $HERE/mounted"] } } }"#,
    );
    // A job of dumps alone has an empty directory in the cache for its source, and that cannot be made.
    fs::create_dir_all(place.path("cache/jobs")).unwrap();
    fs::write(place.path("cache/jobs/nothing"), "in the way").unwrap();
    let ran = place.run(&["run"]);
    assert!(ran.code == 1 && ran.err.contains("jobs/nothing"), "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("told")), "failed\n");
    assert!(!place.path("mounted").exists());
}
