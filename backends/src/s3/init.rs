//! The initialize hook of a bucket.
//!
//! Owns what each setting means at S3 and which right it takes. Invariant: rules that others made stay.

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use super::control::Control;
use super::error::from_sdk;
use crate::initialize::{Initialize, Mode, Rights, Setting, settle};
use crate::{ErrorKind, Result};

pub(super) async fn initialize(control: &Control, want: &Initialize, mode: Mode) -> Vec<Setting> {
    vec![bucket(control, want, mode).await]
}

async fn bucket(control: &Control, want: &Initialize, mode: Mode) -> Setting {
    let rights = Rights { look: "s3:ListBucket", make: "s3:CreateBucket" };
    let found = match there(control).await {
        Ok(()) => Ok("there"),
        Err(error) if error.kind == ErrorKind::NotFound => Ok("missing"),
        Err(error) => Err(error),
    };
    settle("bucket", mode, &rights, found, "there", |was| *was == "there", async || create(control, want).await).await
}

async fn there(control: &Control) -> Result<()> {
    let answer = control.client.head_bucket().bucket(&control.bucket).send().await;
    answer.map(drop).map_err(|error| from_sdk(&control.location, "", &error))
}

async fn create(control: &Control, want: &Initialize) -> Result<()> {
    let region = want.region.as_deref().filter(|region| *region != "us-east-1").map(BucketLocationConstraint::from);
    let place = region.map(|region| CreateBucketConfiguration::builder().location_constraint(region).build());
    let request = control.client.create_bucket().bucket(&control.bucket).set_create_bucket_configuration(place);
    request.send().await.map(drop).map_err(|error| from_sdk(&control.location, "", &error))
}
