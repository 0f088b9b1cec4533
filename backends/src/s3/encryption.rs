//! The default encryption of a bucket.
//!
//! Owns how it is read and set: with the store's keys (SSE-S3), or with a key of AWS KMS. Existing objects are not
//! changed. Invariant: a setting counts as done only after it was read back.

use std::fmt::{self, Display};

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule};

use super::control::S3Control;
use super::error::from_sdk;
use super::shown::shows;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Encryption, InitMode, Rights, Setting, settle};

/// The default as it was found: the algorithm, and the key if one is named.
struct FoundEncryption(Option<(ServerSideEncryption, Option<String>)>);

impl FoundEncryption {
    fn is(&self, wanted: &Encryption) -> bool {
        match (&self.0, wanted) {
            (Some((ServerSideEncryption::Aes256, _)), Encryption::Store) => true,
            (Some((ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse, Some(key))), Encryption::Key(_)) => wanted.is_key(key),
            _ => false,
        }
    }
}

impl Display for FoundEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("off"),
            Some((ServerSideEncryption::Aes256, _)) => f.write_str("store"),
            Some((ServerSideEncryption::AwsKms, Some(key))) => write!(f, "kms:{key}"),
            Some((ServerSideEncryption::AwsKms, None)) => f.write_str("kms, with AWS's key"),
            Some((other, key)) => write!(f, "{}{}", other.as_str(), key.as_ref().map_or_else(String::new, |key| format!(":{key}"))),
        }
    }
}

async fn look(control: &S3Control) -> Result<FoundEncryption> {
    match control.client.get_bucket_encryption().bucket(&control.bucket).send().await {
        Err(error) if error.code() == Some("ServerSideEncryptionConfigurationNotFoundError") => Ok(FoundEncryption(None)),
        Err(error) => Err(from_sdk(&control.location, "", &error)),
        Ok(found) => {
            let rules = found
                .server_side_encryption_configuration()
                .map(aws_sdk_s3::types::ServerSideEncryptionConfiguration::rules)
                .unwrap_or_default();
            let default = rules.iter().find_map(|rule| rule.apply_server_side_encryption_by_default());
            Ok(FoundEncryption(default.map(|by| (by.sse_algorithm().clone(), by.kms_master_key_id().map(str::to_owned)))))
        }
    }
}

/// Settles one setting: the bucket's default encryption.
pub(super) async fn settle_encryption(control: &S3Control, wanted: &Encryption, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetEncryptionConfiguration", make: "s3:PutEncryptionConfiguration" };
    let same = |found: &FoundEncryption| found.is(wanted);
    let make = async || {
        put(control, wanted).await?;
        shows(control, || look(control), same).await
    };
    settle("encryption", mode, &rights, look(control).await, wanted, same, make).await
}

async fn put(control: &S3Control, wanted: &Encryption) -> Result<()> {
    let (how, key) = match wanted {
        Encryption::Store => (ServerSideEncryption::Aes256, None),
        Encryption::Key(key) => (ServerSideEncryption::AwsKms, Some(key.clone())),
    };
    // With a bucket key, S3 asks KMS once for many objects and not for each object.
    let by_bucket = key.is_some().then_some(true);
    let built = ServerSideEncryptionByDefault::builder().sse_algorithm(how).set_kms_master_key_id(key).build().and_then(|default| {
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).set_bucket_key_enabled(by_bucket);
        ServerSideEncryptionConfiguration::builder().rules(rule.build()).build()
    });
    let config = built.map_err(|error| Error::new(ErrorKind::Other, &control.location, error))?;
    let request = control.client.put_bucket_encryption().bucket(&control.bucket).server_side_encryption_configuration(config);
    request.send().await.map(drop).map_err(|error| from_sdk(&control.location, "", &error))
}
