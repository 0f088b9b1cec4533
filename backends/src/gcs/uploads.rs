//! In-flight uploads, which only the XML API lists.
//!
//! Owns that one request and the reading of its answer. It uses the data plane's connection, so it is counted and
//! cannot hang in silence. Invariant: a page is read whole or is an error.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::control::GcsControl;
use super::error::from_store;
use super::settings::GcsSettings;
use super::wire::GcsConnector;
use crate::contract::error::{self, Error, ErrorKind, Result};

/// Tries before a failure is final.
const TRIES: u32 = 4;

/// The client of that request.
pub(super) struct Uploads {
    control: Arc<GcsControl>,
    client: HttpClient,
}

/// One page of the listing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UploadsPage {
    pub uploads: Vec<OpenUpload>,
    /// Key and upload after which to continue.
    pub next: Option<(String, String)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct OpenUpload {
    pub key: String,
    pub id: String,
    pub begun: DateTime<Utc>,
    pub class: Option<String>,
}

impl Uploads {
    pub(super) fn new(control: Arc<GcsControl>, connector: &GcsConnector) -> object_store::Result<Self> {
        let client = connector.connect(&crate::wire::client::client_options(control.settings.is_https()))?;
        Ok(Self { control, client })
    }

    /// The uploads under a prefix of the bucket. Needs the permission `storage.multipartUploads.list`.
    pub(super) async fn page(&self, prefix: &str, after: Option<&(String, String)>) -> Result<UploadsPage> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let GcsSettings { endpoint, bucket, .. } = &self.control.settings;
        let mut url = format!("{endpoint}/{bucket}?uploads&encoding-type=url&prefix={}", encode(prefix));
        if let Some((key, id)) = after {
            url.push_str(&format!("&key-marker={}&upload-id-marker={}", encode(key), encode(id)));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.get(&url).await {
                Err(error) if error.kind == ErrorKind::Transient && tries < TRIES => {
                    tokio::time::sleep(Duration::from_millis(200 << tries)).await;
                }
                answer => return read(&answer?).ok_or_else(|| self.error(ErrorKind::Other, "its list of uploads cannot be read")),
            }
        }
    }

    async fn get(&self, url: &str) -> Result<String> {
        let token = self.control.tokens.get().await?;
        let request = http::Request::get(url).header("authorization", format!("Bearer {}", token.bearer));
        let request = request.body(HttpRequestBody::empty()).map_err(|error| self.error(ErrorKind::Invalid, &error.to_string()))?;
        let failed = |error| self.error(ErrorKind::Transient, &error::chain(&error));
        let answer = self.client.execute(request).await.map_err(failed)?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(failed)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        match status.is_success() {
            true => Ok(text),
            false => {
                // This is the form of a refusal in `object_store`, so that it is read and reported like all
                // others.
                let text = format!("Error performing GET - Server returned non-2xx status code: {status}: {text}");
                let error = object_store::Error::Generic { store: "GCS", source: text.into() };
                Err(from_store(&self.control.location, "", &error))
            }
        }
    }

    fn error(&self, kind: ErrorKind, why: &str) -> Error {
        Error::new(kind, &self.control.location, why)
    }
}

fn read(page: &str) -> Option<UploadsPage> {
    page.contains("<ListMultipartUploadsResult").then_some(())?;
    let encoded = text(page, "EncodingType").as_deref() == Some("url");
    let name = |text: String| if encoded { percent_decode_str(&text.replace('+', "%20")).decode_utf8_lossy().into_owned() } else { text };
    let mut uploads = Vec::new();
    for piece in page.split("<Upload>").skip(1) {
        let piece = piece.split("</Upload>").next()?;
        let begun = DateTime::parse_from_rfc3339(&text(piece, "Initiated")?).ok()?.with_timezone(&Utc);
        uploads.push(OpenUpload {
            key: name(text(piece, "Key")?),
            id: text(piece, "UploadId")?,
            begun,
            class: text(piece, "StorageClass"),
        });
    }
    let more = text(page, "IsTruncated").as_deref() == Some("true");
    let next = match more {
        true => Some((name(text(page, "NextKeyMarker")?), text(page, "NextUploadIdMarker").unwrap_or_default())),
        false => None,
    };
    Some(UploadsPage { uploads, next })
}

/// The text of the first element of that name.
fn text(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let plain = text.replace("&quot;", "\"").replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">");
    Some(plain.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_whole_or_not_at_all() {
        let page = "<?xml version='1.0'?><ListMultipartUploadsResult xmlns='x'><EncodingType>url</EncodingType><NextKeyMarker>p%2Fb</NextKeyMarker>\
            <NextUploadIdMarker>2</NextUploadIdMarker><IsTruncated>true</IsTruncated><Upload><Key>p/a+%26</Key><UploadId>1</UploadId>\
            <StorageClass>STANDARD</StorageClass><Initiated>2026-11-21T10:00:00.5Z</Initiated></Upload></ListMultipartUploadsResult>";
        let found = read(page).unwrap();
        assert_eq!(found.next, Some(("p/b".into(), "2".into())));
        assert_eq!((found.uploads[0].key.as_str(), found.uploads[0].id.as_str()), ("p/a &", "1"));
        assert_eq!(read(&page.replace("<UploadId>1</UploadId>", "")), None);
        assert_eq!(read("<html>"), None);
    }
}
