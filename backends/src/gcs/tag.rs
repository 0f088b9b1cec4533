//! The entity tag of an object here: its generation, with the MD5 before it if the store has one.
//!
//! Owns its two forms, `MD5-GENERATION` and `GENERATION`. The store's own `ETag` is the MD5 of an object that was
//! sent in one piece and undocumented otherwise. No write can have it as a condition. A generation names one content
//! permanently, and every request can have it as a condition. The MD5 comes first because it identifies the content
//! in every copy of the object. Invariant: equal tags mean equal contents.

/// A tag, split into its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub md5: Option<&'a str>,
    pub generation: Option<i64>,
}

impl<'a> Tag<'a> {
    /// Parses a tag of offsite's or one of the store's own.
    pub(super) fn parse(text: &'a str) -> Self {
        let text = text.trim_matches('"');
        let number = |text: &str| text.parse().ok().filter(|generation| *generation > 0);
        match text.split_once('-') {
            Some((md5, generation)) if is_md5(md5) => Self { md5: Some(md5), generation: number(generation) },
            _ if is_md5(text) => Self { md5: Some(text), generation: None },
            _ => Self { md5: None, generation: number(text) },
        }
    }
}

/// The tag of an object, from its `ETag` or MD5 in hex and its generation.
pub(super) fn tag(etag: Option<&str>, generation: &str) -> String {
    match etag.map(|etag| etag.trim_matches('"')).filter(|etag| is_md5(etag)) {
        Some(md5) => format!("{md5}-{generation}"),
        None => generation.to_owned(),
    }
}

/// A tag in quotes, as every answer of the data plane gives it.
pub(super) fn quoted(etag: Option<&str>, generation: &str) -> String {
    format!("\"{}\"", tag(etag, generation))
}

fn is_md5(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Puts offsite's tags into a page of a listing, so that all answers give the same tag for an object. An
/// object without a generation keeps the store's tag.
pub(super) fn retag(page: &str) -> String {
    let mut out = String::with_capacity(page.len() + page.len() / 8);
    let mut pieces = page.split("<Contents>");
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        out.push_str("<Contents>");
        let inside = |name: &str| {
            let from = piece.find(&format!("<{name}>"))? + name.len() + 2;
            Some(from..from + piece[from..].find(&format!("</{name}>"))?)
        };
        match (inside("ETag"), inside("Generation")) {
            (Some(etag), Some(generation)) => {
                let store = piece[etag.clone()].replace("&quot;", "");
                out.push_str(&piece[..etag.start]);
                out.push_str(&quoted(Some(&store), &piece[generation]));
                out.push_str(&piece[etag.end..]);
            }
            _ => out.push_str(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "5d41402abc4b2a76b9719d911017c592";

    #[test]
    fn tags_come_apart_as_they_were_made() {
        let whole = tag(Some(&format!("\"{MD5}\"")), "17");
        assert_eq!(Tag::parse(&whole), Tag { md5: Some(MD5), generation: Some(17) });
        let parts = tag(Some("\"-CKih16GjycICEAE=\""), "17");
        assert_eq!((parts.as_str(), Tag::parse("\"17\"")), ("17", Tag { md5: None, generation: Some(17) }));
        assert_eq!(Tag::parse(MD5), Tag { md5: Some(MD5), generation: None });
        assert_eq!(Tag::parse("anything"), Tag { md5: None, generation: None });
    }

    #[test]
    fn a_page_gets_our_tags() {
        let object = |etag: &str| format!("<Contents><Key>a</Key><Generation>9</Generation><ETag>{etag}</ETag></Contents>");
        let page =
            format!("<L><N>1</N>{}{}<Contents><ETag>\"x\"</ETag></Contents></L>", object(&format!("&quot;{MD5}&quot;")), object("\"-x\""));
        let wanted =
            format!("<L><N>1</N>{}{}<Contents><ETag>\"x\"</ETag></Contents></L>", object(&format!("\"{MD5}-9\"")), object("\"9\""));
        assert_eq!(retag(&page), wanted);
    }
}
