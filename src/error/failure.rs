//! A failure as data: its kind, where it happened, who has to act, and what can be done.
//!
//! Owns the one table that chooses the hint. Invariant: kind, place, turn and hint follow from the kinds of
//! [`super::kind::Error`], never from a text. The renderer has the words of a hint.

use offsite_backends::kinds::{self, Access};
use offsite_backends::{ErrorKind, Reach};
use serde::Serialize;

use super::kind::{Error, Place};

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// Nobody: run the same command again. It continues where it stopped.
    Again,
    /// The user: a setting, credentials, room on this machine.
    User,
    /// The administrator of the store or the server.
    Admin,
    /// Unknown.
    Nobody,
}

/// What can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// The same command again.
    RunAgain,
    /// Make room at the destination.
    FreeDestination,
    /// Make room on the disk of the cache, or use another directory.
    FreeCache,
    /// Make room on this machine.
    FreeHere,
    /// Make room on the disk of standard output.
    FreeOutput,
    /// The cache cannot be used; use another directory.
    MoveCache,
    /// Check the credentials of the store.
    Credentials,
    /// Check the permissions of the credentials.
    Rights,
    /// Use credentials that may delete, or the append-only mode.
    AppendOnly,
    /// Check the key and the login at the server.
    Login,
    /// Check owner and mode at the server.
    RightsAtServer,
    /// Check owner and mode of the path on this machine.
    RightsHere,
    /// Mount it for writing.
    Remount,
    /// Check the disk or mount.
    Device,
    /// Look at the server's certificate, and name the authority that it is from.
    Certificates,
    /// Set the clock of this machine.
    SetClock,
    /// Raise the limit of open files, or free memory.
    RaiseLimits,
    /// Request it from the archive, and pull again later.
    Unarchive,
    /// Look at the plan.
    ShowPlan,
    /// Make a new plan.
    PlanAgain,
}

/// A failure beside its text, for scripts and for the printer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Failure {
    /// `denied`, `full`, `transient` and so on.
    pub kind: &'static str,
    /// Where it happened.
    pub place: Place,
    /// Who has to act.
    pub turn: Turn,
    /// What can be done about it, as a word. Left out if the kind of failure does not decide it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// What can be done, in words, if that depends on more than the kind. The text of the error ends with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// It concerns only one file, directory, link or object.
    pub one_entry: bool,
}

/// What an error means for its reader: everything follows from kind and place, and nothing from the text.
///
/// # Examples
///
/// ```
/// use offsite::error::{Error, Failure, Hint, Turn};
///
/// const ENOSPC: i32 = 28;
/// let error = Error::cache("/var/cache/offsite", std::io::Error::from_raw_os_error(ENOSPC));
/// let failure = Failure::from(&error);
/// assert_eq!((failure.kind, failure.hint), ("full", Some(Hint::FreeCache)));
/// assert_eq!((failure.turn, error.exit_code()), (Turn::User, 1));
/// ```
impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let hint = hint(error);
        let advice = advice(error);
        Self { kind: word(error), place: error.place(), turn: turn(error, hint), hint, advice, one_entry: !error.concerns_destination() }
    }
}

/// Texts of offsite itself say what happened, then after the last semicolon what to do.
fn advice(error: &Error) -> Option<String> {
    match error {
        Error::Interrupted | Error::Usage(_) | Error::Emptied { .. } | Error::Busy(_) => {
            error.to_string().rsplit_once("; ").map(|(_, advice)| advice.to_owned())
        }
        Error::Refused(reasons) => match &reasons[..] {
            [one] => one.rsplit_once("; ").map(|(_, advice)| advice.to_owned()),
            _ => None,
        },
        // What another program said could hold a semicolon, and is no advice of ours.
        Error::Command(_) | Error::Moved(_) | Error::Damaged { .. } | Error::Store(_) | Error::Local { .. } => None,
    }
}

/// The only place that chooses a hint.
fn hint(error: &Error) -> Option<Hint> {
    use ErrorKind as K;
    let kind = match error {
        // The text says everything: the flag that allows it, or which other writer has the lease.
        Error::Interrupted | Error::Usage(_) | Error::Command(_) | Error::Damaged { .. } | Error::Emptied { .. } | Error::Busy(_) => {
            return None;
        }
        Error::Refused(_) => return Some(Hint::ShowPlan),
        Error::Moved(_) => return Some(Hint::PlanAgain),
        Error::Store(error) => error.kind,
        Error::Local { error, .. } => offsite_backends::error::of_io(error).0,
    };
    Some(match (kind, error.place()) {
        (K::Full, Place::Cache) => Hint::FreeCache,
        (K::Full, Place::Output) => Hint::FreeOutput,
        (K::Full, Place::Destination | Place::Source) => Hint::FreeDestination,
        (K::Full, Place::Target | Place::Machine) => Hint::FreeHere,
        (K::Denied | K::ReadOnly | K::NotFound | K::Exists | K::Unsupported, Place::Cache) => Hint::MoveCache,
        (K::ReadOnly, _) => Hint::Remount,
        (K::Denied, Place::Destination | Place::Source) => denied(error),
        (K::Denied, Place::Target | Place::Machine) => Hint::RightsHere,
        (K::Device, _) => Hint::Device,
        (K::Untrusted, _) => Hint::Certificates,
        (K::Clock, _) => Hint::SetClock,
        (K::Exhausted, _) => Hint::RaiseLimits,
        (K::Archived, _) => Hint::Unarchive,
        (K::Transient | K::Late, _) => Hint::RunAgain,
        (K::Denied, Place::Output)
        | (K::NotFound | K::Exists | K::Precondition | K::TooLarge | K::NameRefused | K::Unsupported | K::Invalid | K::Other, _) => {
            return None;
        }
    })
}

/// Who can grant access depends on the kind of store.
fn denied(error: &Error) -> Hint {
    let Error::Store(error) = error else { return Hint::RightsHere };
    if error.deleting && kinds::access(error.scheme()) == Access::Credentials {
        return Hint::AppendOnly;
    }
    match (kinds::access(error.scheme()), error.reach) {
        (Access::Here, _) => Hint::RightsHere,
        (Access::Login, Reach::Destination) => Hint::Login,
        (Access::Login, Reach::Entry) => Hint::RightsAtServer,
        (Access::Credentials, Reach::Destination) => Hint::Credentials,
        (Access::Credentials, Reach::Entry) => Hint::Rights,
    }
}

fn turn(error: &Error, hint: Option<Hint>) -> Turn {
    match hint {
        None => match error {
            Error::Busy(_) | Error::Interrupted => Turn::Again,
            Error::Usage(_) | Error::Command(_) | Error::Emptied { .. } | Error::Damaged { .. } => Turn::User,
            Error::Refused(_) | Error::Moved(_) => Turn::User,
            Error::Store(_) | Error::Local { .. } => Turn::Nobody,
        },
        Some(Hint::RunAgain) => Turn::Again,
        Some(Hint::FreeDestination | Hint::Rights | Hint::RightsAtServer | Hint::Remount | Hint::Device) => Turn::Admin,
        Some(
            Hint::FreeCache
            | Hint::FreeHere
            | Hint::FreeOutput
            | Hint::MoveCache
            | Hint::Credentials
            | Hint::Login
            | Hint::RightsHere
            | Hint::AppendOnly
            | Hint::Certificates
            | Hint::SetClock
            | Hint::RaiseLimits
            | Hint::Unarchive
            | Hint::ShowPlan
            | Hint::PlanAgain,
        ) => Turn::User,
    }
}

fn word(error: &Error) -> &'static str {
    use ErrorKind as K;
    let kind = match error {
        Error::Damaged { .. } => return "damaged",
        Error::Refused(_) => return "refused",
        Error::Emptied { .. } => return "emptied",
        Error::Busy(_) => return "busy",
        Error::Command(_) => return "command",
        Error::Usage(_) => return "usage",
        Error::Moved(_) => return "moved",
        Error::Interrupted => return "interrupted",
        Error::Store(error) => error.kind,
        Error::Local { error, .. } => offsite_backends::error::of_io(error).0,
    };
    match kind {
        K::NotFound => "not_found",
        K::Exists => "exists",
        K::Precondition => "precondition",
        K::Denied => "denied",
        K::Transient => "transient",
        K::Full => "full",
        K::ReadOnly => "read_only",
        K::Archived => "archived",
        K::TooLarge => "too_large",
        K::NameRefused => "name_refused",
        K::Unsupported => "unsupported",
        K::Invalid => "invalid",
        K::Untrusted => "untrusted",
        K::Clock => "clock",
        K::Device => "device",
        K::Exhausted => "exhausted",
        K::Late => "late",
        K::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn of(error: Error) -> (Option<Hint>, Turn, Place) {
        let failure = Failure::from(&error);
        (failure.hint, failure.turn, failure.place)
    }

    fn store(kind: ErrorKind, reach: Reach, url: &str) -> Error {
        offsite_backends::Error::new(kind, url, "so it is").reaching(reach).into()
    }

    #[test]
    fn only_texts_of_ours_end_in_advice() {
        let advice = |error: Error| Failure::from(&error).advice;
        assert_eq!(advice(Error::Usage("no job `x`; the names are a, b".into())).as_deref(), Some("the names are a, b"));
        assert_eq!(advice(Error::Refused(vec!["too many; use --this".into()])).as_deref(), Some("use --this"));
        assert_eq!(advice(Error::Refused(vec!["one; use --this".into(), "two; use --that".into()])), None);
        assert_eq!(advice(Error::Command("crontab -l: broken; run rm -r /".into())), None);
    }

    #[test]
    fn a_hint_goes_by_kind_and_place() {
        let io = |code| io::Error::from_raw_os_error(code);
        let (eacces, enospc, erofs) = (13, 28, 30);
        for (error, hint) in [
            (store(ErrorKind::Denied, Reach::Destination, "s3://a/b"), Hint::Credentials),
            (store(ErrorKind::Denied, Reach::Entry, "s3://a/b"), Hint::Rights),
            (store(ErrorKind::Denied, Reach::Entry, "/mnt/usb/a"), Hint::RightsHere),
            (store(ErrorKind::Denied, Reach::Entry, "sftp://nas/a"), Hint::RightsAtServer),
            (store(ErrorKind::Denied, Reach::Destination, "sftp://nas"), Hint::Login),
            (store(ErrorKind::Clock, Reach::Destination, "s3://a/b"), Hint::SetClock),
            (store(ErrorKind::Untrusted, Reach::Destination, "s3://a/b"), Hint::Certificates),
            (store(ErrorKind::Full, Reach::Destination, "/mnt/usb"), Hint::FreeDestination),
            (Error::cache("/c", io(enospc)), Hint::FreeCache),
            (Error::cache("/c", io(eacces)), Hint::MoveCache),
            (Error::cache("/c", io(erofs)), Hint::MoveCache),
            (Error::target("/t", io(enospc)), Hint::FreeHere),
            (Error::target("/t", io(eacces)), Hint::RightsHere),
            (Error::output(io(enospc)), Hint::FreeOutput),
        ] {
            let text = error.to_string();
            assert_eq!(of(error).0, Some(hint), "{text}");
        }
        assert_eq!(of(Error::Usage("x".into())), (None, Turn::User, Place::Machine));
    }
}
