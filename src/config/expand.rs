//! `$NAME`, `${NAME}`, `${NAME:-default}` and `$$` in a text.
//!
//! Owns the syntax. `scope.rs` decides where values come from. Invariant: a name without a value and without a default
//! is an error. An empty value is a value, except before `:-`, as in a shell.

/// A text with every variable expanded. Values are not expanded again.
///
/// # Errors
/// What is wrong, in words.
pub fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    walk(text, lookup, &|_, value| value)
}

/// [`expand`] for a URL or a path. After the scheme of a URL and before its settings, a value is a part of a name.
/// Characters that would have another meaning there are encoded.
///
/// # Errors
/// What is wrong, in words.
pub fn expand_url(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    walk(text, lookup, &|before, value| match before.split_once("://").filter(|_| !before.contains('?')) {
        // An `@` would end a password before the host.
        Some((_, place)) if place.contains('/') => encoded(&value).replace('@', "%40"),
        Some(_) => encoded(&value),
        None => value,
    })
}

/// A name as a part of a URL.
pub fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '?' | '#' | '%' | '\0'..='\u{1f}' | '\u{7f}' => out.push_str(&format!("%{:02X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands a text. `put` encodes each value; its first argument is the output before the value.
fn walk(text: &str, lookup: Lookup<'_>, put: &dyn Fn(&str, String) -> String) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| format!("`${{` is not closed in `{text}`"))?;
            out = match braced(&inner[..end], lookup)? {
                Braced::Value(value) => out.clone() + &put(&out, value),
                Braced::Default(text) => {
                    let before = out.clone();
                    let put = |more: &str, value: String| put(&format!("{before}{more}"), value);
                    out + &walk(text, lookup, &put)?
                }
            };
            rest = &inner[end + 1..];
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            if !is_name(&rest[..end]) {
                return Err(format!("a `$` without a name in `{text}`; write `$$` for a dollar sign"));
            }
            let value = put(&out, value(&rest[..end], lookup)?);
            out.push_str(&value);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// The result of an expression in braces.
enum Braced<'a> {
    Value(String),
    /// The text of the default, not yet expanded.
    Default(&'a str),
}

fn braced<'a>(inner: &'a str, lookup: Lookup<'_>) -> Result<Braced<'a>, String> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    if !is_name(name) {
        return Err(format!("`{name}` is not a variable name; write ${{NAME}} or ${{NAME:-default}}"));
    }
    match (lookup(name).filter(|value| default.is_none() || !value.is_empty()), default) {
        (Some(value), _) => Ok(Braced::Value(value)),
        (None, Some(default)) => Ok(Braced::Default(default)),
        (None, None) => value(name, lookup).map(Braced::Value),
    }
}

fn value(name: &str, lookup: Lookup<'_>) -> Result<String, String> {
    lookup(name).ok_or_else(|| format!("${name} is not set; set it with --set {name}=…, in the environment, or under `variables`"))
}

/// The position of the `}` that closes the `{` before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a text can be the name of a variable.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<String, String> {
        let known = [("VOLUME", "acme"), ("EMPTY", ""), ("ODD", "a b\"c'$VOLUME\nd")];
        expand(text, &|name| known.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn names_defaults_and_the_sign_itself() {
        let expanded = [
            ("/srv/$VOLUME/x", "/srv/acme/x"),
            ("${VOLUME}s", "acmes"),
            ("$VOLUME-1", "acme-1"),
            ("${NO:-d}${EMPTY:-e}[$EMPTY]", "de[]"),
            ("${NO:-/x/${VOLUME}}", "/x/acme"),
            ("$$VOLUME 5$$", "$VOLUME 5$"),
            ("$ODD", "a b\"c'$VOLUME\nd"),
            ("plain", "plain"),
        ];
        for (text, wanted) in expanded {
            assert_eq!(said(text).unwrap(), wanted);
        }
    }

    #[test]
    fn a_value_in_a_url_is_a_name_and_no_setting() {
        let known = [("ODD", "q?region=x"), ("P", "p%20q"), ("BASE", "s3://acme/a%20b?region=y"), ("S", "s3"), ("HASH", "a#b/c\n")];
        let url = |text: &str| expand_url(text, &|name| known.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).unwrap();
        for (text, wanted) in [
            ("s3://acme/$ODD/%20x?region=z", "s3://acme/q%3Fregion=x/%20x?region=z"),
            ("$S://acme/${P}", "s3://acme/p%2520q"),
            ("$BASE", "s3://acme/a%20b?region=y"),
            ("s3://acme/${NO:-x$P}/$HASH", "s3://acme/xp%2520q/a%23b/c%0A"),
            ("s3://acme?profile=$P", "s3://acme?profile=p%20q"),
            ("/mnt/$ODD", "/mnt/q?region=x"),
        ] {
            assert_eq!(url(text), wanted);
        }
    }

    #[test]
    fn what_is_not_set_or_not_closed_is_an_error() {
        for (text, wanted) in [
            ("$NO", "$NO is not set"),
            ("${NO}", "$NO is not set"),
            ("${VOLUME", "not closed"),
            ("5$ each", "`$$`"),
            ("${a b}", "not a variable name"),
            ("$1", "`$$`"),
        ] {
            let error = said(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
