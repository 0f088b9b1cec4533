//! The initialize hook: rules of others, rights that are missing, somebody else at it.

use offsite_backends::initialize::{Did, InitMode, Initialize, Lock, LockMode, Setting};
use offsite_backends::{Backend, b2::B2Backend};
use serde_json::{Value, json};

use crate::*;

const ADMIN: [&str; 7] =
    ["listBuckets", "writeBuckets", "listFiles", "writeFiles", "readFiles", "readBucketRetentions", "writeBucketRetentions"];

fn days(abort: u32, expire: u32) -> Initialize {
    Initialize { abort_uploads_after_days: Some(abort), expire_old_versions_after_days: Some(expire), ..Initialize::default() }
}

/// A bucket of the test's own, with rules of somebody else.
async fn bucket(emulator: &Emulator, prefix: &str, capabilities: &[&str], rules: Value) -> (String, Key, B2Backend) {
    let name = format!("init-{}", unique());
    let made = emulator.call("b2_create_bucket", json!({"bucketName": name, "bucketType": "allPublic", "lifecycleRules": rules})).await;
    let key = emulator.made(json!({"capabilities": capabilities, "bucketIds": [made["bucketId"]], "keyName": "init"})).await;
    let backend = emulator.open_in(&name, prefix, &key);
    (name, key, backend)
}

async fn rules(emulator: &Emulator, bucket: &str) -> Value {
    emulator.call("b2_list_buckets", json!({"bucketName": bucket})).await["buckets"][0]["lifecycleRules"].clone()
}

fn row<'a>(rows: &'a [Setting], name: &str) -> &'a Setting {
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}: {rows:?}"))
}

#[tokio::test]
async fn rules_are_merged_with_those_of_others() {
    let Some(emulator) = Emulator::find().await else { return };
    let theirs =
        json!([{"fileNamePrefix": "logs/", "daysFromHidingToDeleting": 3}, {"fileNamePrefix": "site/", "daysFromUploadingToHiding": 400}]);
    let (name, key_of, backend) = bucket(&emulator, "site", &ADMIN, theirs).await;
    emulator.fault(&key_of, json!({"call": "b2_update_bucket", "status": 409, "code": "conflict"})).await;
    let made = backend.initialize(&days(7, 90), InitMode::Make).await.unwrap();
    assert_eq!(made.iter().map(|row| row.did.clone()).collect::<Vec<_>>(), [Did::Nothing, Did::Changed, Did::Changed], "{made:?}");
    let now = rules(&emulator, &name).await;
    assert_eq!((&now[0]["fileNamePrefix"], &now[0]["daysFromHidingToDeleting"]), (&json!("logs/"), &json!(3)));
    let wanted = (&json!(400), &json!(90), &json!(7));
    let ours = &now[1];
    let got =
        (&ours["daysFromUploadingToHiding"], &ours["daysFromHidingToDeleting"], &ours["daysFromStartingToCancelingUnfinishedLargeFiles"]);
    assert_eq!(got, wanted);
    let again = backend.initialize(&days(7, 90), InitMode::Check).await.unwrap();
    assert!(again.iter().all(|row| row.did == Did::Nothing), "{again:?}");
    let drift = backend.initialize(&days(7, 30), InitMode::Check).await.unwrap();
    let expire = row(&drift, "expire old versions");
    assert_eq!((expire.was.as_str(), expire.wanted.as_str(), &expire.did), ("after 90 days", "after 30 days", &Did::WouldChange));
}

#[tokio::test]
async fn a_rule_for_more_names_is_left_alone_and_named() {
    let Some(emulator) = Emulator::find().await else { return };
    let theirs = json!([{"fileNamePrefix": "", "daysFromHidingToDeleting": 30}]);
    let (name, _key, backend) = bucket(&emulator, "site", &ADMIN, theirs).await;
    let rows = backend.initialize(&days(7, 30), InitMode::Make).await.unwrap();
    assert_eq!(row(&rows, "expire old versions").did, Did::Nothing, "their rule says the same already");
    let Did::Cannot(why) = &row(&rows, "abort unfinished uploads").did else { panic!("{rows:?}") };
    assert!(why.contains("no second rule"), "{why}");
    assert_eq!(rules(&emulator, &name).await.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_and_the_rest_goes_on() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_, _key, backend) = bucket(&emulator, "site", &["listBuckets"], json!([])).await;
    let want = Initialize {
        versioning: Some(true),
        block_public: true,
        lock: Some(Lock { mode: LockMode::Governance, days: 3 }),
        region: Some("eu-central-003".into()),
        ..days(7, 90)
    };
    let rows = backend.initialize(&want, InitMode::Make).await.unwrap();
    assert_eq!((row(&rows, "bucket").did.clone(), row(&rows, "versioning").did.clone()), (Did::Nothing, Did::Nothing));
    for (name, right) in [
        ("abort unfinished uploads", "writeBuckets"),
        ("expire old versions", "writeBuckets"),
        ("block public access", "writeBuckets"),
        ("object lock", "readBucketRetentions"),
    ] {
        let Did::Denied(text) = &row(&rows, name).did else { panic!("{name}: {rows:?}") };
        assert!(text.contains(right), "{name}: {text}");
    }
    assert!(matches!(row(&rows, "region").did, Did::Cannot(_)));
}

#[tokio::test]
async fn public_access_is_blocked_and_a_lock_is_set() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_, _key, backend) = bucket(&emulator, "site", &ADMIN, json!([])).await;
    let want = Initialize { block_public: true, lock: Some(Lock { mode: LockMode::Governance, days: 3 }), ..Initialize::default() };
    let rows = backend.initialize(&want, InitMode::Make).await.unwrap();
    assert_eq!((row(&rows, "block public access").was.as_str(), &row(&rows, "block public access").did), ("off", &Did::Changed));
    assert_eq!((row(&rows, "object lock").was.as_str(), &row(&rows, "object lock").did), ("off", &Did::Changed));
    let again = backend.initialize(&want, InitMode::Make).await.unwrap();
    assert!(again.iter().all(|row| row.did == Did::Nothing), "{again:?}");
    assert_eq!(row(&again, "object lock").was, "governance, 3 days");
}

#[tokio::test]
async fn a_look_at_a_bucket_that_is_missing_is_drift_and_no_failure() {
    let Some(emulator) = Emulator::find().await else { return };
    let key_of = emulator.made(json!({"capabilities": ADMIN, "keyName": "init"})).await;
    let backend = emulator.open_in(&format!("init-{}", unique()), "site", &key_of);
    let rows = backend.initialize(&Initialize { block_public: true, ..days(7, 90) }, InitMode::Check).await.unwrap();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|row| row.did == Did::WouldChange), "{rows:?}");
    let made = backend.initialize(&days(7, 90), InitMode::Make).await.unwrap();
    assert!(made.iter().all(|row| row.did == Did::Changed), "{made:?}");
}

#[tokio::test]
async fn versions_cannot_be_turned_off() {
    let Some(emulator) = Emulator::find().await else { return };
    let (_key, backend) = emulator.place("versions-off").await;
    let rows = backend.initialize(&Initialize { versioning: Some(false), ..Initialize::default() }, InitMode::Make).await.unwrap();
    assert!(matches!(&row(&rows, "versioning").did, Did::Cannot(why) if why.contains("always keeps versions")), "{rows:?}");
}
