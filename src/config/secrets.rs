//! Secrets in a config file, and secrets in the environment of a command.
//!
//! Owns the walk through the file, and which variables are secret by their names. `offsite_backends::redact` recognises
//! secrets in a text. Invariant: no value leaves this module in a message.

use std::path::Path;

use offsite_backends::redact::{REDACTED, is_reference, is_secret_name, redact};
use serde_json::Value;

use super::env;

/// Minimum length of a secret in bytes. A shorter value occurs in too many texts by chance.
const LEAST: usize = 6;
/// Objects whose keys the user chooses. Such a key names a thing and says nothing about secrets.
const NAMED: [&str; 6] = ["jobs", "destinations", "dumps", "subdirectories", "options", "profiles"];

/// Whether a variable of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let marks = ["PASS", "SECRET", "TOKEN", "CREDENTIAL", "DATABASE_URL", "DSN"];
    let places = ["_FILE", "_PATH", "_DIR", "_SOCK", "_SOCKET", "_COMMAND"];
    let key = name.ends_with("KEY") || name.split('_').any(|part| part == "KEY");
    !places.iter().any(|end| name.ends_with(end)) && (key || marks.iter().any(|mark| name.contains(mark)) || is_secret_name(&name))
}

/// Redacts the secrets of a job's commands in texts.
#[derive(Clone, Default)]
pub struct Redactions(Vec<String>);

impl Redactions {
    /// The secrets in these variables and in the environment.
    pub fn of(variables: &[(String, String)]) -> Self {
        let environment = env::variables();
        let given = || variables.iter().chain(&environment);
        let secret = given().filter(|(name, value)| is_secret(name) && !is_path(value)).map(|(_, value)| value.trim().to_owned());
        // A variable of any name may hold a URL with a password.
        let mut all: Vec<String> = secret.chain(given().filter_map(|(_, value)| password(value))).collect();
        all.retain(|value| value.len() >= LEAST);
        // A secret that contains another one is replaced first.
        all.sort_by_key(|value| std::cmp::Reverse(value.len()));
        all.dedup();
        Self(all)
    }

    /// Redacts these secrets in a text, and everything else that looks like a secret.
    pub fn redact(&self, text: &str) -> String {
        redact(&self.0.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), REDACTED)))
    }
}

/// The password in a URL. Programs may print it without the URL.
fn password(value: &str) -> Option<String> {
    let (user, _) = value.split_once("://")?.1.rsplit_once('@')?;
    Some(user.split_once(':')?.1.to_owned())
}

/// Whether a value is a path. The path of a file with a secret is not a secret.
fn is_path(value: &str) -> bool {
    value.starts_with('/') && (value.matches('/').count() > 1 || Path::new(value).exists())
}

/// Whether a config holds a secret. False for a text that is not JSON; its reader refuses that.
pub fn held(text: &str) -> bool {
    serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')).is_ok_and(|config| within(&config, ""))
}

fn within(value: &Value, above: &str) -> bool {
    match value {
        Value::String(text) => text.contains("-----BEGIN") || redact(text) != *text,
        Value::Array(all) => {
            let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            // This array is a program with its arguments, not a list of commands.
            let program = words.first().is_some_and(|first| !first.contains(' '));
            let line = words.join(" ");
            (program && words.len() == all.len() && redact(&line) != line) || all.iter().any(|one| within(one, ""))
        }
        Value::Object(all) => all.iter().any(|(key, value)| {
            let of_a_secret = is_secret(key) && !NAMED.contains(&above);
            key != "comment" && ((of_a_secret && value.as_str().is_some_and(is_literal)) || within(value, key))
        }),
        _ => false,
    }
}

/// Whether a value is itself the secret, and not a reference, a path or a plain word.
fn is_literal(value: &str) -> bool {
    let looked_up = match value.strip_prefix("${").and_then(|rest| rest.split_once(":-")) {
        Some((_, default)) => default.trim_end_matches('}').is_empty(),
        None => is_reference(value),
    };
    let word = ["true", "false", "yes", "no"].contains(&value.to_ascii_lowercase().as_str());
    !looked_up && !word && value.len() > 3 && !is_path(value) && !value.starts_with("~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen_wherever_they_stand() {
        for text in [
            r#"{"before": "pg_dump postgres://me:hush@db/x"}"#,
            r#"{"before": ["MYSQL_PASSWORD=hush mysqldump"]}"#,
            r#"{"before": "PGPASSW\u004fRD=hush pg_dump"}"#,
            r#"{"before": [["mysqldump", "-phush", "shop"]]}"#,
            r#"{"before": [["mysqldump", "--password", "hush"]]}"#,
            r#"{"before": ["APP_PASS=hush app"]}"#,
            r#"{"before": [["curl", "-u", "me:hush", "https://x/"]]}"#,
            r#"{"before": ["curl -H 'X-Token: hush' https://x/"]}"#,
            r#"{"before": ["sshpass -p hush ssh host"]}"#,
            r#"{"notify": {"webhook": "https://x/?token=hush"}}"#,
            r#"{"variables": {"DB_PASS": "hush"}}"#,
            r#"{"variables": {"AWS_SECRET_ACCESS_KEY": "hush"}}"#,
            r#"{"variables": {"api_key": "${X:-hush}"}}"#,
            r#"{"variables": {"X": "-----BEGIN PRIVATE KEY-----"}}"#,
        ] {
            assert!(held(text), "{text}");
        }
    }

    #[test]
    fn what_only_speaks_of_secrets_is_none() {
        for text in [
            r#"{"comment": "the token is in the vault: ask for it", "jobs": {"tokens": {"keep": {"last": 3}}}}"#,
            r#"{"dumps": {"secrets": "pg_dump --dbname=$DATABASE_URL"}, "destinations": {"secret": "/backup/secret"}}"#,
            r#"{"before": ["PGPASSWORD=$DB_PASSWORD pg_dump", "mkdir -pv /x"]}"#,
            r#"{"variables": {"DB_PASSWORD": "$OTHER", "API_TOKEN": "${X}", "SSH_KEY": "/root/.ssh/id", "MAX_TOKENS": "10"}}"#,
            r#"{"before": [["restic", "--password-file", "/x"]], "destinations": {"d": "gs://b/p?credentials=/etc/k.json"}}"#,
            r#"{"destinations": {"d": "s3://acme/site?region=x"}}"#,
        ] {
            assert!(!held(text), "{text}");
        }
    }

    #[test]
    fn what_a_command_was_given_is_redacted_by_its_value() {
        let given = [
            ("DB_PASS", "hush-hush"),
            ("DATABASE_URL", "pg://me:whisper@db/x"),
            ("COLOUR", "yellow"),
            ("KEY", "abc"),
            ("PLACE", "s3://AKIA:mur/mur@b"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let clean = Redactions::of(&given).redact("hush-hush whisper yellow abc mur/mur pg://me:whisper@db/x");
        assert_eq!(clean, "*** *** yellow abc *** ***");
    }
}
