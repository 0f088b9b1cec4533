//! The initialize hook: what it changes, what it leaves, and what it says where it cannot.
//!
//! What every store keeps (looking changes nothing, twice is once) is in the conformance suite.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use offsite_backends::initialize::{Did, InitMode, Initialize, Lock, LockMode, Setting};
use offsite_backends::s3::S3Backend;
use offsite_backends::{Backend, Location};

use super::fake::{Fake, Seen};
use super::{Server, unique};

const MISSING_RULES: &str = "<Error><Code>NoSuchLifecycleConfiguration</Code><Message>none</Message></Error>";

fn days(abort: Option<u32>, expire: Option<u32>) -> Initialize {
    Initialize { abort_uploads_after_days: abort, expire_old_versions_after_days: expire, ..Initialize::default() }
}

async fn make(backend: &S3Backend, want: &Initialize) -> Vec<Setting> {
    backend.initialize(want, InitMode::Make).await.unwrap()
}

fn row<'a>(rows: &'a [Setting], name: &str) -> &'a Setting {
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no {name} in {rows:?}"))
}

impl Server {
    async fn client(&self) -> aws_sdk_s3::Client {
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let config = aws_sdk_s3::config::Builder::from(&shared).endpoint_url(&self.endpoint).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    async fn rules(&self, bucket: &str) -> Vec<LifecycleRule> {
        self.client().await.get_bucket_lifecycle_configuration().bucket(bucket).send().await.unwrap().rules.unwrap_or_default()
    }

    async fn set_rules(&self, bucket: &str, rules: Vec<LifecycleRule>) {
        let config = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
        let request = self.client().await.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(config);
        request.send().await.unwrap();
    }
}

fn theirs(id: &str, prefix: &str) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
    let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
    LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
}

fn aborts(days: i32) -> AbortIncompleteMultipartUpload {
    AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build()
}

#[tokio::test]
async fn rules_of_others_stay_and_each_prefix_has_its_own() {
    let Some(server) = Server::find() else { return };
    let bucket = format!("r-{}", unique());
    let site = server.open_in(&bucket, "site", "").await;
    let rows = make(&site, &days(None, None)).await;
    assert_eq!((rows.len(), &rows[0].did), (1, &Did::Changed), "{rows:?}");
    let expires = LifecycleExpiration::builder().days(30).build();
    let before = vec![
        theirs("logs", "logs/").expiration(expires).build().unwrap(),
        theirs("slow", "").abort_incomplete_multipart_upload(aborts(90)).build().unwrap(),
    ];
    server.set_rules(&bucket, before.clone()).await;
    let before = server.rules(&bucket).await;

    let rows = make(&site, &days(Some(7), Some(60))).await;
    assert!(rows.iter().all(|row| row.did.is_as_wanted()), "{rows:?}");
    assert_eq!(row(&rows, "abort unfinished uploads").was, "after 90 days (rule `slow`)");
    make(&server.open_in(&bucket, "other & more", "").await, &days(Some(3), None)).await;
    let rows = make(&site, &days(Some(14), Some(60))).await;
    assert_eq!(
        (row(&rows, "abort unfinished uploads").did.clone(), row(&rows, "expire old versions").did.clone()),
        (Did::Changed, Did::Nothing)
    );

    let after = server.rules(&bucket).await;
    assert_eq!(after.len(), 5, "{after:?}");
    for rule in &before {
        assert!(after.contains(rule), "{rule:?} in {after:?}");
    }
    let prefixes: Vec<_> = after.iter().filter_map(|rule| rule.filter()?.prefix()).collect();
    assert!(prefixes.contains(&"other & more/"), "{prefixes:?}");
    // Somebody takes one away: a look says so and leaves it.
    server.set_rules(&bucket, before.clone()).await;
    let rows = site.initialize(&days(Some(14), None), InitMode::Check).await.unwrap();
    assert_eq!(row(&rows, "abort unfinished uploads").did, Did::WouldChange);
    assert_eq!(server.rules(&bucket).await, before);
}

#[tokio::test]
async fn a_shorter_rule_of_somebody_else_is_told_and_left() {
    let Some(server) = Server::find() else { return };
    let bucket = format!("s-{}", unique());
    let backend = server.open_in(&bucket, "site", "").await;
    make(&backend, &days(None, None)).await;
    server.set_rules(&bucket, vec![theirs("quick", "").abort_incomplete_multipart_upload(aborts(2)).build().unwrap()]).await;
    let rows = make(&backend, &days(Some(7), None)).await;
    let found = row(&rows, "abort unfinished uploads");
    assert!(matches!(&found.did, Did::Cannot(why) if why.contains("`quick`")), "{found:?}");
    assert_eq!((found.was.as_str(), server.rules(&bucket).await.len()), ("after 2 days", 1));
}

#[tokio::test]
async fn a_key_without_the_right_is_told_which_and_the_rest_goes_on() {
    let Some(server) = Server::find() else { return };
    let bucket = format!("l-{}", unique());
    make(&server.open_in(&bucket, "site", "").await, &days(Some(7), None)).await;
    let limited = server.open_in(&bucket, "site", "&profile=offsite-limited").await;
    let lock = Some(Lock { mode: LockMode::Governance, days: 1 });
    let want = Initialize { versioning: Some(true), lock, ..days(Some(9), None) };
    let rows = make(&limited, &want).await;
    assert_eq!(rows[0].did, Did::Nothing, "{rows:?}");
    // SeaweedFS lets whoever may write also set the other two.
    let refused: &[_] = match server.make.as_str() {
        "seaweedfs" => &[("object lock", "s3:GetBucketObjectLockConfiguration")],
        _ => &[("versioning", "s3:PutBucketVersioning"), ("abort unfinished uploads", "s3:PutLifecycleConfiguration")],
    };
    assert_eq!(rows.len(), 4, "{rows:?}");
    for (name, right) in refused {
        let did = &row(&rows, name).did;
        assert!(matches!(did, Did::Denied(why) if why.contains(&format!("the credentials lack {right}"))), "{did:?}");
    }
    let rows = make(&server.open_in(&format!("n-{}", unique()), "site", "&profile=offsite-limited").await, &want).await;
    assert!(matches!(&rows[0].did, Did::Denied(why) if why.contains("s3:CreateBucket")), "{rows:?}");
}

#[tokio::test]
async fn a_bucket_is_made_with_a_lock_or_says_what_a_lock_needs() {
    let Some(server) = Server::find() else { return };
    let locked = |days| Initialize { lock: Some(Lock { mode: LockMode::Governance, days }), ..Initialize::default() };
    let backend = server.open_in(&format!("k-{}", unique()), "site", "").await;
    let rows = make(&backend, &locked(1)).await;
    assert_eq!(row(&rows, "object lock").did, Did::Changed, "{rows:?}");
    let rows = make(&backend, &locked(2)).await;
    assert_eq!((row(&rows, "object lock").was.as_str(), &row(&rows, "object lock").did), ("governance, 1 day", &Did::Changed));
    let rows = make(&backend, &Initialize { versioning: Some(true), ..locked(2) }).await;
    assert!(rows.iter().all(|row| row.did == Did::Nothing), "a lock comes with versions: {rows:?}");

    let without = server.open_in(&format!("w-{}", unique()), "site", "").await;
    make(&without, &days(None, None)).await;
    let did = row(&make(&without, &locked(1)).await, "object lock").did.clone();
    assert!(matches!(&did, Did::Cannot(why) if why.contains("--versioning")), "{did:?}");
}

#[tokio::test]
async fn what_this_make_has_not_is_said_in_its_words() {
    let Some(server) = Server::find() else { return };
    let backend = server.open_in(&format!("p-{}", unique()), "site", "").await;
    let want = Initialize { block_public: true, region: Some("eu-west-1".into()), ..Initialize::default() };
    let rows = make(&backend, &want).await;
    let public = row(&rows, "block public access");
    match server.make.as_str() {
        "seaweedfs" => assert!(matches!(&public.did, Did::Cannot(why) if why.contains("NotImplemented")), "{public:?}"),
        _ => assert_eq!((&public.did, public.was.as_str()), (&Did::Changed, "off")),
    }
    if server.make == "moto" {
        assert_eq!(row(&rows, "region").did, Did::Nothing);
        let rows = make(&backend, &Initialize { region: Some("eu-west-2".into()), ..want }).await;
        let region = row(&rows, "region");
        assert!(region.was == "eu-west-1" && matches!(&region.did, Did::Cannot(why) if why.contains("cannot be moved")), "{region:?}");
    }
}

async fn anonymous(fake: &Fake) -> S3Backend {
    let url = format!("s3://acme/site?anonymous=true&endpoint={}", fake.endpoint);
    S3Backend::open(Location::parse(&url).unwrap()).await.unwrap()
}

/// What no SDK knows of must not be lost by writing rules anew.
#[tokio::test]
async fn rules_that_nobody_here_understands_go_back_byte_for_byte() {
    const THEIRS: &str = "<Rule>\n <ID>theirs</ID><Filter><Brand new=\"1\">a &amp; b</Brand></Filter><Status>Enabled</Status></Rule>";
    let fake = Fake::start(|request: &Seen| match request.line.starts_with("GET") {
        true => (200, format!("<?xml version=\"1.0\"?><LifecycleConfiguration>{THEIRS}</LifecycleConfiguration>")),
        false => (200, String::new()),
    })
    .await;
    let rows = make(&anonymous(&fake).await, &days(Some(7), None)).await;
    let put = fake.seen("PUT /acme");
    assert_eq!(put.len(), 1, "{rows:?}");
    assert!(put[0].body.contains(THEIRS) && put[0].body.contains("<DaysAfterInitiation>7<"), "{put:?}");
    // That server took it and still says the old: this is not called done.
    let found = row(&rows, "abort unfinished uploads");
    assert!(matches!(&found.did, Did::Cannot(why) if why.contains("does not keep it")), "{found:?}");
}

#[tokio::test]
async fn a_refused_write_names_the_right() {
    let denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    let fake = Fake::start(move |request: &Seen| match request.line.split(' ').next() {
        Some("PUT") => (403, denied.into()),
        Some("GET") => (404, MISSING_RULES.into()),
        _ => (200, String::new()),
    })
    .await;
    let rows = make(&anonymous(&fake).await, &days(Some(7), Some(90))).await;
    let dids: Vec<_> = rows[1..].iter().map(|row| &row.did).collect();
    let names_it = |did: &&Did| matches!(did, Did::Denied(why) if why.contains("s3:PutLifecycleConfiguration"));
    assert!(dids.len() == 2 && dids.iter().all(names_it), "{rows:?}");
    let looked = anonymous(&fake).await.initialize(&days(Some(7), None), InitMode::Check).await.unwrap();
    assert_eq!((looked[1].did.clone(), fake.seen("PUT").len()), (Did::WouldChange, 2));
}
