//! Lifecycle rules of a bucket: offsite's own among the rules of others.
//!
//! Owns the decision which rule is offsite's. Google's rules have no names, so a rule is offsite's if it has
//! offsite's action and prefix, and no condition but the days. Invariant: a returned list of rules has every rule of
//! others from the input, in the same order.

use google_cloud_storage::model::bucket::lifecycle::Rule as Their;
use google_cloud_storage::model::bucket::lifecycle::rule::{Action, Condition};

const ABORT: &str = "AbortIncompleteMultipartUpload";
const DELETE: &str = "Delete";

/// A rule that is requested.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WantedRule {
    action: &'static str,
    pub days: u32,
    /// With its trailing slash; empty for the whole bucket.
    folder: String,
}

/// How the existing rules compare with the requested one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    /// They do what is requested. The text says when.
    There(String),
    Other(String),
    /// A rule of others acts sooner, which would lose versions that must be kept.
    TooSoon(String),
}

impl WantedRule {
    pub(super) fn abort_uploads(days: u32, folder: &str) -> Self {
        Self { action: ABORT, days, folder: folder.to_owned() }
    }

    pub(super) fn expire_versions(days: u32, folder: &str) -> Self {
        Self { action: DELETE, days, folder: folder.to_owned() }
    }

    fn days_of(&self, condition: &Condition) -> Option<i32> {
        if self.action == ABORT { condition.age_days } else { condition.days_since_noncurrent_time }
    }

    fn days(&self) -> i32 {
        i32::try_from(self.days).unwrap_or(i32::MAX)
    }

    /// The rule in the form of the API.
    fn made(&self) -> Their {
        let condition = match self.action {
            ABORT => Condition::new().set_age_days(self.days()),
            _ => Condition::new().set_days_since_noncurrent_time(self.days()),
        };
        let folder = Some(&self.folder).filter(|folder| !folder.is_empty());
        let action = Action::new().set_type(self.action);
        Their::new().set_action(action).set_condition(condition.set_matches_prefix(folder))
    }

    /// The days of a rule that does the same for the whole folder, without further conditions.
    fn covering(&self, rule: &Their) -> Option<i32> {
        let condition = rule.condition.as_ref().filter(|_| rule.action.as_ref().is_some_and(|action| action.r#type == self.action))?;
        let days = self.days_of(condition)?;
        let narrowed =
            condition.matches_prefix.iter().all(|prefix| !self.folder.starts_with(prefix)) && !condition.matches_prefix.is_empty();
        let plain = match self.action {
            ABORT => Condition::new().set_age_days(days),
            _ => Condition::new().set_days_since_noncurrent_time(days),
        };
        // A noncurrent version is never live, so this condition adds nothing.
        let mut same = condition.clone().set_matches_prefix(Vec::<String>::new());
        if self.action == DELETE && same.is_live == Some(false) {
            same.is_live = None;
        }
        (!narrowed && same == plain).then_some(days)
    }

    fn is_ours(&self, rule: &Their) -> bool {
        let folder = rule.condition.as_ref().map(|condition| condition.matches_prefix.as_slice()).unwrap_or_default();
        let own = if self.folder.is_empty() { folder.is_empty() } else { folder == [self.folder.clone()] };
        own && self.covering(rule).is_some()
    }

    /// Compares the existing rules with this one.
    pub(super) fn judge(&self, rules: &[Their]) -> Judged {
        let soonest = rules.iter().filter_map(|rule| self.covering(rule)).min();
        let others = rules.iter().filter(|rule| !self.is_ours(rule)).filter_map(|rule| self.covering(rule)).min();
        let words = |days: i32| format!("after {days} days");
        match (soonest, others) {
            (_, Some(other)) if other < self.days() && self.action == DELETE => Judged::TooSoon(words(other)),
            // Ending uploads sooner than requested is fine: nothing is lost.
            (_, Some(other)) if other <= self.days() => Judged::There(words(other)),
            (Some(days), _) if days == self.days() => Judged::There(words(days)),
            (Some(days), _) => Judged::Other(words(days)),
            (None, _) => Judged::Other("never".into()),
        }
    }

    /// The rules with this one added. It replaces an earlier rule of offsite's.
    pub(super) fn among(&self, rules: Vec<Their>) -> Vec<Their> {
        let mut rules: Vec<Their> = rules.into_iter().filter(|rule| !self.is_ours(rule)).collect();
        rules.push(self.made());
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn their(action: &str, condition: Condition) -> Their {
        Their::new().set_action(Action::new().set_type(action)).set_condition(condition)
    }

    #[test]
    fn ours_comes_on_top_and_replaces_only_ours() {
        let cold = their("SetStorageClass", Condition::new().set_age_days(30));
        let elsewhere = their(ABORT, Condition::new().set_age_days(1).set_matches_prefix(["other/"]));
        let seven = WantedRule::abort_uploads(7, "site/");
        assert_eq!(seven.judge(&[cold.clone(), elsewhere.clone()]), Judged::Other("never".into()));
        let made = seven.among(vec![cold.clone(), elsewhere.clone()]);
        assert_eq!(made[..2], [cold.clone(), elsewhere.clone()]);
        assert_eq!(seven.judge(&made), Judged::There("after 7 days".into()));
        let nine = WantedRule::abort_uploads(9, "site/");
        assert_eq!(nine.judge(&made), Judged::Other("after 7 days".into()));
        let changed = nine.among(made);
        assert_eq!((changed.len(), nine.judge(&changed)), (3, Judged::There("after 9 days".into())));
    }

    #[test]
    fn a_rule_of_others_counts_for_what_it_covers() {
        let all = |days| their(DELETE, Condition::new().set_days_since_noncurrent_time(days).set_is_live(false));
        let ninety = WantedRule::expire_versions(90, "site/");
        assert_eq!(ninety.judge(&[all(90)]), Judged::There("after 90 days".into()));
        assert_eq!(ninety.judge(&[all(3)]), Judged::TooSoon("after 3 days".into()));
        let some = their(DELETE, Condition::new().set_days_since_noncurrent_time(3).set_num_newer_versions(5));
        assert_eq!(ninety.judge(&[some]), Judged::Other("never".into()));
        let sooner = their(ABORT, Condition::new().set_age_days(1));
        assert_eq!(WantedRule::abort_uploads(7, "site/").judge(&[sooner]), Judged::There("after 1 days".into()));
        assert_eq!(
            WantedRule::abort_uploads(7, "").judge(&[their(ABORT, Condition::new().set_age_days(7).set_matches_prefix(["site/"]))]),
            Judged::Other("never".into())
        );
    }
}
