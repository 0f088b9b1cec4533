//! The settings of a bucket, from a destination's URL and AWS's own configuration.
//!
//! Owns the query settings of `s3://` URLs and the loading of `aws-config`. Sends nothing to the bucket.
//! Invariants: the URL wins over AWS's own variables and files. No credential is requested here. The instance's
//! metadata service is asked for a region only if nothing else names one.

use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::{ProvideRegion, RegionProviderChain};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_types::service_config::ServiceConfigKey;
use object_store::aws::Checksum;
use reqwest::tls::Certificate;
use url::Url;

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// The settings that the query of an `s3://` URL may have.
pub(crate) const KNOWN: &[&str] = &["endpoint", "region", "profile", "path_style", "checksum", "anonymous", "requester_pays"];

/// The region if nothing names one. AWS uses it too, and servers of other makes accept it.
const FALLBACK_REGION: &str = "us-east-1";

/// How long the metadata service of an instance may take to name its region. On a machine without one, the
/// connection attempt hangs for this long.
const IMDS_PATIENCE: Duration = Duration::from_secs(1);

/// Everything the two planes need to know about one bucket.
#[derive(Clone)]
pub(super) struct S3Settings {
    pub bucket: String,
    pub region: String,
    /// A server other than AWS's own for the region, without a trailing slash.
    pub endpoint: Option<Url>,
    pub path_style: bool,
    pub checksum: Option<Checksum>,
    pub anonymous: bool,
    /// Whether every request says that its sender pays for it.
    pub requester_pays: bool,
    /// Certificates of authorities that are trusted in addition to the system's.
    pub authorities: Vec<Certificate>,
    /// What `aws-config` found: credentials, TLS client and other settings of the SDK.
    pub sdk: SdkConfig,
}

impl S3Settings {
    /// Reads the URL's query, then AWS's variables and files.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a setting or bucket name that is not valid.
    pub(super) async fn load(location: &Location) -> Result<Self> {
        location.only_settings(KNOWN)?;
        let get = |name: &str| location.settings().get(name).map(String::as_str).filter(|value| !value.is_empty());
        let bucket = bucket_name(location)?;
        let checksum = checksum(location, get("checksum"))?;
        let anonymous = flag(location, "anonymous", get("anonymous"))?.unwrap_or(false);
        let path_style = flag(location, "path_style", get("path_style"))?;
        let requester_pays = flag(location, "requester_pays", get("requester_pays"))?.unwrap_or(false);
        let asked = get("endpoint").map(|text| endpoint_url(location, text)).transpose()?;

        let region = region(get("region"), get("profile"), asked.is_some()).await;
        let loader = || loader(&region, get("profile"), anonymous);
        let mut sdk = loader().load().await;
        let bundle = ca_bundle(location, &sdk)?;
        if let Some((pem, _)) = &bundle {
            // Credentials use the same client: a company's sign-in servers have its certificates too.
            sdk = loader().http_client(tls_client(location, pem)?).load().await;
        }
        let endpoint = match asked {
            Some(url) => Some(url),
            None => configured_endpoint(&sdk).map(|text| endpoint_url(location, &text)).transpose()?,
        };
        // A dot in the name breaks the wildcard certificate of the virtual-hosted form.
        let path_style = path_style.unwrap_or(endpoint.is_some() || bucket.contains('.'));
        Ok(Self {
            bucket,
            region,
            endpoint,
            path_style,
            checksum,
            anonymous,
            requester_pays,
            authorities: bundle.map(|(_, found)| found).unwrap_or_default(),
            sdk,
        })
    }

    /// The URL under which the bucket's keys lie, without a trailing slash.
    pub(super) fn bucket_url(&self) -> String {
        let bucket = &self.bucket;
        match (&self.endpoint, self.path_style) {
            (Some(url), true) => format!("{}/{bucket}", url.as_str().trim_end_matches('/')),
            (Some(url), false) => {
                let text = url.as_str().trim_end_matches('/');
                text.replacen("://", &format!("://{bucket}."), 1)
            }
            (None, true) => format!("https://{}/{bucket}", self.aws_host()),
            (None, false) => format!("https://{bucket}.{}", self.aws_host()),
        }
    }

    /// AWS's own host for the region, with the FIPS and dual-stack settings of AWS's configuration.
    fn aws_host(&self) -> String {
        let region = &self.region;
        let fips = if self.sdk.use_fips().unwrap_or(false) { "-fips" } else { "" };
        let dual = if self.sdk.use_dual_stack().unwrap_or(false) { ".dualstack" } else { "" };
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("s3{fips}{dual}.{region}.{suffix}")
    }

    /// Whether requests go through TLS.
    pub(super) fn is_https(&self) -> bool {
        self.endpoint.as_ref().is_none_or(|url| url.scheme() == "https")
    }
}

fn loader(region: &str, profile: Option<&str>, anonymous: bool) -> ConfigLoader {
    let region = Region::new(region.to_owned());
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region.clone());
    if let Some(profile) = profile {
        // Without this, the loader lets AWS_ACCESS_KEY_ID win over a profile that the URL names. With
        // `profile=backup` that would be the wrong account.
        let credentials = ProfileFileCredentialsProvider::builder()
            .configure(&ProviderConfig::without_region().with_region(Some(region)))
            .profile_name(profile)
            .build();
        loader = loader.profile_name(profile).credentials_provider(credentials);
    }
    match anonymous {
        true => loader.no_credentials(),
        false => loader,
    }
}

/// The bucket's name. Refused if it has characters that change the meaning of a URL or of a copy source.
fn bucket_name(location: &Location) -> Result<String> {
    let name = location.host();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.len() < 3 || !name.bytes().all(plain) || name.contains("..") || name.starts_with('.') {
        return Err(Error::invalid(location, format!("`{name}` cannot be a bucket's name")));
    }
    Ok(name.to_owned())
}

fn checksum(location: &Location, text: Option<&str>) -> Result<Option<Checksum>> {
    match text {
        None | Some("sha256") => Ok(Some(Checksum::SHA256)),
        Some("crc64nvme") => Ok(Some(Checksum::CRC64NVME)),
        Some("none") => Ok(None),
        Some(other) => Err(Error::invalid(location, format!("unknown checksum `{other}`; use sha256, crc64nvme or none"))),
    }
}

fn flag(location: &Location, name: &str, text: Option<&str>) -> Result<Option<bool>> {
    match text {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(other) => Err(Error::invalid(location, format!("{name} is `true` or `false`, not `{other}`"))),
    }
}

const FORM: &str = "it must begin with http:// or https:// and name a host";

fn endpoint_url(location: &Location, text: &str) -> Result<Url> {
    let bad = |why: &str| {
        let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
        Error::invalid(location, format!("endpoint `{shown}`: {why}"))
    };
    if !text.contains("://") {
        return Err(bad(FORM));
    }
    let url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad(FORM));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user or password does not belong in it"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it must end with its host, port or path"));
    }
    Ok(url)
}

/// The region, from the first source that names one. Never fails: if the guess is wrong, the bucket's server
/// says so.
async fn region(given: Option<&str>, profile: Option<&str>, has_endpoint: bool) -> String {
    if let Some(region) = given {
        return region.to_owned();
    }
    let mut file = ProfileFileRegionProvider::builder();
    if let Some(name) = profile {
        file = file.profile_name(name);
    }
    // AWS's own tools let AWS_REGION win over a profile's region, even if the profile was named.
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(file.build());
    if let Some(region) = chain.region().await {
        return region.to_string();
    }
    let has_endpoint = has_endpoint || ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].iter().any(|v| std::env::var_os(v).is_some());
    if !has_endpoint {
        let imds = ImdsRegionProvider::builder().build();
        if let Ok(Some(region)) = tokio::time::timeout(IMDS_PATIENCE, ProvideRegion::region(&imds)).await {
            return region.to_string();
        }
    }
    FALLBACK_REGION.to_owned()
}

/// The endpoint from `AWS_ENDPOINT_URL_S3`, the profile's `services` section, then the general forms of both.
fn configured_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    sdk.service_config()
        .and_then(|found| found.load_config(key))
        .or_else(|| sdk.endpoint_url().map(str::to_owned))
        .filter(|text| !text.is_empty())
}

/// The certificates of `AWS_CA_BUNDLE`, or else of the profile's `ca_bundle`, which the AWS command line
/// reads too: the file's bytes, and the certificates in it.
fn ca_bundle(location: &Location, sdk: &SdkConfig) -> Result<Option<(Vec<u8>, Vec<Certificate>)>> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_CA_BUNDLE").profile("ca_bundle").build().ok();
    let file = key.and_then(|key| sdk.service_config()?.load_config(key)).filter(|path| !path.is_empty());
    let Some(file) = file else { return Ok(None) };
    let bad = |why: String| Error::invalid(location, format!("the certificates that AWS_CA_BUNDLE or `ca_bundle` names, {file}: {why}"));
    let pem = std::fs::read(&file).map_err(|error| bad(error.to_string()))?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(Some((pem, found))),
        Ok(_) => Err(bad("it has no PEM certificate".into())),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// The SDK's HTTP client with additional trusted certificates. It uses a proxy as the SDK's own client does.
fn tls_client(location: &Location, pem: &[u8]) -> Result<SharedHttpClient> {
    let trust = TrustStore::default().with_pem_certificate(pem);
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| Error::invalid(location, format!("AWS_CA_BUNDLE: {error}")))?;
    Ok(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(url: &str) -> Result<S3Settings> {
        S3Settings::load(&Location::parse(url).unwrap()).await
    }

    #[tokio::test]
    async fn the_form_of_the_bucket_url_follows_endpoint_and_name() {
        let aws = |s: &S3Settings| (s.bucket_url(), s.is_https());
        let plain = load("s3://acme?region=eu-west-1").await.unwrap();
        assert_eq!(aws(&plain), ("https://acme.s3.eu-west-1.amazonaws.com".into(), true));
        let dotted = load("s3://acme.example?region=cn-north-1").await.unwrap();
        assert_eq!(aws(&dotted), ("https://s3.cn-north-1.amazonaws.com.cn/acme.example".into(), true));
        let own = load("s3://acme?endpoint=http://127.0.0.1:9/&region=x").await.unwrap();
        assert_eq!(aws(&own), ("http://127.0.0.1:9/acme".into(), false));
        let hosted = load("s3://acme?endpoint=https://s3.example&path_style=false&region=x").await.unwrap();
        assert_eq!(aws(&hosted), ("https://acme.s3.example".into(), true));
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_by_name() {
        for (url, word) in [
            ("s3://acme?endpont=http://x", "endpont"),
            ("s3://acme?checksum=md5", "md5"),
            ("s3://acme?path_style=yes", "path_style"),
            ("s3://acme?endpoint=s3.example", "http://"),
            ("s3://acme?endpoint=127.0.0.1:9000", "http://"),
            ("s3://acme?endpoint=https://key:hush@s3.example", "password"),
            ("s3://a%2Fb/x", "bucket"),
        ] {
            let error = load(url).await.err().unwrap();
            assert_eq!(error.kind, crate::contract::error::ErrorKind::Invalid, "{error}");
            assert!(error.to_string().contains(word) && !error.to_string().contains("hush"), "{error}");
        }
    }
}
