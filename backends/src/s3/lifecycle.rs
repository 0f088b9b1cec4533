//! The two lifecycle rules of offsite, among the rules of others.
//!
//! Owns their form and the merge. A bucket has one document of rules, which is written as a whole. The rules of
//! others are therefore never parsed and written again. They are cut from the server's own text, so that they come
//! back byte for byte. Invariants: a rule of others is never changed or removed. A document that cannot be split into
//! its rules is not written.

use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::{AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::primitives::SdkBody;
use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule, TransitionDefaultMinimumObjectSize};

use super::control::S3Control;
use super::error::from_sdk;
use super::shown::shows;
use crate::contract::error::{Error, ErrorKind, Result};
use crate::contract::initialize::{Did, InitMode, Rights, Setting, after, settle};
use crate::contract::location::Location;

/// Which of the two rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleKind {
    Uploads,
    OldVersions,
}

impl RuleKind {
    fn setting(self) -> &'static str {
        match self {
            Self::Uploads => "abort unfinished uploads",
            Self::OldVersions => "expire old versions",
        }
    }

    /// The rule's ID. Each prefix has its own, because several prefixes of a bucket may be destinations.
    fn id(self, prefix: &str) -> String {
        let name = match self {
            Self::Uploads => "offsite-abort-uploads",
            Self::OldVersions => "offsite-expire-old-versions",
        };
        match prefix {
            "" => name.to_owned(),
            prefix => format!("{name}-{:016x}", mix(prefix)),
        }
    }

    /// The days after which a rule acts. None if it is disabled, has no such action or spares some versions.
    fn days(self, rule: &LifecycleRule) -> Option<u32> {
        let days = match self {
            Self::Uploads => rule.abort_incomplete_multipart_upload()?.days_after_initiation(),
            Self::OldVersions => {
                let expiration = rule.noncurrent_version_expiration()?;
                let keeps_some = expiration.newer_noncurrent_versions().is_some_and(|newer| newer > 0);
                expiration.noncurrent_days().filter(|_| !keeps_some)
            }
        };
        days.and_then(|days| u32::try_from(days).ok()).filter(|_| *rule.status() == ExpirationStatus::Enabled)
    }

    /// The rule as XML.
    fn rule(self, prefix: &str, days: u32) -> String {
        let action = match self {
            Self::Uploads => format!(
                "<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
            ),
            Self::OldVersions => format!(
                "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>\
                 <NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays></NoncurrentVersionExpiration>"
            ),
        };
        format!(
            "<Rule><ID>{}</ID><Filter><Prefix>{}</Prefix></Filter><Status>Enabled</Status>{action}</Rule>",
            self.id(prefix),
            escaped(prefix)
        )
    }
}

/// The state of one of the two rules at the store.
struct FoundRule {
    /// Days after which the action happens now, by any rule.
    days: Option<u32>,
    /// The fewest days in a rule of others, with that rule's name.
    others: Option<(u32, String)>,
    rules: Rules,
}

impl Display for FoundRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.days, &self.others) {
            (None, _) => f.write_str("never"),
            (Some(days), Some((others, name))) if days == *others => write!(f, "{} (rule `{name}`)", after(days)),
            (Some(days), _) => f.write_str(&after(days)),
        }
    }
}

/// Settles one of the two rules.
pub(super) async fn settle_days(control: &S3Control, what: RuleKind, days: u32, mode: InitMode) -> Setting {
    let rights = Rights { look: "s3:GetLifecycleConfiguration", make: "s3:PutLifecycleConfiguration" };
    let look = || look(control, what);
    let found = look().await;
    if let Ok(FoundRule { others: Some((sooner, name)), .. }) = &found
        && *sooner < days
    {
        let why = format!("the rule `{name}` does it {} already, and offsite changes no other rules", after(*sooner));
        return Setting { name: what.setting(), was: after(*sooner), wanted: after(days), did: Did::Cannot(why) };
    }
    let same = |found: &FoundRule| found.days == Some(days);
    let rules = found.as_ref().ok().map(|found| found.rules.clone());
    let make = async || {
        let prefix = scope(control);
        let rules = rules.unwrap_or_default();
        put(control, rules.with(&what.id(&prefix), &what.rule(&prefix, days), &control.location)?).await?;
        shows(control, look, same).await
    };
    settle(what.setting(), mode, &rights, found, after(days), same, make).await
}

/// The key prefix that the rules name; empty for the whole bucket.
fn scope(control: &S3Control) -> String {
    match control.prefix.as_ref() {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

async fn look(control: &S3Control, what: RuleKind) -> Result<FoundRule> {
    let (rules, typed) = get(control).await?;
    let scope = scope(control);
    let own = what.id(&scope);
    let mut found = FoundRule { days: None, others: None, rules };
    for rule in typed.iter().filter(|rule| covers(rule, &scope)) {
        let Some(days) = what.days(rule) else { continue };
        found.days = Some(found.days.map_or(days, |least| least.min(days)));
        if rule.id() != Some(own.as_str()) && found.others.as_ref().is_none_or(|(least, _)| days < *least) {
            found.others = Some((days, rule.id().unwrap_or("without a name").to_owned()));
        }
    }
    Ok(found)
}

/// Whether a rule applies to everything below the prefix.
fn covers(rule: &LifecycleRule, scope: &str) -> bool {
    #[allow(deprecated, reason = "old rules have their prefix here")]
    let old = rule.prefix();
    let Some(filter) = rule.filter() else { return scope.starts_with(old.unwrap_or_default()) };
    let is_about_some = filter.tag().is_some() || filter.object_size_greater_than().is_some() || filter.object_size_less_than().is_some();
    !is_about_some && filter.and().is_none() && scope.starts_with(filter.prefix().unwrap_or_default())
}

// --- the document ---

/// The rules as the server wrote them, each as its own text, with their IDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    all: Vec<(Option<String>, String)>,
    /// False if the text could not be split into the rules that it contains.
    is_whole: bool,
    size: Option<TransitionDefaultMinimumObjectSize>,
}

/// A document to write, with the setting that is sent along with it.
struct Document {
    text: String,
    size: Option<TransitionDefaultMinimumObjectSize>,
}

impl Rules {
    fn none() -> Self {
        Self { is_whole: true, ..Self::default() }
    }

    /// Splits the server's text into rules. `ids` are the IDs that the SDK read in it, in order.
    fn cut(text: &str, ids: &[Option<String>]) -> Self {
        let blocks: Vec<&str> = text
            .split_inclusive("</Rule>")
            .filter_map(|piece| Some(&piece[piece.find("<Rule>")?..]))
            .filter(|block| block.ends_with("</Rule>"))
            .collect();
        let one_each = blocks.iter().all(|block| block.matches("<Rule>").count() == 1);
        let is_whole = one_each && blocks.len() == ids.len();
        let all = ids.iter().cloned().zip(blocks.into_iter().map(str::to_owned)).collect();
        Self { all, is_whole, size: None }
    }

    /// The document in which `rule` has this ID and all other rules are unchanged.
    fn with(self, id: &str, rule: &str, location: &Location) -> Result<Document> {
        if !self.is_whole {
            let text = "offsite cannot preserve the form of the server's lifecycle rules: add this rule by hand";
            return Err(Error::new(ErrorKind::Unsupported, location, text));
        }
        let kept: String = self.all.iter().filter(|(other, _)| other.as_deref() != Some(id)).map(|(_, text)| text.as_str()).collect();
        let text =
            format!("<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{kept}{rule}</LifecycleConfiguration>");
        Ok(Document { text, size: self.size })
    }
}

async fn get(control: &S3Control) -> Result<(Rules, Vec<LifecycleRule>)> {
    let heard = Heard::default();
    let request = control.client.get_bucket_lifecycle_configuration().bucket(&control.bucket);
    match request.customize().interceptor(heard.clone()).send().await {
        Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok((Rules::none(), Vec::new())),
        Err(error) => Err(from_sdk(&control.location, "", &error)),
        Ok(answer) => {
            let typed = answer.rules.unwrap_or_default();
            let ids: Vec<_> = typed.iter().map(|rule| rule.id.clone()).collect();
            let mut rules = Rules::cut(&heard.text(), &ids);
            rules.size = answer.transition_default_minimum_object_size;
            Ok((rules, typed))
        }
    }
}

async fn put(control: &S3Control, document: Document) -> Result<()> {
    let request = control.client.put_bucket_lifecycle_configuration().bucket(&control.bucket);
    let request = request.set_transition_default_minimum_object_size(document.size);
    let sent = request.customize().interceptor(Says(document.text)).send().await;
    sent.map(drop).map_err(|error| from_sdk(&control.location, "", &error))
}

/// Keeps the text of an answer.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Intercept for Heard {
    fn name(&self) -> &'static str {
        "offsite-heard"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let said = context.response().body().bytes().unwrap_or_default();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said.to_vec();
        Ok(())
    }
}

/// Sends this text and not the one that the SDK would write. The text is replaced before the SDK computes the
/// checksum and signs.
#[derive(Debug)]
struct Says(String);

impl Intercept for Says {
    fn name(&self) -> &'static str {
        "offsite-says"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        *request.body_mut() = SdkBody::from(self.0.as_str());
        request.headers_mut().insert("content-length", self.0.len().to_string());
        request.headers_mut().insert("content-type", "application/xml");
        Ok(())
    }
}

/// Escapes a text for XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A hash of a prefix that is the same in every run and on every machine (FNV-1a).
fn mix(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "<Rule>\n  <Unknown a=\"1\">x &amp; y</Unknown><ID>theirs</ID></Rule>";

    fn document(text: &str, ids: &[&str]) -> Rules {
        let ids: Vec<_> = ids.iter().map(|id| Some((*id).to_owned())).collect();
        Rules::cut(text, &ids)
    }

    fn location() -> crate::contract::location::Location {
        crate::contract::location::Location::parse("s3://acme/site").unwrap()
    }

    #[test]
    fn rules_of_others_stay_byte_for_byte_and_the_own_one_is_replaced() {
        let own = RuleKind::Uploads.rule("site/", 3);
        let text = format!("<?xml version=\"1.0\"?>\n<LifecycleConfiguration>{own}\n{THEIRS}</LifecycleConfiguration>");
        let rules = document(&text, &[&RuleKind::Uploads.id("site/"), "theirs"]);
        let new = RuleKind::Uploads.rule("site/", 7);
        let written = rules.with(&RuleKind::Uploads.id("site/"), &new, &location()).unwrap().text;
        assert!(written.contains(&format!(">{THEIRS}{new}</LifecycleConfiguration>")), "{written}");
        assert!(!written.contains(&own), "{written}");
        assert_ne!(RuleKind::Uploads.id("site/"), RuleKind::Uploads.id("other/"));
    }

    #[test]
    fn rules_that_cannot_be_told_apart_are_not_written() {
        for (text, ids) in [
            (format!("<LifecycleConfiguration>{THEIRS}</LifecycleConfiguration>"), &["theirs", "another"][..]),
            ("<LifecycleConfiguration><Rule x=\"\"><ID>theirs</ID></Rule></LifecycleConfiguration>".into(), &["theirs"]),
            ("<a:Rule><ID>theirs</ID></a:Rule>".into(), &["theirs"]),
        ] {
            let refused = document(&text, ids).with("offsite-x", "<Rule/>", &location()).err().unwrap();
            assert_eq!(refused.kind, ErrorKind::Unsupported, "{text}");
        }
        assert!(Rules::none().with("offsite-x", "<Rule/>", &location()).is_ok());
    }

    #[test]
    fn a_prefix_is_written_as_xml_and_covered_only_by_wider_ones() {
        assert!(RuleKind::OldVersions.rule("a&b<c/", 5).contains("<Prefix>a&amp;b&lt;c/</Prefix>"));
        let rule = |prefix: &str| {
            let filter = aws_sdk_s3::types::LifecycleRuleFilter::builder().prefix(prefix).build();
            LifecycleRule::builder().status(ExpirationStatus::Enabled).filter(filter).build().unwrap()
        };
        for (prefix, is_covered) in [("", true), ("si", true), ("site/", true), ("site/a/", false), ("other/", false)] {
            assert_eq!(covers(&rule(prefix), "site/"), is_covered, "{prefix}");
        }
    }
}
