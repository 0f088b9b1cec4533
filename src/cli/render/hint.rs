//! The sentences that say what to do about a failure.
//!
//! Owns the sentence of each [`Hint`]. The kind of the error and its place decide which hint it is, never a text.

use offsite::error::Hint;

/// The sentence to print below the error.
pub fn sentence(hint: Hint) -> &'static str {
    match hint {
        Hint::RunAgain => "run the same command again: it continues where it stopped",
        Hint::FreeDestination => "make room at the destination, then run the same command again: it continues where it stopped",
        Hint::FreeCache => {
            "make room on the disk of the cache, or use another disk with --cache-dir or OFFSITE_CACHE_DIR, then run the same command \
             again: it continues where it stopped"
        }
        Hint::FreeHere => "make room on this disk, then run the same command again: it continues where it stopped",
        Hint::FreeOutput => "make room on the disk of the output, or write it elsewhere",
        Hint::MoveCache => "use another directory for the cache with --cache-dir or OFFSITE_CACHE_DIR",
        Hint::Credentials => {
            "check the credentials (for s3 those of the AWS tools: AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws) and their permissions"
        }
        Hint::Rights => "check the permissions of these credentials: the policies of the bucket and of the user",
        Hint::AppendOnly => {
            "if these credentials may not delete on purpose, sync with --append-only (`append_only` in the config), and prune with others \
             that may; otherwise check their permissions"
        }
        Hint::Login => "check the key and the login with `ssh`, then run the same command again",
        Hint::RightsAtServer => "check its owner and mode on the server, or log in as a user with permission",
        Hint::RightsHere => "check its owner and mode with `ls -ld` and `lsattr`, or run as a user with permission",
        Hint::Remount => "mount it for writing; if it became read-only by itself, look at `dmesg`",
        Hint::Device => "look at the disk or the mount (`dmesg`, `mount`), then run the same command again: it continues where it stopped",
        Hint::Certificates => {
            "if the certificate is from your own authority, name its certificates in SSL_CERT_FILE (for s3 also AWS_CA_BUNDLE); \
             otherwise check the host in the URL and the clock of this machine"
        }
        Hint::SetClock => "set the clock of this machine, for example with `timedatectl set-ntp true`",
        Hint::RaiseLimits => "raise the limit of open files (`ulimit -n`) or free memory, or use a smaller --transfers",
        Hint::Unarchive => "`offsite pull --restore-archived` requests it from the store and says when it will be readable",
        Hint::ShowPlan => "`offsite plan` shows the changes",
        Hint::PlanAgain => "make a new plan with `offsite plan SOURCE DESTINATION --out FILE`",
    }
}
