//! The permissions of a host that writes and never deletes, as commands for `gcloud`.
//!
//! Owns the lists of permissions and the conditions. Google has one permission for deleting an object and for replacing
//! it, so a third role gives it for the names that a run replaces and for no other. Makes no request.

use crate::contract::error::{Error, Result};
use crate::contract::location::Location;

/// What such a host does with every object below the prefix.
const WRITE: [&str; 5] = [
    "storage.multipartUploads.abort",
    "storage.multipartUploads.create",
    "storage.objects.create",
    "storage.objects.get",
    "storage.objects.list",
];
/// What it asks the bucket: whether it has versions, and for unfinished uploads.
const BUCKET: [&str; 2] = ["storage.buckets.get", "storage.multipartUploads.list"];

/// The commands, for a POSIX shell. The project and the account are variables. Names below the prefix that begin with
/// one of `once` are never replaced.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] if the URL has a prefix with a quote, a backslash, a semicolon or a control character.
pub fn writer_policy(location: &Location, once: &[&str]) -> Result<String> {
    let prefix = location.prefix()?;
    if prefix.as_ref().contains(['"', '\'', '\\', ';']) || prefix.as_ref().contains(char::is_control) {
        return Err(Error::invalid(location, "a condition cannot name this prefix; choose one without quotes, backslashes and semicolons"));
    }
    let below = if prefix.as_ref().is_empty() { String::new() } else { format!("{prefix}/") };
    let bucket = location.host();
    let objects = format!("projects/_/buckets/{bucket}/objects/{below}");
    let list = format!(r#"api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("{below}")"#);
    let inside = format!(r#"resource.name.startsWith("{objects}") || {list}"#);
    let kept: String = once.iter().map(|name| format!(r#" && !resource.name.startsWith("{objects}{name}")"#)).collect();
    let replaced = format!(r#"resource.name.startsWith("{objects}"){kept}"#);
    let mut out = format!(
        "PROJECT=acme-1\nWRITER=serviceAccount:offsite@$PROJECT.iam.gserviceaccount.com\n\
         gcloud iam roles create offsiteWriter --project \"$PROJECT\" --permissions {}\n\
         gcloud iam roles create offsiteBucket --project \"$PROJECT\" --permissions {}\n\
         gcloud iam roles create offsiteReplacer --project \"$PROJECT\" --permissions storage.objects.delete\n",
        WRITE.join(","),
        BUCKET.join(","),
    );
    for (role, condition) in [("offsiteWriter", Some(inside)), ("offsiteBucket", None), ("offsiteReplacer", Some(replaced))] {
        let condition = condition.map_or("None".to_owned(), |text| format!("^;^title={role};expression={text}"));
        out += &format!(
            "gcloud storage buckets add-iam-policy-binding gs://{bucket} --member \"$WRITER\" --role \"projects/$PROJECT/roles/{role}\" \
             --condition '{condition}'\n"
        );
    }
    // To replace is to delete at Google, so the bucket has to keep what was replaced.
    Ok(out + &format!("gcloud storage buckets update gs://{bucket} --versioning --soft-delete-duration 30d\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: [&str; 2] = [".own/format", ".own/pages/"];

    #[test]
    fn to_delete_is_allowed_only_where_a_run_replaces() {
        let text = writer_policy(&Location::parse("gs://acme/site").unwrap(), &ONCE).unwrap();
        assert_eq!(text.matches("storage.objects.delete").count(), 1);
        let replacer = text.lines().find(|line| line.contains("title=offsiteReplacer")).unwrap();
        for name in ONCE {
            assert!(
                replacer.contains(&format!(r#"!resource.name.startsWith("projects/_/buckets/acme/objects/site/{name}")"#)),
                "{replacer}"
            );
        }
        assert!(text.contains(r#"objectListPrefix", "").startsWith("site/")"#), "{text}");
    }

    #[test]
    fn a_prefix_that_would_end_the_quotes_is_refused() {
        for url in ["gs://acme/a'b", "gs://acme/a\"b", "gs://acme/a;b"] {
            assert!(writer_policy(&Location::parse(url).unwrap(), &ONCE).is_err(), "{url}");
        }
    }
}
