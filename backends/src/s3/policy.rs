//! The permissions of a host that writes and never deletes, as an IAM policy.
//!
//! Owns the list of actions, which follow from the requests of a sync in append-only mode. Makes no request.

use serde_json::{Value, json};

use crate::contract::error::Result;
use crate::contract::location::Location;

/// What such a host does with objects. To read is needed for its own records, and because S3 copies nothing for those
/// who may not read it.
const OBJECTS: [&str; 3] = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"];
/// What it does with the bucket. The second finds uploads of an interrupted run.
const BUCKET: [&str; 2] = ["s3:ListBucket", "s3:ListBucketMultipartUploads"];

/// The policy as JSON, to attach to the user or role of the host.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the URL has a prefix that S3 cannot have.
pub fn writer_policy(location: &Location, _once: &[&str]) -> Result<String> {
    let (bucket, prefix) = (format!("arn:aws:s3:::{}", location.host()), location.prefix()?);
    let prefix = plain(prefix.as_ref());
    let mut list = json!({"Sid": "List", "Effect": "Allow", "Action": BUCKET, "Resource": bucket});
    if !prefix.is_empty() {
        list["Condition"] = json!({"StringLike": {"s3:prefix": [prefix, format!("{prefix}/*")]}});
    }
    let below = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let objects = json!({"Sid": "ReadAndWrite", "Effect": "Allow", "Action": OBJECTS, "Resource": format!("{bucket}/{below}*")});
    Ok(text(&json!({"Version": "2012-10-17", "Statement": [list, objects]})))
}

fn text(policy: &Value) -> String {
    serde_json::to_string_pretty(policy).unwrap_or_default() + "\n"
}

/// A prefix in which no character has a meaning of its own.
fn plain(prefix: &str) -> String {
    prefix
        .chars()
        .fold(String::new(), |out, c| if matches!(c, '*' | '?' | '$') { out + "${" + &c.to_string() + "}" } else { out + &c.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(url: &str) -> Value {
        serde_json::from_str(&writer_policy(&Location::parse(url).unwrap(), &[]).unwrap()).unwrap()
    }

    #[test]
    fn it_is_for_exactly_the_prefix_and_has_no_right_to_delete() {
        let policy = policy("s3://acme/si*te/a");
        assert_eq!(policy["Statement"][1]["Resource"], "arn:aws:s3:::acme/si${*}te/a/*");
        assert_eq!(policy["Statement"][0]["Condition"]["StringLike"]["s3:prefix"], json!(["si${*}te/a", "si${*}te/a/*"]));
        assert!(!policy.to_string().contains("Delete"));
    }

    #[test]
    fn a_whole_bucket_has_no_condition() {
        let policy = policy("s3://acme");
        assert_eq!((&policy["Statement"][1]["Resource"], policy["Statement"][0].get("Condition")), (&"arn:aws:s3:::acme/*".into(), None));
    }
}
