//! The words for what can be done about a failure.
//!
//! Owns the sentence of each [`Hint`]; which one it is was decided by kind and place, never by a text.

use offsite::error::Hint;

/// One sentence, said below what went wrong.
pub fn sentence(hint: Hint) -> &'static str {
    match hint {
        Hint::RunAgain => "run the same command again: it goes on where it stopped",
        Hint::FreeDestination => "make room there, then run the same command again: it goes on where it stopped",
        Hint::FreeCache => {
            "no space left where the cache is: free some, or name another disk with --cache-dir or OFFSITE_CACHE_DIR, then run the same command \
             again: it goes on where it stopped"
        }
        Hint::FreeHere => "make room on this disk, then run the same command again: it goes on where it stopped",
        Hint::FreeOutput => "make room where the output goes, or send it elsewhere",
        Hint::MoveCache => "the cache cannot be written: name another directory for it with --cache-dir or OFFSITE_CACHE_DIR",
        Hint::Credentials => {
            "check the credentials (for s3 those of the AWS tools: AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws) and what they may do"
        }
        Hint::Rights => "check what these credentials may do there: the policies of the bucket and of the user",
        Hint::Login => "check the key and the login with `ssh`, then run the same command again",
        Hint::RightsAtServer => "check owner and mode of it on the server, or log in as a user who may",
        Hint::RightsHere => "check owner and mode of it with `ls -ld`, and `lsattr`; or run as a user who may",
        Hint::Remount => "it is mounted read-only: mount it for writing, and look at `dmesg` if that came by itself",
        Hint::Device => "look at the disk or the mount (`dmesg`, `mount`), then run the same command again: it goes on where it stopped",
        Hint::Certificates => {
            "the server's certificate is not trusted here: for one of your own authority name its certificates in SSL_CERT_FILE (for s3 also \
             AWS_CA_BUNDLE); else look at the host in the URL and at the clock of this machine"
        }
        Hint::SetClock => "the clock of this machine is wrong: set it, for example with `timedatectl set-ntp true`",
        Hint::RaiseLimits => "this machine ran short of open files or memory: raise the limit (`ulimit -n`), or use a smaller --transfers",
        Hint::Unarchive => "`offsite pull --restore-archived` asks the store to bring it back and says when to come again",
        Hint::ShowPlan => "`offsite plan` shows what would be done",
        Hint::PlanAgain => "make a new one with `offsite plan SOURCE DESTINATION --out FILE`",
    }
}
