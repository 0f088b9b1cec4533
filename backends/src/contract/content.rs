//! The mark that distinguishes puts of contents from puts of records.
//!
//! Owns the mark. A store that has to ask whether it keeps versions asks only for contents, because no record is ever
//! read by its version.

use object_store::{PutMode, PutOptions};

#[derive(Clone)]
struct Content;

/// Options for the put of a content. Its answer has a version id if the store keeps versions.
pub fn content_put(mode: PutMode) -> PutOptions {
    let mut options = PutOptions::from(mode);
    options.extensions.insert(Content);
    options
}

/// Whether these are the options of a put of a content.
pub(crate) fn is_content(options: &PutOptions) -> bool {
    options.extensions.get::<Content>().is_some()
}
