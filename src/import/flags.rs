//! Parses the flags of a command line as its program would.
//!
//! Owns `--name=value`, `--name value`, clusters of short flags and `--`. The caller says which flags take a value.

/// One word of a command line, or a flag with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A flag with its dashes (`--exclude`, `-e`), and its value.
    Flag(String, Option<String>),
    /// Any other word.
    Operand(String),
}

/// Parses words. `valued` says whether a flag takes a value.
pub fn parse(words: &[String], valued: impl Fn(&str) -> bool) -> Vec<Arg> {
    let (mut out, mut words) = (Vec::new(), words.iter());
    while let Some(word) = words.next() {
        if word == "--" {
            out.extend(words.by_ref().cloned().map(Arg::Operand));
        } else if word.starts_with("--") {
            let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
            let value = value.or_else(|| if valued(name) { words.next().cloned() } else { None });
            out.push(Arg::Flag(name.to_owned(), value));
        } else if word.len() > 1 && word.starts_with('-') {
            for (at, letter) in word[1..].char_indices() {
                let name = format!("-{letter}");
                if valued(&name) {
                    let rest = word[1 + at + letter.len_utf8()..].trim_start_matches('=');
                    let value = if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
                    out.push(Arg::Flag(name, value));
                    break;
                }
                out.push(Arg::Flag(name, None));
            }
        } else {
            out.push(Arg::Operand(word.clone()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_and_values() {
        let words: Vec<String> = "-av -essh --exclude a --x=y b -e c -- -d".split(' ').map(str::to_owned).collect();
        let flag = |name: &str, value: Option<&str>| Arg::Flag(name.to_owned(), value.map(str::to_owned));
        let operand = |text: &str| Arg::Operand(text.to_owned());
        assert_eq!(
            parse(&words, |name| ["-e", "--exclude"].contains(&name)),
            [
                flag("-a", None),
                flag("-v", None),
                flag("-e", Some("ssh")),
                flag("--exclude", Some("a")),
                flag("--x", Some("y")),
                operand("b"),
                flag("-e", Some("c")),
                operand("-d"),
            ]
        );
    }
}
