//! What a secret must not get into: what is printed, sent and kept, a config that others read or write, a schedule.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::jobs::listener;
use super::{Place, Ran};

impl Place {
    /// Runs offsite with variables in its environment.
    pub(super) fn run_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("OFFSITE_CACHE_DIR", self.path("cache")).env("HOME", self.dir.path()).envs(variables.iter().copied());
        Ran::from(command.output().unwrap())
    }
}

/// All that is kept below a directory, as one text.
fn kept(dir: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        all.push_str(&if path.is_dir() { kept(&path) } else { String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned() });
    }
    all
}

#[test]
fn what_a_command_was_given_is_shown_nowhere() {
    let place = Place::new();
    let (url, seen) = listener("200 OK");
    let secret = [("PASS", "TOPSECRET99"), ("DB_TOKEN", "WHISPER-77"), ("DATABASE_URL", "pg://me:MURMUR55@db/x")];
    let config = |before: &str, code: &str| {
        place.config(&format!(
            r#"{{ "notify": {{ "webhook": "{url}/run" }}, "variables": {{ "APP_PASSWORD": "$PASS" }},
                 "destinations": {{ "d": {{ "url": "$HERE/made", "initialize": ["sh", "-c", "echo $$1; exit {code}", "sh", "$PASS"] }} }},
                 "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["$HERE/copy"], "before": {before}, "notify": {{ "webhook": "{url}/j" }} }},
                            "made": {{ "source": "$HERE/site", "destinations": "d" }},
                            "db": {{ "destinations": "$HERE/db",
                                     "dumps": {{ "x.sql": "echo x; echo $DB_TOKEN and MURM''UR55 >&2; exit {code}" }} }} }} }}"#
        ));
    };
    config("[]", "0");
    let first = place.run_with(&secret, &["run"]);
    assert_eq!(first.code, 0, "{}{}", first.out, first.err);
    config(r#"["echo $PASS; echo said $DB_TOKEN", ["false", "me:$PASS"]]"#, "3");
    let ran = place.run_with(&secret, &["run", "--json"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("me:$PASS") && ran.out.contains("said ***"), "{}", ran.out);
    let check = place.run_with(&secret, &["config", "check"]);
    assert!(check.code == 0 && check.out.contains("before: false me:$PASS"), "{}{}", check.out, check.err);
    let status = place.run_with(&secret, &["status"]);
    assert!(status.err.contains("a hook before it failed"), "{}{}", status.out, status.err);
    let told = seen.lock().unwrap().join("\n");
    assert!(told.contains("me:$PASS"), "{told}");
    let places = ["copy", "db", "made", "cache"].map(|name| kept(&place.path(name))).concat();
    for (from, text) in [
        ("run", ran.out + &ran.err),
        ("check", check.out + &check.err),
        ("status", status.out + &status.err),
        ("webhook", told),
        ("kept", places),
    ] {
        for value in ["TOPSECRET99", "WHISPER-77", "MURMUR55"] {
            assert!(!text.contains(value), "{from}: {value}: {text}");
        }
    }
}

#[test]
fn a_secret_in_a_url_is_repeated_nowhere() {
    let place = Place::new();
    let (hook, seen) = listener("200 OK");
    for url in [
        "s3://AKIAEXAMPLE:abc/HUSHdef+GHI@bucket/x",
        "s3://HUSH@bucket/x",
        "sftp://user:pa/HUSH@host/x",
        "sftp://user:p?HUSH@host/x",
        "sftp://user:12/HUSH@host/x",
        "b2://key:K001/HUSH@bucket/p?x=y",
        "s3://bucket@key:HUSH/x",
        "s3://key:HUSH",
        "sftp:user:HUSH@host:/x",
        "AKIAEXAMPLE:abc/HUSH@bucket",
    ] {
        let config = |to: &str| {
            place.config(&format!(
                r#"{{ "notify": {{ "webhook": "{hook}/run" }},
                     "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": "{to}", "on_failure": "cp $OFFSITE_OUTCOME out.json" }} }} }}"#
            ));
        };
        for args in [
            ["sync", "site", url].as_slice(),
            &["sync", url, "copy"],
            &["plan", "site", url],
            &["pull", url, "back"],
            &["pull", "./copy", url],
            &["ls", url],
            &["report", url],
            &["status", url],
            &["init", url],
            &["check", url],
            &["ls", "./copy", "one", "too", url],
        ] {
            for args in [args.to_vec(), [args, &["--json"]].concat()] {
                let ran = place.run(&args);
                assert!(ran.code == 2 || args[0] == "status", "{args:?}: {}{}", ran.out, ran.err);
                assert!(!(ran.out.clone() + &ran.err).contains("HUSH"), "{args:?}: {}{}", ran.out, ran.err);
            }
        }
        for to in ["$DEST", url] {
            config(to);
            for args in [
                ["config", "check"].as_slice(),
                &["run"],
                &["run", "--json"],
                &["status"],
                &["schedule", "install", "--daily", "3:00", "--units", "units"],
            ] {
                let ran = place.run_with(&[("DEST", url)], args);
                assert_eq!(ran.code, 2, "{args:?}: {}{}", ran.out, ran.err);
                assert!(!(ran.out.clone() + &ran.err).contains("HUSH"), "{to} {args:?}: {}{}", ran.out, ran.err);
            }
        }
    }
    // A command that is given such a URL and says it.
    place.config(
        r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": "$HERE/copy",
             "before": "echo it is HU''SH/w with $DEST; exit 1", "on_failure": "cp $OFFSITE_OUTCOME out.json" } } }"#,
    );
    let ran = place.run_with(&[("DEST", "s3://AKIA:HUSH/w@bucket/x")], &["run", "--json"]);
    assert!(ran.code == 1 && ran.out.contains("it is ***"), "{}", ran.out);
    let told = seen.lock().unwrap().join("\n");
    for text in [ran.out + &ran.err, told, fs::read_to_string(place.path("out.json")).unwrap(), kept(&place.path("cache"))] {
        assert!(!text.contains("HUSH"), "{text}");
    }
}

#[test]
fn a_config_that_others_can_read_or_write() {
    let place = Place::new();
    let check = |config: &str, mode: u32| {
        place.config(config);
        fs::set_permissions(place.path("offsite.json"), fs::Permissions::from_mode(mode)).unwrap();
        place.run(&["config", "check"])
    };
    let job = |more: &str| format!(r#"{{ {more} "jobs": {{ "j": {{ "source": "$HERE/site", "destinations": ["$HERE/copy"] }} }} }}"#);
    for secret in [
        r#""variables": { "DB_PASSWORD": "hush-hush" },"#,
        r#""before": [["mysqldump", "-phush-hush"]],"#,
        r#""before": "curl -u me:hush-hush https://example.org",  "#,
        r#""notify": { "webhook": "https://example.org/?token=hush-hush" },"#,
    ] {
        let ran = check(&job(secret), 0o640);
        assert!(ran.code == 2 && ran.err.contains("chmod 600") && !ran.err.contains("hush"), "{secret}: {}", ran.err);
        assert_eq!(check(&job(secret), 0o600).code, 0, "{secret}");
    }
    assert_eq!(check(&job(r#""comment": "the token is in the vault", "before": "PGPASSWORD=$PW psql","#), 0o644).code, 0);
    for mode in [0o664, 0o646] {
        let ran = check(&job(""), mode);
        assert!(ran.code == 2 && ran.err.contains("chmod go-w"), "{}", ran.err);
    }
}

#[test]
fn a_schedule_takes_no_secret() {
    let place = Place::new();
    place.config(r#"{ "jobs": { "j": { "source": "$HERE/site", "destinations": ["$HERE/copy"] } } }"#);
    let args = ["schedule", "install", "--daily", "3:00", "--units", "units", "--set", "DB_PASSWORD=hush-hush"];
    let ran = place.run(&args);
    assert!(ran.code == 2 && ran.err.contains("/etc/offsite/environment") && !ran.err.contains("hush"), "{}", ran.err);
    assert!(!place.path("units").exists());
}
