//! `offsite schema [NAME]`: hidden; it generates `docs/schema/`.

use clap::Args;
use offsite::error::{Error, Result};

use crate::cli::context::Context;
use crate::cli::schema;

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// A verb, or `error` (default: list the names)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

pub fn run(args: &SchemaArgs, context: &Context) -> Result<u8> {
    let known = schema::NAMES;
    match &args.name {
        None => context.out.names(known)?,
        Some(name) => match schema::of(name) {
            Some(schema) => context.out.schema(&schema)?,
            None => return Err(Error::Usage(format!("no schema `{name}`; the names are {}", known.join(", ")))),
        },
    }
    Ok(0)
}
