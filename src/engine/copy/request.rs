//! What the copies of all snapshots of one run share.

use std::sync::Arc;

use offsite_backends::Backend;

use super::options::CopyOptions;
use super::origin::CopyOrigin;
use crate::engine::control::RunControl;
use crate::engine::machine::Machine;
use crate::transfer::Limit;

/// What the copies of all snapshots share.
pub struct CopyRequest<'a> {
    pub machine: &'a Machine,
    pub origin: &'a CopyOrigin,
    pub to: &'a Arc<dyn Backend>,
    pub url: &'a str,
    pub options: &'a CopyOptions,
    pub control: &'a RunControl,
    pub limit_upload: Arc<Limit>,
    pub limit_download: Arc<Limit>,
}
