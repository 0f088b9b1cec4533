//! Installs, shows and removes a schedule.
//!
//! Owns the unit files and the calls of `systemctl`, `systemd-analyze` and `crontab`. Each file is replaced atomically.
//! Invariant: units that `systemd-analyze verify` rejects are not installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::timetable::Schedule;
use super::{cron, units};
use crate::error::{Error, Result};

/// The program that runs a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheduler {
    /// systemd, with a timer and a service.
    Systemd {
        /// The directory of the two units.
        dir: PathBuf,
        /// Have systemd enable and start the timer.
        enable: bool,
        /// The units belong to the user and not to the system.
        of_user: bool,
    },
    /// A line in the crontab of the current user.
    Cron,
}

/// An installed schedule.
#[derive(Debug, Clone, Default, serde::Serialize, schemars::JsonSchema)]
pub struct Installed {
    /// Files and their texts; for cron the line, under the name `crontab`.
    pub parts: Vec<(String, String)>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Installs a schedule, in place of an earlier one of the same name. Returns what it installed. After an error, some of
/// the files may have been replaced.
///
/// # Errors
/// [`Error::Usage`] for a control character that a schedule cannot contain, [`Error::Command`] if systemd or cron
/// rejects the schedule.
///
/// # Examples
///
/// ```
/// use offsite::schedule::{self, Rhythm, Sandbox, Schedule, Scheduler};
///
/// # let dir = tempfile::tempdir()?;
/// # let program = std::env::current_exe()?.display().to_string();
/// let schedule = Schedule {
///     name: "offsite-nightly".into(),
///     command: vec![program, "run".into()],
///     directory: "/".into(),
///     rhythm: Rhythm::Daily(3, 0),
///     jitter: 1800,
///     sandbox: Sandbox::default(),
///     host: "web1".into(),
/// };
/// let units = Scheduler::Systemd { dir: dir.path().into(), enable: false, of_user: false };
/// schedule::install(&schedule, &units)?;
/// let timer = std::fs::read_to_string(dir.path().join("offsite-nightly.timer"))?;
/// assert!(timer.contains("OnCalendar=*-*-* 03:00:00\nRandomizedDelaySec=1800\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn install(schedule: &Schedule, way: &Scheduler) -> Result<Installed> {
    let mut done = Installed::default();
    one_line(schedule, way)?;
    match way {
        Scheduler::Cron => {
            let all = cron::with(&crontab()?, schedule);
            write_crontab(&all)?;
            done.parts.push(("crontab".into(), cron::line(schedule)));
        }
        Scheduler::Systemd { dir, enable, of_user } => {
            let parts = [("service", units::service(schedule)), ("timer", units::timer(schedule))];
            let parts = parts.map(|(kind, text)| (dir.join(format!("{}.{kind}", schedule.name)), text));
            done.notes.extend(verify(&parts, *of_user)?);
            std::fs::create_dir_all(dir).map_err(|e| Error::local(dir, e))?;
            for (path, text) in &parts {
                write(path, text)?;
                done.parts.push((path.display().to_string(), text.clone()));
            }
            if *enable {
                systemctl(*of_user, &["daemon-reload"])?;
                systemctl(*of_user, &["enable", "--now", &format!("{}.timer", schedule.name)])?;
            } else {
                done.notes
                    .push(format!("not enabled; to enable it on a machine with systemd: systemctl enable --now {}.timer", schedule.name));
            }
            if *of_user {
                let what = "user units run only while you are logged in, unless you enable lingering: `loginctl enable-linger`; \
                            of the protections of system units they have only NoNewPrivileges";
                done.notes.push(what.into());
            }
        }
    }
    Ok(done)
}

/// Refuses characters that would end the line. Units can escape a line break and a tab, a crontab cannot.
fn one_line(schedule: &Schedule, way: &Scheduler) -> Result<()> {
    let said_otherwise = |c: char| matches!(way, Scheduler::Systemd { .. }) && (c == '\n' || c == '\t');
    let paths = schedule.sandbox.writes.iter().map(|path| path.display().to_string());
    let odd = schedule.command.iter().cloned().chain(paths).find(|word| word.chars().any(|c| c.is_control() && !said_otherwise(c)));
    let odd = odd.or_else(|| Some(schedule.directory.clone()).filter(|directory| directory.chars().any(char::is_control)));
    match odd {
        None => Ok(()),
        Some(word) => {
            let name = word.split('=').next().unwrap_or_default().escape_default();
            Err(Error::Usage(format!("`{name}…` has a line break or another control character, which a schedule cannot contain")))
        }
    }
}

/// The schedule that is installed under a name. It has no parts if there is none.
///
/// # Errors
/// With cron, [`Error::Command`] if `crontab` cannot be started or fails, or if the crontab is not UTF-8. With systemd,
/// none: a unit that cannot be read counts as missing.
pub fn show(name: &str, way: &Scheduler) -> Result<Installed> {
    let mut found = Installed::default();
    match way {
        Scheduler::Cron => found.parts.extend(cron::find(&crontab()?, name).map(|line| ("crontab".into(), line.to_owned()))),
        Scheduler::Systemd { dir, enable, of_user } => {
            for path in files(dir, name) {
                if let Ok(text) = std::fs::read_to_string(&path) {
                    found.parts.push((path.display().to_string(), text));
                }
            }
            if *enable && !found.parts.is_empty() {
                let next = output(
                    systemctl_command(*of_user).args(["show", "-p", "NextElapseUSecRealtime", "--value"]).arg(format!("{name}.timer")),
                );
                found.notes.extend(
                    next.ok().map(|next| next.trim().to_owned()).filter(|next| !next.is_empty()).map(|next| format!("next run: {next}")),
                );
            }
        }
    }
    Ok(found)
}

/// Removes a schedule. Returns what it removed, which has no parts if there was no schedule.
///
/// # Errors
/// [`Error::Command`] if `crontab` or `systemctl` fails, [`Error::Local`] if a unit cannot be deleted. After an error,
/// a part of the schedule may remain.
pub fn remove(name: &str, way: &Scheduler) -> Result<Installed> {
    let found = show(name, way)?;
    match way {
        _ if found.parts.is_empty() => {}
        Scheduler::Cron => write_crontab(&cron::without(&crontab()?, name))?,
        Scheduler::Systemd { dir, enable, of_user } => {
            if *enable {
                systemctl(*of_user, &["disable", "--now", &format!("{name}.timer")])?;
            }
            for path in files(dir, name) {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::local(&path, error)),
                    _ => {}
                }
            }
            if *enable {
                systemctl(*of_user, &["daemon-reload"])?;
            }
        }
    }
    Ok(found)
}

fn files(dir: &Path, name: &str) -> [PathBuf; 2] {
    ["timer", "service"].map(|kind| dir.join(format!("{name}.{kind}")))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let temp = path.with_extension(format!("{:016x}.tmp", crate::random()));
    std::fs::write(&temp, text).and_then(|()| std::fs::rename(&temp, path)).map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        Error::local(path, e)
    })
}

/// Verifies the units with `systemd-analyze`. Returns a note if this machine does not have it.
fn verify(parts: &[(PathBuf, String)], of_user: bool) -> Result<Vec<String>> {
    let dir = std::env::temp_dir().join(format!("offsite-units-{:016x}", crate::random()));
    std::fs::create_dir_all(&dir).map_err(|e| Error::local(&dir, e))?;
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", if of_user { "--user" } else { "--system" }, "--man=no"]);
    for (path, text) in parts {
        let copy = dir.join(path.file_name().unwrap_or_default());
        std::fs::write(&copy, text).map_err(|e| Error::local(&copy, e))?;
        command.arg(copy);
    }
    let ran = command.stdin(Stdio::null()).output();
    let _ = std::fs::remove_dir_all(&dir);
    let Ok(ran) = ran else { return Ok(vec!["this machine has no systemd-analyze, so the units were not verified".into()]) };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    match ran.status.success() {
        true => Ok(Vec::new()),
        false => Err(Error::Command(format!("systemd rejects the units, so nothing was installed: {}", said.trim()))),
    }
}

fn systemctl_command(of_user: bool) -> Command {
    let mut command = Command::new("systemctl");
    if of_user {
        command.arg("--user");
    }
    command
}

fn systemctl(of_user: bool, args: &[&str]) -> Result<()> {
    output(systemctl_command(of_user).args(args)).map(drop).map_err(|why| Error::Command(format!("systemctl {}: {why}", args.join(" "))))
}

/// The crontab of the current user; a missing one is empty.
fn crontab() -> Result<String> {
    let ran = Command::new("crontab").arg("-l").stdin(Stdio::null()).output();
    let ran = ran.map_err(|e| Error::Command(format!("`crontab` cannot be started ({e}); install cron, or use --systemd")))?;
    match ran.status.success() {
        // offsite would write another text back.
        true => String::from_utf8(ran.stdout).map_err(|_| Error::Command("the crontab is not UTF-8, so it was not changed".into())),
        false if String::from_utf8_lossy(&ran.stderr).contains("no crontab") => Ok(String::new()),
        false => Err(Error::Command(format!("crontab -l: {}", String::from_utf8_lossy(&ran.stderr).trim()))),
    }
}

fn write_crontab(text: &str) -> Result<()> {
    let fail = |e: std::io::Error| Error::Command(format!("crontab: {e}"));
    let mut child = Command::new("crontab").arg("-").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(fail)?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, text.as_bytes()).map_err(fail)?;
    }
    let ran = child.wait_with_output().map_err(fail)?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(Error::Command(format!("crontab rejects it: {}", String::from_utf8_lossy(&ran.stderr).trim()))),
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let ran = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    match ran.status.success() {
        true => Ok(String::from_utf8_lossy(&ran.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
