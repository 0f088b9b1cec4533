//! `offsite init URL… [--check] [--versioning …]`

use clap::Args;
use offsite::config::{Made, values};
use offsite::engine::{self, InitOutcome};
use offsite::error::{Error, Result};
use offsite::jobs::run_command;
use offsite::transfer::Stop;
use offsite_backends::Initialize;
use offsite_backends::initialize::{Encryption, Lock};

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

const CODES: &str = "\
Exit codes: 0 everything is as wanted now; 1 something is not: with --check it has drifted, else it
could not be made, whether it went wrong, was denied, or the store has no such thing; 2 usage.";

/// Arguments of `init`. What is not named is neither looked at nor changed.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct InitArgs {
    /// Where it is to be synced to: s3://bucket/prefix, a path (default: every destination of the config, as
    /// it is declared there)
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Change nothing; say where a destination is not as declared
    #[arg(long)]
    check: bool,
    /// Keep what is replaced and removed as versions, or with =off no longer
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = values::on_off)]
    versioning: Option<bool>,
    /// Let the store remove uploads that were begun so long ago and never ended: 7d
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    abort_uploads_after: Option<u32>,
    /// Let the store remove versions that were replaced or removed so long ago: 90d. Longer than snapshots
    /// are kept, or those lose contents
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    expire_old_versions_after: Option<u32>,
    /// Let the store encrypt what comes there: store (with its own keys) or kms:KEY (with a key of AWS KMS or
    /// Google's Cloud KMS, by its name there). Whoever may read an object there is given it in the clear
    #[arg(long, value_name = "store|kms:KEY", value_parser = values::encryption)]
    encryption: Option<Encryption>,
    /// Nobody reads it without credentials, whatever is set on single objects
    #[arg(long)]
    block_public: bool,
    /// What is written cannot be removed for so long: governance:30d (some may still) or compliance:30d
    /// (nobody may, the owner included; it cannot be taken back)
    #[arg(long, value_name = "MODE:DAYS", value_parser = values::lock)]
    lock: Option<Lock>,
    /// Where a bucket that has to be made is to lie, in the store's own word: eu-west-1
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl InitArgs {
    fn wishes(&self) -> Result<Initialize> {
        if self.lock.is_some() && self.versioning == Some(false) {
            return Err(Error::Usage("--lock needs versions: leave out --versioning=off".into()));
        }
        Ok(Initialize {
            versioning: self.versioning,
            abort_uploads_after_days: self.abort_uploads_after,
            expire_old_versions_after_days: self.expire_old_versions_after,
            encryption: self.encryption.clone(),
            block_public: self.block_public,
            lock: self.lock,
            region: self.region.clone(),
        })
    }
}

pub async fn run(args: InitArgs, context: &Context) -> Result<u8> {
    let wishes = args.wishes()?;
    let outcome = match args.urls.is_empty() {
        false => engine::initialize(&args.urls, &wishes, args.check).await?,
        true if wishes != Initialize::default() => {
            return Err(Error::Usage("these settings are for a URL; name one, or write them below `initialize` in the config".into()));
        }
        true => declared(&args, context).await?,
    };
    context.out.initialized(&outcome)?;
    Ok(outcome.exit)
}

/// Every destination of the config, as it is declared there.
async fn declared(args: &InitArgs, context: &Context) -> Result<InitOutcome> {
    let plans = args.config.known_plans()?;
    let mut all = InitOutcome { check: args.check, destinations: Vec::new(), exit: 0 };
    for (job, place) in
        plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored).flat_map(|j| j.places.iter().map(move |p| (j, p)))
    {
        let want = match &place.initialize {
            Made::AsNeeded => Initialize::default(),
            Made::Declared(want) => want.clone(),
            Made::By(_) if args.check => {
                context.out.info(&format!("{}: a command of the config's makes it; what it did cannot be looked at", place.url));
                continue;
            }
            Made::By(command) => {
                let mut variables = job.variables.clone();
                variables.push(("OFFSITE_DESTINATION".to_owned(), place.url.clone()));
                let hook = run_command("initialize", command, &variables, job.hooks.timeout, &Stop::default()).await;
                context.out.hook_ran(&job.shown(), &hook);
                all.exit = all.exit.max(u8::from(hook.error.is_some()));
                continue;
            }
        };
        let outcome = engine::initialize(std::slice::from_ref(&place.url), &want, args.check).await?;
        all.destinations.extend(outcome.destinations);
        all.exit = all.exit.max(outcome.exit);
    }
    Ok(all)
}
