//! `offsite init URL… [--check] [--versioning …]`

use clap::Args;
use offsite::config::{InitializeMethod, values};
use offsite::engine::{self, InitOutcome};
use offsite::error::{Error, Result};
use offsite::jobs::run_command;
use offsite::transfer::Stop;
use offsite_backends::Initialize;
use offsite_backends::initialize::{Encryption, Lock};

use super::super::args_config::ConfigArgs;
use crate::cli::context::Context;

const CODES: &str = "\
Exit codes: 0 every setting is as wanted; 1 some setting is not: it has drifted (--check), or it could not
be changed, was denied, or does not exist at this store; 2 usage.";

/// Arguments of `init`. Settings that no flag names are neither read nor changed.
#[derive(Debug, Args)]
#[command(after_help = CODES)]
pub struct InitArgs {
    /// The destinations to set up: <s3://bucket/prefix>, a path (default: every destination of the config, as it is
    /// declared there)
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Change nothing; show where a destination differs from the flags or the config
    #[arg(long)]
    check: bool,
    /// Keep replaced and removed objects as versions; =off stops that
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = values::on_off)]
    versioning: Option<bool>,
    /// Let the store remove unfinished uploads after this time: 7d
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    abort_uploads_after: Option<u32>,
    /// Let the store remove versions this long after they were replaced or removed: 90d. Make it longer than the
    /// retention of snapshots, or they lose contents
    #[arg(long, value_name = "DAYS", value_parser = values::days)]
    expire_old_versions_after: Option<u32>,
    /// Let the store encrypt new objects: store (with its own keys) or kms:KEY (with a key of AWS KMS or Google's
    /// Cloud KMS). Everyone who may read an object gets it decrypted
    #[arg(long, value_name = "store|kms:KEY", value_parser = values::encryption)]
    encryption: Option<Encryption>,
    /// Block reading without credentials, whatever is set on single objects
    #[arg(long)]
    block_public: bool,
    /// Lock objects against removal for this time: governance:30d (a special permission overrides it) or
    /// compliance:30d (nobody can remove them, including the owner; this cannot be undone)
    #[arg(long, value_name = "MODE:DAYS", value_parser = values::lock)]
    lock: Option<Lock>,
    /// Where to create a new bucket, as the store names it: eu-west-1
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Print the permissions of a host that writes and never deletes, ready to paste: an IAM policy for S3, commands for
    /// Google and B2; contact no store
    #[arg(long, conflicts_with_all = ["check", "versioning", "abort_uploads_after", "expire_old_versions_after", "encryption", "block_public", "lock", "region"])]
    writer_policy: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl InitArgs {
    /// The URLs that are named, or those of the config that are append-only.
    fn named(&self) -> Result<Vec<String>> {
        if !self.urls.is_empty() {
            return Ok(self.urls.clone());
        }
        let plans = self.config.known_plans()?;
        let jobs = plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored);
        let urls: Vec<String> = jobs.flat_map(|job| &job.destinations).filter(|to| to.append_only).map(|to| to.url.clone()).collect();
        if urls.is_empty() {
            return Err(Error::Usage("no destination of the config is append-only; name a URL, such as s3://bucket/prefix".into()));
        }
        Ok(urls)
    }

    fn wishes(&self) -> Result<Initialize> {
        if self.lock.is_some() && self.versioning == Some(false) {
            return Err(Error::Usage("--lock needs versioning; remove --versioning=off".into()));
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
    if args.writer_policy {
        context.out.initialized(&engine::writer_policy(&args.named()?)?)?;
        return Ok(0);
    }
    let wishes = args.wishes()?;
    let outcome = match args.urls.is_empty() {
        false => engine::initialize(&args.urls, &wishes, args.check).await?,
        true if wishes != Initialize::default() => {
            return Err(Error::Usage("these settings need a URL; name one, or set them under `initialize` in the config".into()));
        }
        true => declared(&args, context).await?,
    };
    context.out.initialized(&outcome)?;
    Ok(outcome.exit)
}

/// Sets up every destination of the config, as it is declared there.
async fn declared(args: &InitArgs, context: &Context) -> Result<InitOutcome> {
    let plans = args.config.known_plans()?;
    let mut all = InitOutcome { check: args.check, destinations: Vec::new(), exit: 0 };
    for (job, destination) in
        plans.iter().flat_map(|plan| &plan.jobs).filter(|job| !job.ignored).flat_map(|j| j.destinations.iter().map(move |p| (j, p)))
    {
        let want = match &destination.initialize {
            InitializeMethod::AsNeeded => Initialize::default(),
            InitializeMethod::Declared(want) => want.clone(),
            InitializeMethod::By(_) if args.check => {
                context.out.info(&format!("{}: a command in the config sets it up, so offsite cannot check it", destination.url));
                continue;
            }
            InitializeMethod::By(command) => {
                let mut variables = job.variables.clone();
                variables.push(("OFFSITE_DESTINATION".to_owned(), destination.url.clone()));
                let hook = run_command("initialize", command, &variables, job.hooks.timeout, &Stop::default()).await;
                context.out.hook_ran(&job.shown(), &hook);
                all.exit = all.exit.max(u8::from(hook.error.is_some()));
                continue;
            }
        };
        let outcome = engine::initialize(std::slice::from_ref(&destination.url), &want, args.check).await?;
        all.destinations.extend(outcome.destinations);
        all.exit = all.exit.max(outcome.exit);
    }
    Ok(all)
}
