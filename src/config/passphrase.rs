//! The command of a config that prints a passphrase.
//!
//! Owns that process. The passphrase is its first line of standard output. It never reaches an argument, a variable or a
//! message.

use std::io::Read;
use std::process::Stdio;

use super::words::Command;
use crate::engine::{PassphraseSource, SecretString};

/// The longest passphrase, in bytes.
const LONGEST: u64 = 4096;

/// A command that prints a passphrase.
pub struct PassphraseCommand {
    command: Command,
    variables: Vec<(String, String)>,
}

impl PassphraseCommand {
    /// `variables` are those of the job, for the environment of the command.
    pub fn new(command: Command, variables: Vec<(String, String)>) -> Self {
        Self { command, variables }
    }
}

impl PassphraseSource for PassphraseCommand {
    fn passphrase(&self, _: &str) -> Result<SecretString, String> {
        let failed = |why: &dyn std::fmt::Display| format!("the command in `seal.passphrase_command` failed: {why}");
        // Its standard error is that of offsite, so that it can ask and explain. It stays in the process group, so Ctrl-C ends
        // it too.
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        let mut child =
            self.command.process().envs(variables).stdin(Stdio::inherit()).stdout(Stdio::piped()).spawn().map_err(|e| failed(&e))?;
        let mut bytes = Vec::with_capacity(LONGEST as usize + 1);
        let read = child.stdout.take().map_or(Ok(0), |out| out.take(LONGEST + 1).read_to_end(&mut bytes));
        let status = child.wait().map_err(|e| failed(&e))?;
        read.map_err(|e| failed(&e))?;
        if !status.success() {
            return Err(failed(&status));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed(&"its output is not UTF-8"))?;
        let line = text.lines().next().unwrap_or_default();
        match (line.is_empty(), text.len() as u64 > LONGEST) {
            (true, _) => Err(failed(&"it printed an empty line")),
            (_, true) => Err(failed(&format_args!("it printed more than {LONGEST} bytes"))),
            (false, false) => Ok(SecretString::from(line.to_owned())),
        }
    }
}
