//! Listings of S3: whatever a server lists, the program ends by itself, soon and small.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::child::run;
use crate::random::{cases, mutate};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
const SEEDS: &[&str] = &[
    r#"<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>n%2F</NextContinuationToken><Contents><Key>p/a</Key><LastModified>2026-11-21T11:27:04.000Z</LastModified><ETag>&quot;0cc175b9c0f1b6a831c399e269772661&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents><Contents><Key>p/.offsite/snapshots/000000000001.json</Key><LastModified>2026-11-21T11:27:04.000Z</LastModified><ETag>&quot;1&quot;</ETag><Size>900</Size></Contents><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes></ListBucketResult>"#,
    r#"<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix><IsTruncated>false</IsTruncated><Version><Key>p/a</Key><VersionId>v1</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-21T11:27:04.000Z</LastModified><ETag>&quot;1&quot;</ETag><Size>7</Size></Version><DeleteMarker><Key>p/b</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><LastModified>2026-11-21T11:27:04.000Z</LastModified></DeleteMarker></ListVersionsResult>"#,
    r#"<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><IsTruncated>false</IsTruncated><Upload><Key>p/big</Key><UploadId>u</UploadId><Initiated>2026-11-21T11:27:04.000Z</Initiated></Upload></ListMultipartUploadsResult>"#,
];
const VERBS: &[&[&str]] = &[&["report", "--list"], &["snapshots"], &["status"]];

/// Answers each request with the body that stands there at the time.
fn server() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let body = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&body);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            std::thread::spawn(move || answer(stream, &body));
        }
    });
    (port, body)
}

fn answer(mut stream: TcpStream, body: &[u8]) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

#[test]
fn a_listing_is_read_or_refused() {
    let (port, body) = server();
    let url = format!("s3://b/p?endpoint=http://127.0.0.1:{port}&region=us-east-1");
    cases("listings of S3", |random| {
        let mut text = format!("{HEAD}{}", random.pick(SEEDS)).into_bytes();
        for _ in 0..=random.below(3) {
            mutate(random, &mut text);
        }
        *body.lock().unwrap_or_else(PoisonError::into_inner) = text;
        let place = tempfile::tempdir().unwrap();
        let verb = random.pick(VERBS);
        let args: Vec<&str> = verb.iter().copied().chain([url.as_str()]).collect();
        run(place.path(), &args);
    });
}
