//! Notifications about the start and the end of a job or a run: a ping, a webhook, a mail.
//!
//! Owns the messages and the number of attempts. Invariants: a failed notification is a warning and never fails a job.
//! The URL of a notification is a secret, so offsite shows only its host.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use super::warning::JobWarning;
use crate::config::Notify;

/// Time limit of one HTTP request. `sendmail` has 3 times as long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Maximum number of requests for one notification.
const TRIES: u32 = 3;

/// The event that a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Start,
    Well,
    Failed,
}

/// The notifications about an end. A job or run that did nothing sends no ping, so that a monitor notices.
pub fn to(notify: &Notify, idle: bool) -> Notify {
    Notify { ping: notify.ping.clone().filter(|_| !idle), ..notify.clone() }
}

/// Sends the notifications of an event. Returns a warning for each one that failed.
pub async fn tell<T: Serialize>(notify: &Notify, moment: Moment, subject: &str, text: &str, outcome: &T) -> Vec<JobWarning> {
    let mut warnings = Vec::new();
    let not_notified = |who: String| move |why: String| JobWarning::NotNotified { who, why };
    if let Some(url) = &notify.ping {
        warnings.extend(ping(url, moment, text).await.err().map(not_notified(format!("the ping to {}", host(url)))));
    }
    if moment == Moment::Start || (notify.only_failures && moment == Moment::Well) {
        return warnings;
    }
    if let Some(url) = &notify.webhook {
        let body = serde_json::to_vec(outcome).unwrap_or_default();
        warnings.extend(sent(url, "application/json", body).await.err().map(not_notified(format!("the webhook at {}", host(url)))));
    }
    if !notify.mail.is_empty() {
        warnings.extend(mail(&notify.mail, subject, text).await.err().map(not_notified(format!("mail to {}", notify.mail.join(", ")))));
    }
    warnings
}

/// Sends a ping as healthchecks expects it: to the URL for a success, else with `/start` or `/fail` after its path.
async fn ping(url: &str, moment: Moment, text: &str) -> Result<(), String> {
    let (path, query) = url.split_once('?').map_or((url, ""), |(path, query)| (path, query));
    let end = match moment {
        Moment::Start => "/start",
        Moment::Well => "",
        Moment::Failed => "/fail",
    };
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("{}{end}{mark}{query}", path.trim_end_matches('/'));
    let body = text.chars().take(10_000).collect::<String>().into_bytes();
    sent(&url, "text/plain; charset=utf-8", body).await
}

async fn sent(url: &str, kind: &str, body: Vec<u8>) -> Result<(), String> {
    // A redirected POST becomes a GET, and notifies nobody.
    let builder = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    let client = builder.build().map_err(|_| "could not create an HTTP client".to_owned())?;
    let mut why = String::new();
    for again in 0..TRIES {
        if again > 0 {
            tokio::time::sleep(Duration::from_secs(u64::from(again))).await;
        }
        match client.post(url).header("content-type", kind).body(body.clone()).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) if answer.status().is_redirection() => return Err(redirected(&answer)),
            Ok(answer) if answer.status().is_client_error() => return Err(format!("it answered {}", answer.status())),
            Ok(answer) => why = format!("it answered {}", answer.status()),
            Err(error) => why = offsite_backends::error::chain(&error.without_url()),
        }
    }
    Err(why)
}

/// The error for a redirect. It names only the host, because the rest of the URL may be a secret.
fn redirected(answer: &reqwest::Response) -> String {
    let location = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or_default();
    let to = if location.contains("://") { host(location) } else { "another path on the same server" };
    format!("it redirects to {to} (status {}), which offsite does not follow; put the final URL into the config", answer.status())
}

/// The host and port of a URL. The other parts may be secrets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    host.rsplit('@').next().unwrap_or(host)
}

/// Starts `sendmail` from the `PATH`, or else from the usual directories, because cron's `PATH` often has no `sbin`.
fn sendmail() -> Result<(&'static str, Child), String> {
    let mut refused = String::new();
    for program in ["sendmail", "/usr/sbin/sendmail", "/usr/lib/sendmail"] {
        let mut command = Command::new(program);
        command.args(["-t", "-i"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        match command.spawn() {
            Ok(child) => return Ok((program, child)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => refused = error.to_string(),
            Err(error) => return Err(format!("`{program}` cannot be started: {error}")),
        }
    }
    Err(format!("`sendmail` cannot be started ({refused}); install a mail transfer agent, or remove `mail`"))
}

/// The text of a header. A text that is not ASCII becomes encoded words (RFC 2047) of at most 75 characters each.
fn header_text(text: &str) -> String {
    // The base64 of 45 bytes has 60 characters, and an encoded word adds 12.
    const BYTES: usize = 45;
    if text.is_ascii() {
        return text.to_owned();
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if word.len() + c.len_utf8() <= BYTES => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    let words: Vec<String> = words.iter().map(|word| format!("=?UTF-8?B?{}?=", STANDARD.encode(word))).collect();
    words.join("\n ")
}

async fn mail(to: &[String], subject: &str, text: &str) -> Result<(), String> {
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let message = format!(
        "To: {}\nSubject: {}\nContent-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n{text}\n",
        one_line(&to.join(", ")),
        header_text(&one_line(subject))
    );
    let (program, mut child) = sendmail()?;
    let sending = async {
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(message.as_bytes()).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(3 * PATIENCE, sending).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("`{program}` ended with {status}")),
        Ok(Err(error)) => Err(format!("`{program}`: {error}")),
        Err(_) => Err(format!("`{program}` took too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_named() {
        assert_eq!(host("https://hooks.example/T0/secret?x=y"), "hooks.example");
        assert_eq!(host("https://me:hush@hooks.example:8443?token=1"), "hooks.example:8443");
    }

    #[test]
    fn a_subject_that_is_not_ascii_is_encoded() {
        assert_eq!(header_text("offsite: site failed"), "offsite: site failed");
        assert_eq!(header_text("Büro"), "=?UTF-8?B?QsO8cm8=?=");
        let long = header_text(&"ü".repeat(50));
        let words: Vec<&str> = long.split("\n ").collect();
        assert!(words.len() == 3 && words.iter().all(|word| word.len() <= 75), "{long}");
        let decoded: Vec<u8> = words.iter().flat_map(|w| STANDARD.decode(&w[10..w.len() - 2]).unwrap()).collect();
        assert_eq!(decoded, "ü".repeat(50).into_bytes());
    }
}
