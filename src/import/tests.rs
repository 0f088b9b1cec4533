//! Imports one realistic config of each system.
//!
//! Owns the fixtures. Invariant: offsite accepts every imported config.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::config::Parsed;

struct Took {
    config: Value,
    notes: Vec<ImportNote>,
}

impl Took {
    fn said(&self, kind: NoteKind, text: &str) -> bool {
        self.notes.iter().any(|note| note.kind == kind && note.text.contains(text))
    }

    #[track_caller]
    fn says(&self, kind: NoteKind, texts: &[&str]) {
        for text in texts {
            assert!(self.said(kind, text), "{kind:?} {text}: {:#?}", self.notes);
        }
    }
}

fn took(path: &str, text: &str, beside: &[(&str, &str)]) -> Took {
    let beside = beside.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let imported = import(&ForeignConfig { path: path.into(), text: text.into(), beside }, None).unwrap();
    let text = serde_json::to_string_pretty(&imported.config).unwrap();
    Parsed::from_text(&text, Path::new("offsite.json")).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let all = format!("{text}{:?}", imported.notes);
    assert!(!all.contains("hush"), "a secret came through: {all}");
    Took { config: serde_json::from_str(&text).unwrap(), notes: imported.notes }
}

const BACKUPS: &str = r#"{
  "local-code": {
    "comment": "the code, without what a visitor put there",
    "process": "/usr/bin/rsync -d --exclude '/tmp'",
    "destination": "/backup-destination/code/$VOLUME",
    "subdirectories": { "vdrupal": "web", "vsite": "sites/default" },
    "options": { "vdrupal": "--include=files/civicrm/ext/ --exclude=files/* --delete-excluded", "vwp": "ignore" },
    "initialize": "mkdir -p $destination"
    "report": "du -sb $destination"
  },
  "remote": {
    "process": "rsync -az --delete -e 'ssh -p 2222'",
    "prefix": "backup@$REMOTESERVER:",
    "destination": "/var/backup/$VOLUME",
    "subdirectories": { "vdrupal": "web" },
    "initialize": "ssh -p 2222 backup@$REMOTESERVER mkdir -p $destination"
  }
  "gcloud": {
    "process": "/usr/bin/gsutil -m -q rsync -x '/tmp' -d -r",
    "destination": "gs://$GCLOUD_BUCKET/docker-volume/$VOLUME",
    "options": { "vsite": "--exclude=$SKIP/*" },
    "report": "gsutil du -s $destination | tail -n 1"
  }
}"#;

#[test]
fn backup_rsync_with_its_defects() {
    let took = took("backups.json", BACKUPS, &[]);
    let jobs = &took.config["jobs"];
    assert_eq!(jobs["local-code"]["subdirectories"], json!({ "vdrupal": "web", "vsite": "sites/default" }));
    assert_eq!(jobs["local-code"]["options"]["*"], json!({ "adopt": true, "exclude": ["/tmp"] }));
    assert_eq!(jobs["local-code"]["options"]["vwp"], "ignore");
    let rules = json!([
        "/tmp",
        "**/files/*",
        "!**/files/civicrm/ext/",
        "/tmp",
        "!**/files/civicrm/",
        "**/files/civicrm/*",
        "!**/files/civicrm/ext/"
    ]);
    assert_eq!(jobs["local-code"]["options"]["vdrupal"]["exclude"].as_array().unwrap()[..], rules.as_array().unwrap()[1..]);
    let places = &took.config["destinations"];
    assert_eq!(places["local-code"]["initialize"], json!(["mkdir", "-p", "$DESTINATION"]));
    assert_eq!(places["remote"]["url"], "sftp://backup@$REMOTESERVER:2222/var/backup/$VOLUME");
    let initialize = json!(["ssh", "-p", "2222", "backup@$REMOTESERVER", "mkdir", "-p", "/var/backup/$VOLUME/$SUBDIRECTORY"]);
    assert_eq!(places["remote"]["initialize"], initialize);
    assert_eq!(places["gcloud"]["url"], "gs://$GCLOUD_BUCKET/docker-volume/$VOLUME");
    assert_eq!(places["gcloud"]["report"], "gsutil du -s $OFFSITE_DESTINATION | tail -n 1");
    took.says(
        NoteKind::Mended,
        &[
            "a comma is missing at the end of line 8 and 17",
            "quotes in `process`",
            "`null/…`",
            "the word `null`",
            "variables in `options`",
            "rsync flags",
            "`-d` without `-r`",
            "gsutil's paths have no leading slash",
            "`**/files/civicrm/ext/` had no effect",
            "`sh -c` runs it",
            "without a type",
        ],
    );
    assert!(took.notes.iter().all(|note| note.kind != NoteKind::LeftOut), "{:#?}", took.notes);
}

/// The order decides what runs first, so this test compares the text and not the value.
#[test]
fn jobs_stay_in_the_order_of_the_file() {
    let old = ForeignConfig { path: "x".into(), text: BACKUPS.into(), ..ForeignConfig::default() };
    let text = serde_json::to_string(&import(&old, None).unwrap().config).unwrap();
    let at =
        |name: &str| text.find(&format!("\"{name}\":{{\"comment\"")).or_else(|| text.find(&format!("\"{name}\":{{\"source\""))).unwrap();
    assert!(at("local-code") < at("remote") && at("remote") < at("gcloud"), "{text}");
}

const CONF: &str = r#"
# gpg
GPG_KEY='AB12CD34'
GPG_PW='hush'   # really
TARGET='sftp://backup:hush@nas.example//srv/duplicity/web'
TARGET_PASS='hush'
SOURCE='/srv/site/'
MAX_AGE=2Y
MAX_FULLS_WITH_INCRS=2
MAX_FULLBKP_AGE=3M
VOLSIZE=50
DUPL_PARAMS="$DUPL_PARAMS --full-if-older-than $MAX_FULLBKP_AGE "
DUPL_PARAMS="$DUPL_PARAMS --volsize $VOLSIZE --exclude-other-filesystems --s3-use-ia"
export AWS_SECRET_ACCESS_KEY='hush'
"#;

#[test]
fn a_duply_profile() {
    let exclude = "# what goes\n+ /srv/site/uploads\n- **/node_modules\n- /srv/site/cache\n- **\n";
    let took = took("/etc/duply/web/conf", CONF, &[("exclude", exclude), ("pre", "pg_dump x > /srv/site/db.sql\n"), ("post", "true\n")]);
    let job = &took.config["jobs"]["web"];
    assert_eq!(took.config["destinations"]["web"]["url"], "sftp://backup@nas.example/srv/duplicity/web/offsite");
    assert_eq!(job["source"], "/srv/site");
    assert_eq!(job["options"]["*"]["exclude"], json!(["/*", "/cache", "node_modules"]));
    assert_eq!(job["options"]["*"]["include"], json!(["/uploads", "/uploads/**"]));
    assert_eq!(job["options"]["*"]["one_file_system"], true);
    assert_eq!(job["keep"], json!({ "within": "180d", "monthly": 25 }));
    assert_eq!(job["before"], json!([["bash", "/etc/duply/web/pre"]]));
    assert_eq!(job["finally"], json!([["bash", "/etc/duply/web/post"]]));
    assert_eq!(took.config["destinations"]["web"]["seal"], json!({ "to": ["$RECIPIENTS"] }));
    took.says(NoteKind::LeftOut, &["--s3-use-ia"]);
    took.says(
        NoteKind::ToDo,
        &["was encrypted (GPG_KEY, GPG_PW)", "Set $RECIPIENTS", "TARGET_PASS", "AWS_SECRET_ACCESS_KEY", "duplicity's backups stay"],
    );
}

/// duplicity encrypts unless it is told not to, so nothing that was secret is in the clear after a move.
#[test]
fn a_duply_profile_is_sealed_unless_it_says_that_it_is_open() {
    for (gpg, sealed) in [
        ("", true),
        ("GPG_PW=hush", true),
        ("GPG_KEYS_ENC='AB12CD34,EF56AB78'\nGPG_KEY_SIGN=disabled", true),
        ("GPG_KEY=disabled\nGPG_KEY='AB12CD34'", true),
        ("GPG_KEY='disabled'", false),
        ("GPG_KEY=disabled\nGPG_PW=hush", false),
        ("DUPL_PARAMS=\"$DUPL_PARAMS --no-encryption \"", false),
    ] {
        let took = took("web/conf", &format!("TARGET=s3:///acme/web\nSOURCE=/srv\n{gpg}\n"), &[]);
        assert_eq!(took.config["destinations"]["web"]["seal"]["to"] == json!(["$RECIPIENTS"]), sealed, "{gpg}: {}", took.config);
        assert_eq!(took.said(NoteKind::ToDo, "Set $RECIPIENTS"), sealed, "{gpg}");
        assert!(!took.said(NoteKind::LeftOut, "encrypt"), "{gpg}: {:?}", took.notes);
    }
}

const PHPBU: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<phpbu bootstrap="backup/bootstrap.php">
  <adapters><adapter type="env" name="env"/></adapters>
  <logging>
    <log type="mail"><option name="recipients" value="ops@acme.example, root"/><option name="sendOnlyOnError" value="true"/></log>
    <log type="prometheus" target="/var/lib/node/phpbu.prom"/>
    <log type="telegram"/>
  </logging>
  <backups>
    <backup name="shop db" stopOnFailure="true">
      <source type="mysqldump">
        <option name="databases" value="shop"/><option name="user" value="backup"/><option name="password" value="hush"/>
        <option name="singleTransaction" value="true"/>
      </source>
      <target dirname="/backup/db/%Y" filename="shop-%Y%m%d.sql" compress="bzip2"/>
      <check type="sizemin" value="2M"/><check type="sizediffpreviouspercent" value="15"/>
      <crypt type="gpg"><option name="user" value="ops"/></crypt>
      <sync type="amazons3-v3">
        <option name="key" value="hush"/><option name="secret" value="adapter:env:AWS_SECRET"/><option name="bucket" value="acme"/>
        <option name="region" value="eu-central-1"/><option name="path" value="db"/>
      </sync>
      <sync type="dropbox"><option name="token" value="hush"/></sync>
      <cleanup type="outdated"><option name="older" value="2W"/></cleanup>
    </backup>
    <backup name="uploads">
      <source type="tar"><option name="path" value="/srv/uploads"/><option name="exclude" value="cache:tmp/old"/></source>
      <target dirname="/backup" filename="uploads.tar" compress="gzip"/>
      <sync type="sftp"><option name="host" value="nas"/><option name="user" value="me"/><option name="password" value="hush"/><option name="path" value="up"/></sync>
      <cleanup type="quantity"><option name="amount" value="7"/></cleanup>
    </backup>
  </backups>
</phpbu>"#;

#[test]
fn phpbu_with_dumps() {
    let took = took("phpbu.xml", PHPBU, &[]);
    let dump = json!({ "shop.sql.zst": {
        "command": "mysqldump --user=backup --single-transaction shop", "compress": "zstd", "min_size": "2M", "max_shrink": "15%" } });
    let job = &took.config["jobs"]["shop-db"];
    assert_eq!((&job["dumps"], &job["keep"]), (&dump, &json!({ "within": "2w" })));
    assert_eq!(job["destinations"], json!(["shop-db-local", "shop-db-amazons3-v3"]));
    let places = &took.config["destinations"];
    assert_eq!(places["shop-db-local"]["url"], "/backup/db/shop-db");
    assert_eq!(places["shop-db-amazons3-v3"]["url"], "s3://acme/db/shop-db?region=eu-central-1");
    let uploads = &took.config["jobs"]["uploads"];
    assert_eq!(uploads["options"]["*"]["exclude"], json!(["cache", "**/tmp/old"]));
    assert_eq!(places["uploads-sftp"]["url"], "sftp://me@nas/~/up/uploads");
    assert_eq!(took.config["notify"], json!({ "mail": ["ops@acme.example", "root"], "only_failures": true }));
    assert_eq!(took.config["metrics"], "/var/lib/node/phpbu.prom");
    for (name, to) in
        [("shop-db-local", json!(["$RECIPIENTS"])), ("shop-db-amazons3-v3", json!(["$RECIPIENTS"])), ("uploads-sftp", json!(null))]
    {
        assert_eq!(places[name]["seal"]["to"], to, "{name}");
    }
    took.says(NoteKind::LeftOut, &["dropbox", "telegram", "adapters", "bootstrap"]);
    took.says(NoteKind::Different, &["bzip2 becomes zstd: the dump is `shop.sql.zst`"]);
    took.says(
        NoteKind::ToDo,
        &["was encrypted (crypt gpg)", "Set $RECIPIENTS", "mysqldump finds it in $MYSQL_PWD", "keys of amazons3-v3", "use a key"],
    );
    took.says(
        NoteKind::ToDo,
        &["adopt them once: `offsite sync --adopt --exclude '*' --include '/uploads.tar*' /backup 'sftp://me@nas/~/up'`"],
    );
    assert!(!took.notes.iter().any(|note| note.text.contains("s3://acme/db'")), "dates in the path: {:?}", took.notes);
    took.says(NoteKind::Different, &["stopOnFailure", "also refused a dump that grew"]);
}

#[test]
fn phpbu_in_json_without_dumps() {
    let text = r#"{"backups": [{"name": "www", "source": {"type": "tar", "options": {"path": "/srv/www"}},
        "target": {"dirname": "/backup", "filename": "www.tar"},
        "syncs": [{"type": "googlecloudstorage", "options": {"bucket": "acme", "path": "www/%Y", "secret": "hush.json"}}],
        "crypt": {"type": "openssl", "options": {"password": "hush", "algorithm": "aes-256-cbc"}},
        "cleanup": {"type": "capacity", "options": {"size": "10G"}}}]}"#;
    let took = took("phpbu.json", text, &[]);
    assert_eq!(took.config["destinations"]["www-googlecloudstorage"]["url"], "gs://acme/www/www");
    assert!(!took.notes.iter().any(|note| note.text.contains("--adopt")), "dates in the path: {:?}", took.notes);
    assert_eq!(took.config["destinations"]["www-googlecloudstorage"]["seal"], json!({ "to": ["$RECIPIENTS"] }));
    took.says(NoteKind::ToDo, &["was encrypted (crypt openssl)"]);
    took.says(NoteKind::LeftOut, &["capacity"]);
}

const SCRIPT: &str = r#"#!/bin/sh
export AWS_ACCESS_KEY_ID=AKIAX
export AWS_SECRET_ACCESS_KEY=hush
BUCKET=acme-offsite
DATE=$(date +%Y%m%d)
0 3 * * * root aws s3 sync /var/www s3://$BUCKET/www --exclude '*' --include 'uploads/*' --exclude 'uploads/tmp/*' \
    --storage-class STANDARD_IA --only-show-errors --endpoint-url https://s3.example >> /var/log/backup.log 2>&1
aws --profile backup s3 sync "/srv/site/" "s3://$BUCKET/$DATE/site" --delete --no-follow-symlinks
aws s3 sync s3://acme-offsite/site /restore
"#;

#[test]
fn a_script_with_aws_s3_sync() {
    let took = took("backup.sh", SCRIPT, &[]);
    let places = &took.config["destinations"];
    assert_eq!(places["www"]["url"], "s3://$BUCKET/www?endpoint=https://s3.example");
    assert_eq!(places["site"]["url"], "s3://$BUCKET/$DATE/site?profile=backup");
    assert_eq!(took.config["variables"], json!({ "BUCKET": "acme-offsite" }));
    let rules = json!(["*", "!*/", "!/uploads/**", "/uploads/tmp/**"]);
    assert_eq!(took.config["jobs"]["www"]["options"]["*"]["exclude"], rules);
    assert_eq!(took.config["jobs"]["site"]["source"], "/srv/site");
    took.says(
        NoteKind::ToDo,
        &["--daily 03:00", "AWS_SECRET_ACCESS_KEY", "$DATE comes from a command", "offsite pull s3://acme-offsite/site /restore"],
    );
    took.says(NoteKind::LeftOut, &["--storage-class STANDARD_IA"]);
    took.says(NoteKind::Different, &["without --delete", "followed symlinks"]);
    assert_eq!(took.notes.iter().filter(|note| note.text.contains("without --delete")).count(), 1);
}

#[test]
fn a_script_that_dumps_first() {
    let script = "pg_dump -Fp 'host=db password=hush' | gzip > /var/backups/shop-$(date +%F).psql.gz\nls -1trd * | head -n -5 | xargs rm -f\nMYSQL_PWD=hush mysqldump -uroot -phush shop > /x\npg_dump postgres://a:hush@db/x > /y\naws s3 sync /var/backups s3://acme/backup\n";
    let took = took("dump.sh", script, &[]);
    let dumps = &took.config["jobs"]["backups"]["dumps"];
    assert_eq!(dumps["database.sql.zst"], json!({ "command": "pg_dump -Fp \"$DATABASE_URL\"", "compress": "zstd" }));
    assert_eq!(dumps["shop.sql.zst"]["command"], "mysqldump -uroot shop");
    assert_eq!(dumps["database-2.sql.zst"]["command"], "pg_dump \"$DATABASE_URL\"");
    took.says(NoteKind::ToDo, &["the call of pg_dump had a secret", "the call of mysqldump had a secret"]);
    assert_eq!(took.config["jobs"]["backups"]["keep"], json!({ "last": 5 }));
    took.says(NoteKind::Different, &["(`head -n -5`) is now `keep`", "gzip becomes zstd: the dump is `database.sql.zst`"]);
}

#[test]
fn a_line_that_rotates_dumps_is_what_is_kept() {
    let keep = |line: &str| {
        let script = format!("pg_dump shop > /x/shop.sql\n{line}\naws s3 sync /x s3://acme/x\n");
        took("dump.sh", &script, &[]).config["jobs"]["x"]["keep"].clone()
    };
    assert_eq!(keep("ls -1t /x | tail -n +8 | xargs rm"), json!({ "last": 7 }));
    assert_eq!(keep("ls -1tr /x | head -n-3 | xargs -r rm -f"), json!({ "last": 3 }));
    assert_eq!(keep("find /x -name '*.sql' -mtime +14 -delete"), json!({ "within": "14d" }));
    assert_eq!(keep("find /x -mtime +30 -exec rm {} \\;"), json!({ "within": "30d" }));
    for other in ["tail -n +2 /x/list | sort", "head -n 5 /x/list | xargs rm", "find /x -mtime +3 -print", "ls | tail -n +1 | xargs rm"] {
        assert_eq!(keep(other), json!(null), "{other}");
    }
}

#[test]
fn what_is_none_of_them_is_refused() {
    let said = |text: &str, from| {
        import(&ForeignConfig { path: "x".into(), text: text.into(), ..ForeignConfig::default() }, from).unwrap_err().to_string()
    };
    assert!(said("hello", None).contains("--from says which"));
    assert!(said("{ \"a\": ", None).contains("this is not JSON"));
    assert!(said("<phpbu>", None).contains("this is not XML"));
    assert!(said("SOURCE=/x\n", Some(System::Duply)).contains("TARGET and SOURCE"));
    assert!(said("aws s3 sync s3://a s3://b", None).contains("nothing in it can become a job"));
    assert!(said("echo 'aws s3 sync", None).contains("not closed"));
}
