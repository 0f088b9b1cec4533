//! Runs the user's commands: starts them, waits for them, ends them and keeps their output.
//!
//! Owns the child processes. Values reach a shell line through its environment and never through its text.
//! Invariants: offsite ends a command that exceeds its time limit or is interrupted, together with its process group. A
//! process in a session of its own continues. offsite keeps at least the last [`KEPT`] bytes of the output. It redacts
//! what looks like a secret, and the value of every variable whose name looks like that of a secret.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command as Process};

use crate::config::{Command, Redactions};
use crate::transfer::Stop;

/// How much of a command's output is kept at least, in bytes.
const KEPT: usize = 16 << 10;
/// Time that a command has to end after SIGTERM. SIGKILL follows.
const GRACE: Duration = Duration::from_secs(5);

/// The result of a hook.
#[derive(Debug, Clone, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct HookOutcome {
    /// When it ran: `before`, `after`, `on_failure`, `finally`, `initialize`, `report`.
    pub hook: String,
    /// The command as the config has it.
    pub command: String,
    /// Its exit code; none if it could not be started or was ended by a signal.
    pub code: Option<i32>,
    /// The end of its output (standard output and error).
    pub output: String,
    /// How long it ran.
    pub seconds: f64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Runs one command to its end, in the working directory of this process. `seconds` is its time limit.
pub async fn run(hook: &str, command: &Command, variables: &[(String, String)], seconds: u64, stop: &Stop) -> HookOutcome {
    run_in(None, hook, command, variables, seconds, stop).await
}

/// Like [`run`], in the directory `dir` if there is one.
pub async fn run_in(
    dir: Option<&Path>,
    hook: &str,
    command: &Command,
    variables: &[(String, String)],
    seconds: u64,
    stop: &Stop,
) -> HookOutcome {
    let began = Instant::now();
    let mut outcome = HookOutcome { hook: hook.to_owned(), command: shown(command), ..HookOutcome::default() };
    let mut process = Process::from(command.process());
    dir.map(|dir| process.current_dir(dir));
    process.envs(variables.iter().map(|(name, value)| (name, value)));
    process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    match process.spawn() {
        Err(error) => outcome.error = Some(format!("it cannot be started: {error}")),
        Ok(mut child) => {
            let mut group = ProcessGroup::of(&child);
            let said = Arc::new(Mutex::new(Vec::new()));
            let listening = listen(&mut child, &said);
            let limit = Duration::from_secs(seconds.max(1));
            let ended = tokio::select! {
                status = child.wait() => Ok(status),
                () = tokio::time::sleep(limit) => Err(format!("it took longer than {seconds} s and was ended; hook_timeout allows more")),
                () = stop.wait() => Err("it was ended because the run was interrupted".to_owned()),
            };
            match ended {
                Ok(Ok(status)) => {
                    outcome.code = status.code();
                    outcome.error = (!status.success()).then(|| match status.code() {
                        Some(code) => format!("it ended with exit code {code}"),
                        None => "it was ended by a signal".to_owned(),
                    });
                }
                Ok(Err(error)) => outcome.error = Some(format!("offsite lost track of it: {error}")),
                Err(why) => {
                    end(&mut child).await;
                    outcome.error = Some(why);
                }
            }
            // Processes that it left in the background continue.
            group.forget();
            // A process that it left in the background may hold its output open forever.
            let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let tail = &said[said.len().saturating_sub(KEPT)..];
            outcome.output = Redactions::of(variables).redact(&String::from_utf8_lossy(tail));
        }
    }
    outcome.seconds = began.elapsed().as_secs_f64();
    outcome
}

/// A command as the config has it, for people, with secrets redacted.
pub fn shown(command: &Command) -> String {
    offsite_backends::error::redact(&command.written())
}

/// The process groups of all commands that are running.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the commands that are running, with SIGTERM, because offsite is about to exit.
pub fn end_all() {
    for group in running().iter() {
        let _ = kill_process_group(*group, Signal::TERM);
    }
}

/// The process group of a command. Dropping this value kills the group, unless [`Self::forget`] was called before.
pub struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    pub fn of(child: &Child) -> Self {
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        running().extend(group);
        Self(group)
    }

    pub fn forget(&mut self) {
        if let Some(group) = self.0.take() {
            running().retain(|one| *one != group);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
            self.forget();
        }
    }
}

/// Ends a command and its process group: with SIGTERM, then with SIGKILL after [`GRACE`].
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let signal = |signal| group.map(|group| kill_process_group(group, signal));
    signal(Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        signal(Signal::KILL);
        let _ = child.wait().await;
    }
    // Processes that the command started may still run.
    signal(Signal::KILL);
}

fn listen(child: &mut Child, said: &Arc<Mutex<Vec<u8>>>) -> impl Future<Output = ()> + use<> {
    let out = child.stdout.take().map(|out| tokio::spawn(keep(out, Arc::clone(said))));
    let err = child.stderr.take().map(|err| tokio::spawn(keep(err, Arc::clone(said))));
    async move {
        for task in [out, err].into_iter().flatten() {
            let _ = task.await;
        }
    }
}

/// Reads `from` to its end and keeps at least the last [`KEPT`] bytes.
pub async fn keep(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(got @ 1..) = from.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(&buffer[..got]);
        if said.len() > 2 * KEPT {
            let from = said.len() - KEPT;
            said.drain(..from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ran(line: &str, seconds: u64) -> HookOutcome {
        let variables = [("OFFSITE_JOB".to_owned(), "a b'c\"d\n$HOME".to_owned())];
        run("before", &Command::Shell(line.into()), &variables, seconds, &Stop::default()).await
    }

    #[tokio::test]
    async fn values_come_through_the_environment_and_codes_are_told() {
        let outcome = ran("printf %s \"$OFFSITE_JOB\"; echo oh >&2; exit 3", 10).await;
        assert_eq!((outcome.code, outcome.error.as_deref()), (Some(3), Some("it ended with exit code 3")));
        assert!(outcome.output.contains("a b'c\"d\n$HOME") && outcome.output.contains("oh"), "{outcome:?}");
        let missing = run("before", &Command::Program(vec!["no-such-program".into()]), &[], 5, &Stop::default()).await;
        assert!(missing.error.unwrap().contains("cannot be started"));
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_what_it_started() {
        let began = Instant::now();
        let outcome = ran("echo begun; sleep 100 & sleep 100", 1).await;
        assert!(outcome.error.unwrap().contains("longer than 1 s") && began.elapsed().as_secs() < 8);
        assert_eq!(outcome.output, "begun\n");
    }

    #[tokio::test]
    async fn megabytes_are_cut_and_secrets_redacted() {
        let outcome = ran("yes | head -c 5000000; echo; echo 'see postgres://me:hush@db/x'", 20).await;
        assert!(outcome.output.len() <= 2 * KEPT + (8 << 10), "{}", outcome.output.len());
        assert!(outcome.output.contains("postgres://***@db/x") && !outcome.output.contains("hush"));
    }

    #[tokio::test]
    async fn something_left_in_the_background_does_not_hold_the_run() {
        let began = Instant::now();
        assert_eq!(ran("sleep 30 & echo on", 20).await.error, None);
        assert!(began.elapsed().as_secs() < 5);
    }
}
