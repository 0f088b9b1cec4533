//! The GCS backend against the fake that `OFFSITE_TEST_GCS_ENDPOINT` names (see `integration/servers`). What every
//! backend keeps is judged by the conformance suite; here is what is Google's own. Without that variable every
//! test passes without doing anything, unless `OFFSITE_PROMISED` names `gcs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

use std::env::var;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Attribute, GetOptions, GetRange, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use offsite_backends::gcs::GcsBackend;
use offsite_backends::initialize::{Did, InitMode};
use offsite_backends::{Backend, Depth, ErrorKind, Initialize, Location, Scope};

struct Server {
    endpoint: String,
}

fn set(variable: &str) -> String {
    var(format!("OFFSITE_TEST_GCS_{variable}")).unwrap_or_default()
}

impl Server {
    fn find() -> Option<Self> {
        let Ok(endpoint) = var("OFFSITE_TEST_GCS_ENDPOINT") else {
            let promised = var("OFFSITE_PROMISED").unwrap_or_default();
            assert!(!promised.split([',', ' ']).any(|word| word == "gcs"), "GCS was promised and OFFSITE_TEST_GCS_ENDPOINT is not set");
            return None;
        };
        Some(Self { endpoint })
    }

    /// Asks the fake for something that Google has no call for.
    async fn fake(&self, what: &str, body: String) {
        let sent = reqwest::Client::new().post(format!("{}/_fake/{what}", self.endpoint)).body(body).send().await.unwrap();
        assert!(sent.status().is_success());
    }

    /// A fresh prefix of a bucket, with the key of one of the fake's accounts.
    fn open(&self, bucket: &str, account: &str) -> GcsBackend {
        self.open_at(bucket, &unique(), &format!("&credentials={}/{account}.json", set("KEYS")))
    }

    fn open_at(&self, bucket: &str, prefix: &str, more: &str) -> GcsBackend {
        let url = format!("gs://{bucket}/{prefix}?endpoint={}&control_endpoint={}{more}", self.endpoint, set("CONTROL"));
        GcsBackend::open(Location::parse(&url).unwrap()).unwrap()
    }
}

fn unique() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("t{}-{}", std::process::id(), now.as_nanos())
}

fn key(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn body(text: &str) -> PutPayload {
    PutPayload::from(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_version_is_answered_only_where_it_lasts() {
    let Some(server) = Server::find() else { return };
    for (bucket, account, lasts) in [("BUCKET", "admin", false), ("VERSIONED_BUCKET", "admin", true), ("VERSIONED_BUCKET", "writer", false)]
    {
        let backend = server.open(&set(bucket), account);
        let store = backend.store();
        let create = PutOptions::from(PutMode::Create);
        assert_eq!(store.put_opts(&key("own"), body("x"), create).await.unwrap().version, None);
        assert_eq!(backend.meter().requests().total(), 1, "a create-only put asks nothing else");
        let first = store.put(&key("a"), body("one")).await.unwrap();
        store.put(&key("a"), body("two")).await.unwrap();
        assert_eq!(first.version.is_some(), lasts, "{bucket} as {account}");
        assert_eq!(backend.keeps_versions().await.unwrap(), lasts);
        assert_eq!(backend.meter().requests().get, 1, "the bucket is asked once");
        if let Some(version) = first.version {
            let options = GetOptions { version: Some(version.clone()), ..GetOptions::default() };
            let got = store.get_opts(&key("a"), options.clone()).await.unwrap();
            assert_eq!(got.bytes().await.unwrap(), "one");
            backend.delete_versions(vec![(key("a"), version.clone()), (key("a"), version)]).await.unwrap();
            assert!(matches!(store.get_opts(&key("a"), options).await, Err(object_store::Error::NotFound { .. })));
            assert_eq!(store.get(&key("a")).await.unwrap().bytes().await.unwrap(), "two");
        }
    }
}

/// What a hold protects comes back, and the rest goes.
#[tokio::test]
async fn a_version_under_a_hold_is_not_deleted() {
    let Some(server) = Server::find() else { return };
    let prefix = unique();
    let backend = server.open_at(&set("VERSIONED_BUCKET"), &prefix, &format!("&credentials={}/admin.json", set("KEYS")));
    let store = backend.store();
    let held = store.put(&key("held"), body("one")).await.unwrap().version.unwrap();
    let free = store.put(&key("free"), body("two")).await.unwrap().version.unwrap();
    let hold = |on: bool| server.fake("hold", format!("{{\"name\": \"{prefix}/held\", \"on\": {on}}}"));
    hold(true).await;
    let looked = backend.held(&key("held"), None).await.unwrap();
    assert_eq!((looked.version.as_ref(), looked.by_hand, looked.until), (Some(&held), true, None));
    assert!(!backend.held(&key("free"), Some(&free)).await.unwrap().by_hand);
    let both = vec![(key("held"), held.clone()), (key("free"), free)];
    let refused = backend.delete_versions(both.clone()).await.unwrap();
    assert_eq!(refused.iter().map(|one| (&one.version, one.error.kind)).collect::<Vec<_>>(), [(&held, ErrorKind::Denied)]);
    hold(false).await;
    assert!(backend.delete_versions(both).await.unwrap().is_empty());
    assert_eq!(backend.held(&key("held"), None).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn one_tag_in_every_answer() {
    let Some(server) = Server::find() else { return };
    let backend = server.open(&set("BUCKET"), "admin");
    let store = backend.store();
    let small = store.put(&key("small"), body("hello")).await.unwrap().e_tag.unwrap();
    assert!(small.starts_with("\"5d41402abc4b2a76b9719d911017c592-"), "the MD5 stands first: {small}");
    let multipart = backend.multipart().unwrap();
    let id = multipart.create_multipart(&key("parts")).await.unwrap();
    let part = multipart.put_part(&key("parts"), &id, 0, body("in parts")).await.unwrap();
    let parts = multipart.complete_multipart(&key("parts"), &id, vec![part]).await.unwrap().e_tag.unwrap();
    let copied =
        backend.copy_exact(&key("small"), &key("copied"), 5, Some(&small), object_store::PutMode::Overwrite).await.unwrap().e_tag.unwrap();
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let raw: Vec<_> = backend.list(Scope::Prefix, Depth::Everything).try_collect().await.unwrap();
    for (name, tag) in [("small", &small), ("parts", &parts), ("copied", &copied)] {
        assert_eq!(store.head(&key(name)).await.unwrap().e_tag.as_ref(), Some(tag), "head of {name}");
        let there = listed.iter().find(|object| object.location == key(name)).unwrap();
        assert_eq!(there.e_tag.as_ref(), Some(tag), "listing of {name}");
        let there = raw.iter().find(|object| object.key == name.as_bytes()).unwrap();
        assert_eq!(there.etag.as_deref(), Some(tag.trim_matches('"')), "raw listing of {name}");
        let options = |tag: &str| GetOptions { if_match: Some(format!("\"{}\"", tag.trim_matches('"'))), ..GetOptions::default() };
        store.get_opts(&key(name), options(tag)).await.unwrap();
        let other = store.get_opts(&key(name), options("00000000000000000000000000000000-5")).await.unwrap_err();
        assert!(matches!(other, object_store::Error::Precondition { .. }), "{other}");
    }
    // The same content put anew: another generation, and a copy of what is meant all the same.
    store.put(&key("small"), body("hello")).await.unwrap();
    backend.copy_exact(&key("small"), &key("again"), 5, Some(&small), object_store::PutMode::Overwrite).await.unwrap();
    store.put(&key("small"), body("other")).await.unwrap();
    let error = backend.copy_exact(&key("small"), &key("no"), 5, Some(&small), object_store::PutMode::Overwrite).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Precondition, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_swaps_exactly_one_wins() {
    let Some(server) = Server::find() else { return };
    let backend = server.open(&set("BUCKET"), "admin");
    let tag = backend.store().put(&key("lease"), body("0")).await.unwrap().e_tag;
    let racers = (0..12).map(|n: u32| {
        let (store, e_tag) = (backend.store(), tag.clone());
        let mode = PutMode::Update(UpdateVersion { e_tag, version: None });
        tokio::spawn(async move { store.put_opts(&key("lease"), body(&n.to_string()), mode.into()).await })
    });
    let answers = futures::future::join_all(racers).await;
    let won = answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_ok()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn what_is_sent_carries_a_digest_and_what_is_refused_for_a_while_is_sent_again() {
    let Some(server) = Server::find() else { return };
    let prefix = unique();
    let backend = server.open_at(&set("BUCKET"), &prefix, "");
    let fault = format!("{{\"path\": \"{prefix}\", \"status\": 503, \"times\": 3}}");
    server.fake("fail", fault).await;
    backend.store().put(&key("a"), body("x")).await.unwrap();
    assert_eq!(backend.meter().requests().put, 4, "retries count");
    let multipart = backend.multipart().unwrap();
    let id = multipart.create_multipart(&key("parts")).await.unwrap();
    multipart.put_part(&key("parts"), &id, 0, body("x")).await.unwrap();
    let undigested = reqwest::get(format!("{}/_fake/undigested", server.endpoint)).await.unwrap().text().await.unwrap();
    assert!(!undigested.contains(&prefix), "{undigested}");
}

#[tokio::test]
async fn what_others_packed_comes_as_it_lies_there() {
    let Some(server) = Server::find() else { return };
    let backend = server.open(&set("BUCKET"), "admin");
    // 31 bytes that unpack to 9: `123456789`.
    let packed = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0x33, 0x34, 0x32, 0x36, 0x31, 0x35, 0x33, 0xb7, 0xb0, 4, 0, 0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0,
    ];
    let mut options = PutOptions::default();
    options.attributes.insert(Attribute::ContentEncoding, "gzip".into());
    backend.store().put_opts(&key("page.gz"), packed.to_vec().into(), options).await.unwrap();
    assert_eq!(backend.store().head(&key("page.gz")).await.unwrap().size, packed.len() as u64);
    assert_eq!(backend.store().get(&key("page.gz")).await.unwrap().bytes().await.unwrap(), packed[..]);
    let range = GetOptions { range: Some(GetRange::Bounded(2..12)), ..GetOptions::default() };
    assert_eq!(backend.store().get_opts(&key("page.gz"), range).await.unwrap().bytes().await.unwrap(), packed[2..12]);
}

#[tokio::test]
async fn who_may_not_is_told_what_to_do() {
    let Some(server) = Server::find() else { return };
    let stranger = server.open(&set("BUCKET"), "stranger");
    let error = stranger.store().put(&key("a"), body("x")).await.unwrap_err();
    let error = stranger.error("a", &error);
    assert!(error.kind == ErrorKind::Denied && error.message.contains("gcloud auth"), "{error}");
    assert!(!error.message.contains("AWS") && !error.message.contains("eyJ"), "{error}");
    let looker = server.open(&set("BUCKET"), "looker");
    let error = looker.store().put(&key("a"), body("x")).await.unwrap_err();
    let error = looker.error("a", &error);
    assert!(error.message.contains("storage.objects.create") && error.kind == ErrorKind::Denied, "{error}");
    let nobody = server.open_at(&set("PUBLIC_BUCKET"), "p", "&anonymous=true");
    assert!(matches!(nobody.store().get(&key("a")).await, Err(object_store::Error::NotFound { .. })), "reading needs no token");
    let error = nobody.store().put(&key("a"), body("x")).await.unwrap_err();
    assert_eq!(nobody.error("a", &error).kind, ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_made_beside_those_of_others() {
    let Some(server) = Server::find() else { return };
    let bucket = unique();
    let open = |account: &str| server.open_at(&bucket, "site", &format!("&credentials={}/{account}.json&project=acme-1", set("KEYS")));
    let all = Initialize {
        versioning: Some(true),
        abort_uploads_after_days: Some(7),
        expire_old_versions_after_days: Some(90),
        block_public: true,
        region: Some("EUROPE-WEST1".into()),
        ..Initialize::default()
    };
    let did = async |account: &str, want: &Initialize, mode| -> Vec<(&'static str, Did)> {
        open(account).initialize(want, mode).await.unwrap().into_iter().map(|row| (row.name, row.did)).collect()
    };
    assert!(did("admin", &all, InitMode::Check).await.iter().all(|(_, did)| *did == Did::WouldChange), "a bucket that is not there");
    let made = did("admin", &all, InitMode::Make).await;
    let names: Vec<_> = made.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["bucket", "versioning", "abort unfinished uploads", "expire old versions", "block public access", "region"]);
    assert!(made.iter().all(|(_, did)| did.is_as_wanted()), "{made:?}");
    assert!(did("admin", &all, InitMode::Make).await.iter().all(|(_, did)| *did == Did::Nothing), "again");
    // Several at once, each with a rule of its own: the bucket's metageneration keeps them apart.
    let others = (0..6).map(|n: u32| {
        let backend = server.open_at(&bucket, &format!("other{n}"), "");
        let want = Initialize { abort_uploads_after_days: Some(n + 1), ..Initialize::default() };
        tokio::spawn(async move { backend.initialize(&want, InitMode::Make).await.unwrap() })
    });
    let rows = futures::future::join_all(others).await;
    assert!(rows.iter().all(|rows| rows.as_ref().unwrap()[1].did == Did::Changed), "{rows:?}");
    assert!(did("admin", &all, InitMode::Check).await.iter().all(|(_, did)| *did == Did::Nothing), "ours is still there");
    let elsewhere = Initialize { region: Some("US".into()), ..Initialize::default() };
    assert!(matches!(&did("admin", &elsewhere, InitMode::Make).await[1], ("region", Did::Cannot(why)) if why.contains("stays")));
    let rows = did("writer", &all, InitMode::Make).await;
    assert!(rows.iter().all(|(_, did)| matches!(did, Did::Denied(why) if why.contains("storage.buckets.get"))), "{rows:?}");
    let off = Initialize { versioning: Some(false), ..Initialize::default() };
    let rows = did("looker", &off, InitMode::Make).await;
    assert!(matches!(&rows[1].1, Did::Denied(why) if why.contains("storage.buckets.update")), "{rows:?}");
}

#[tokio::test]
async fn a_server_without_grpc_is_given_up_and_named() {
    let Some(server) = Server::find() else { return };
    let url = format!("gs://{}/{}?endpoint={}", set("BUCKET"), unique(), server.endpoint);
    let backend = GcsBackend::open(Location::parse(&url).unwrap()).unwrap();
    let begun = Instant::now();
    let answer = backend.store().put(&key("a"), body("x")).await.unwrap();
    assert_eq!(answer.version, None, "the content is there, and no promise is made");
    let error = backend.copy_exact(&key("a"), &key("b"), 1, None, object_store::PutMode::Overwrite).await.unwrap_err();
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("control_endpoint"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
