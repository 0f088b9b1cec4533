//! `offsite key show|add|rotate|writer|paper DESTINATION`

use std::sync::Arc;

use clap::{Args, Subcommand};
use offsite::engine::{self, Machine, SealWish};
use offsite::error::{Error, Result};

use super::super::args_from::FromArgs;
use crate::cli::context::Context;
use crate::cli::terminal::NewPassphrase;

/// Arguments of `key`.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    what: KeyVerb,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// Show the key files of a destination and what they are sealed to
    Show(KeyOf),
    /// Let another recipient open the destination, including what is there already; needs --identity or the
    /// passphrase
    Add(KeyTo),
    /// Make new keys for these recipients alone; others cannot open what is sealed from now on
    #[command(visible_alias = "remove")]
    Rotate(KeyTo),
    /// Print the key of a writing host, which opens no contents; needs --identity or the passphrase
    Writer(KeyOf),
    /// Print a sheet with all keys for the safe; needs --identity or the passphrase
    Paper(KeyOf),
}

#[derive(Debug, Args)]
struct KeyOf {
    #[command(flatten)]
    from: FromArgs,
}

#[derive(Debug, Args)]
struct KeyTo {
    #[command(flatten)]
    from: FromArgs,
    /// A recipient: `age1…`, an SSH public key, a recipient of an age plugin, or a file of recipients; one or more
    #[arg(long, value_name = "RECIPIENT", required_unless_present = "passphrase")]
    seal_to: Vec<String>,
    /// Seal to a new passphrase too: that of the config, or else one that is asked for twice
    #[arg(long)]
    passphrase: bool,
    /// Rotate to a single recipient: if its key is lost, so is the backup
    #[arg(long)]
    only_key: bool,
}

impl KeyTo {
    /// The machine, the URL, and to whom the keys must be sealed.
    fn resolved(&self, context: &Context) -> Result<(Machine, String, SealWish)> {
        let (machine, (url, job)) = (context.machine_from(&self.from)?, self.from.only()?);
        let destination = job.iter().flat_map(|job| &job.destinations).find(|destination| destination.url == url);
        let known = destination.and_then(|destination| destination.seal.as_ref()?.wish.passphrase.clone());
        let source = || known.unwrap_or_else(|| Arc::new(NewPassphrase::new(&context.screen)));
        let wish = SealWish { to: self.seal_to.clone(), only_key: self.only_key, passphrase: self.passphrase.then(source) };
        Ok((machine, url, wish))
    }
}

/// The machine and the URL of a verb that prints secrets, which never go into a JSON document.
fn secret(args: &KeyOf, context: &Context) -> Result<(Machine, String)> {
    if context.global.json {
        return Err(Error::Usage("a key is printed as text only; leave out --json".into()));
    }
    Ok((context.machine_from(&args.from)?, args.from.only()?.0))
}

pub async fn run(args: KeyArgs, context: &Context) -> Result<u8> {
    let outcome = match args.what {
        KeyVerb::Show(args) => engine::show_keys(&context.machine_from(&args.from)?, &args.from.only()?.0).await?,
        KeyVerb::Add(args) => {
            let (machine, url, wish) = args.resolved(context)?;
            engine::add_key(&machine, &url, &wish).await?
        }
        KeyVerb::Rotate(args) => {
            let (machine, url, wish) = args.resolved(context)?;
            engine::rotate_keys(&machine, &url, &wish).await?
        }
        KeyVerb::Writer(args) => {
            let (machine, url) = secret(&args, context)?;
            context.out.secret(&engine::writer_key(&machine, &url).await?)?;
            return Ok(0);
        }
        KeyVerb::Paper(args) => {
            let (machine, url) = secret(&args, context)?;
            context.out.secret(&engine::paper_key(&machine, &url).await?)?;
            return Ok(0);
        }
    };
    context.out.keys(&outcome)?;
    Ok(outcome.exit)
}
