//! Servers that lie: redirects, bodies and listings without an end, long texts of errors. And what the log tells of them.
//!
//! Owns a server that says whatever a test wants, on this machine. Each run must end by itself, soon, without more memory
//! than its answer may take, and must not have told another host anything.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Place, Ran};

const SECRETS: [&str; 3] = ["AKIDNOTTOBETOLD", "SECRETnottobetold", "TOKENnottobetold"];

/// A server that answers each request as `answer` does, given its number and its first line.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(usize, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, answer, number) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let list = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, number, list) = (Arc::clone(&answer), Arc::clone(&number), Arc::clone(&list));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let Some(Ok(first)) = lines.next() else { return };
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    list.lock().unwrap().push(first.clone());
                    answer(number.fetch_add(1, SeqCst), &first, &mut { stream });
                });
            }
        });
        Self { port, seen }
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn say(stream: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}");
}

/// Sends for ever what nobody should read to its end.
fn flood(stream: &mut TcpStream, head: &str) {
    let _ = write!(
        stream,
        "HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\nETag: \"x\"\r\nLast-Modified: Sat, 21 Nov 2026 11:27:04 GMT\r\n\r\n"
    );
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    while stream.write_all(chunk.as_bytes()).is_ok() {}
}

fn listing(keys: &str, next: &str) -> String {
    format!(
        "<ListBucketResult><Name>box</Name><IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>{keys}</ListBucketResult>"
    )
}

fn run(place: &Place, server: &Server, args: &[&str]) -> Ran {
    let url = format!("s3://box?endpoint=http://127.0.0.1:{}&region=eu-west-1", server.port);
    let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
    command.args(args).arg(url).current_dir(place.path("")).env_clear().env("HOME", place.path(""));
    command.env("OFFSITE_CACHE_DIR", place.path("cache")).env("TZ", "UTC").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", SECRETS[0]).env("AWS_SECRET_ACCESS_KEY", SECRETS[1]).env("AWS_SESSION_TOKEN", SECRETS[2]);
    let began = Instant::now();
    let ran = Ran::from(command.output().unwrap());
    assert!(began.elapsed() < Duration::from_mins(1), "it took {:?}", began.elapsed());
    ran
}

#[test]
fn a_redirect_is_not_followed_to_another_host() {
    let other = Server::new(|_, _, stream| say(stream, "404 Not Found", "", ""));
    let to = other.port;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Server::new(move |_, first, stream| {
            let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
            say(stream, status, &format!("Location: http://localhost:{to}{path}\r\n"), "");
        });
        let ran = run(&Place::new(), &server, &["ls"]);
        assert_eq!(ran.code, 1, "{status}: {}", ran.err);
        assert!(ran.err.contains("the server redirects") && ran.err.contains("localhost"), "{status}: {}", ran.err);
    }
    assert_eq!(other.requests(), 0);
}

#[test]
fn a_body_without_an_end_is_not_read_to_it() {
    for head in ["200 OK", "200 OK\r\nContent-Length: 100", "403 Forbidden", "404 Not Found"] {
        let server = Server::new(move |_, _, stream| flood(stream, head));
        let ran = run(&Place::new(), &server, &["ls"]);
        assert_eq!(ran.code, 1, "{head}: {}", ran.err);
        assert!(ran.err.len() < 3000, "{head}: {} bytes of error text", ran.err.len());
    }
}

#[test]
fn a_listing_that_brings_nothing_new_ends() {
    for tokens in [1, 2] {
        for keys in
            ["", "<Contents><Key>.offsite/snapshots/x</Key><Size>1</Size><LastModified>2026-11-21T11:27:04Z</LastModified></Contents>"]
        {
            let server = Server::new(move |number, _, stream| say(stream, "200 OK", "", &listing(keys, &format!("t{}", number % tokens))));
            let ran = run(&Place::new(), &server, &["ls"]);
            assert_eq!(ran.code, 1, "{}", ran.err);
            assert!(ran.err.contains("repeats itself"), "{}", ran.err);
            assert!(server.requests() < 100, "{} requests", server.requests());
        }
    }
}

#[test]
fn a_long_text_of_an_error_is_one_short_clean_line() {
    let text = "m\x1b[31m\u{202e}\n".repeat(200_000);
    let body = format!("<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>");
    let server = Server::new(move |_, _, stream| say(stream, "403 Forbidden", "", &body));
    let ran = run(&Place::new(), &server, &["ls"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.len() < 3000 && !ran.err.contains('\x1b') && !ran.err.contains('\u{202e}'), "{}", ran.err);
}

#[test]
fn the_log_has_a_line_for_each_request_and_no_secret() {
    let answer = |number: usize, _: &str, stream: &mut TcpStream| match number {
        0 => say(stream, "503 Slow Down", "", "<Error><Code>SlowDown</Code></Error>"),
        _ => say(stream, "403 Forbidden", "", "<Error><Code>AccessDenied</Code><Message>TOKENnottobetold</Message></Error>"),
    };
    let place = Place::new();
    let server = Server::new(answer);
    let ran = run(&place, &server, &["ls", "-vvv", "--log-file", "log.txt"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let log = fs::read_to_string(place.path("log.txt")).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains(" offsite::request ")).collect();
    assert_eq!(told.len(), server.requests(), "{log}");
    assert!(told[0].contains("verb=GET status=503") && told[0].contains("again=0") && told[0].contains("127.0.0.1"), "{log}");
    assert!(told.len() > 1 && told[1].contains("again=1"), "{log}");
    assert!(log.lines().all(|line| line.contains("Z info offsite::run ") || line.contains("Z debug offsite::request ")), "{log}");
    let all = format!("{log}{}{}", ran.out, ran.err);
    for secret in &SECRETS[..2] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }
    assert!(!log.contains(SECRETS[2]) && !log.to_lowercase().contains("authorization"), "{log}");
    // To standard error, by a variable; and what cannot be a filter is named.
    let ran = run(&place, &server, &["ls", "-vv"]);
    assert!(ran.err.contains(" debug offsite::request verb=GET "), "{}", ran.err);
    let ran = place.run(&["snapshots", "--log-filter", "loud", "none"]);
    assert!(ran.code == 2 && ran.err.contains("`loud`"), "{}", ran.err);
    let ran = place.run(&["sync", "site", "copy", "--log-filter", "offsite::call=trace"]);
    assert!(ran.code == 0 && ran.err.contains(" trace offsite::call verb="), "{}", ran.err);
}
