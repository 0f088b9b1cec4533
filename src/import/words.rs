//! Splits command lines and shell scripts into words as a shell does.
//!
//! Owns quotes, backslashes, comments and operators. It expands nothing: the words are in offsite's own syntax, where
//! `$NAME` is a variable and `$$` is the dollar sign. So a `$` in single quotes is doubled.
//! Invariant: words of plain characters stay as they are, with any quotes around them.

use crate::config::{expand, is_name};

/// A part of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A word, without its quotes.
    Word(String),
    /// `|`, `&&`, `;`, `>`, the end of a line and so on.
    Operator(String),
}

/// The words of a command line that runs without a shell. Operators and `#` are ordinary characters.
///
/// # Errors
/// A quote that is not closed.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let tokens = WordReader { rest: text, shell: false }.all()?;
    Ok(tokens.into_iter().filter_map(|token| if let Token::Word(word) = token { Some(word) } else { None }).collect())
}

/// The words and operators of a script.
///
/// # Errors
/// A quote or a `$(` that is not closed.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    WordReader { rest: text, shell: true }.all()
}

/// The simple commands of a script: words up to an operator. A word after `<` or `>` does not belong to the command.
pub fn commands(text: &str) -> Result<Vec<Vec<String>>, String> {
    let (mut all, mut now, mut redirect) = (Vec::new(), Vec::new(), false);
    for token in tokens(text)? {
        match token {
            Token::Word(_) if redirect => redirect = false,
            Token::Word(word) => now.push(word),
            Token::Operator(op) if op.contains(['<', '>']) => {
                redirect = true;
                // A digit before it is the number of a stream.
                if now.last().is_some_and(|word: &String| word.len() == 1 && word.chars().all(|c| c.is_ascii_digit())) {
                    now.pop();
                }
            }
            Token::Operator(_) => {
                redirect = false;
                all.push(std::mem::take(&mut now));
            }
        }
    }
    all.push(now);
    all.retain(|words| !words.is_empty());
    Ok(all)
}

/// Name and value of `NAME=value`. None for any other word.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| is_name(name))
}

/// Whether offsite can expand a word, because it has no `$(command)`, `$1` or `${X%y}`.
pub fn is_plain(word: &str) -> bool {
    !word.contains('`') && expand(word, &|_| Some("x".to_owned())).is_ok()
}

/// A word without the parts that only a shell can expand (`$(date +%F)`, `$1`), and whether it had any.
pub fn without_shell(word: &str) -> (String, bool) {
    if is_plain(word) {
        return (word.to_owned(), false);
    }
    let (mut out, mut rest) = (String::new(), word);
    while let Some(at) = rest.find(['$', '`']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = match (rest.as_bytes(), rest.as_bytes().get(1)) {
            ([b'`', ..], _) => rest[1..].find('`').map_or(rest.len(), |end| end + 2),
            (_, Some(b'(')) => closing(rest, '(', ')'),
            (_, Some(b'{')) => closing(rest, '{', '}'),
            (_, Some(b'$')) => 2,
            (_, Some(c)) if c.is_ascii_alphabetic() || *c == b'_' => {
                1 + rest[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len() - 1)
            }
            (_, Some(c)) if c.is_ascii() => 2,
            _ => 1,
        };
        let (part, behind) = rest.split_at(end);
        if is_plain(part) {
            out.push_str(part);
        }
        rest = behind;
    }
    out.push_str(rest);
    (out, true)
}

/// The position after the bracket that closes the first one. The end of the text, if none does.
fn closing(text: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return at + c.len_utf8();
            }
        }
    }
    text.len()
}

struct WordReader<'a> {
    rest: &'a str,
    shell: bool,
}

impl WordReader<'_> {
    fn all(mut self) -> Result<Vec<Token>, String> {
        let mut out = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() && !(self.shell && c == '\n'));
            let Some(first) = self.rest.chars().next() else { return Ok(out) };
            if self.shell && first == '#' {
                self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
            } else if let Some(after) = self.rest.strip_prefix("\\\n") {
                self.rest = after;
            } else if self.shell && "\n;&|<>()".contains(first) {
                let end = if first == '\n' { 1 } else { self.rest.find(|c| !";&|<>".contains(c)).unwrap_or(self.rest.len()).max(1) };
                out.push(Token::Operator(self.rest[..end].to_owned()));
                self.rest = &self.rest[end..];
            } else {
                out.push(Token::Word(self.word()?));
            }
        }
    }

    fn word(&mut self) -> Result<String, String> {
        let mut out = String::new();
        while let Some(c) = self.rest.chars().next() {
            if c.is_whitespace() || self.shell && ";&|<>()".contains(c) {
                break;
            }
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '\'' => {
                    let (inside, rest) = self.rest.split_once('\'').ok_or("a ' is not closed")?;
                    out.push_str(&inside.replace('$', "$$"));
                    self.rest = rest;
                }
                '"' => self.quoted(&mut out)?,
                '\\' => self.escaped(&mut out, |_| true),
                '$' => self.dollar(&mut out)?,
                c => out.push(c),
            }
        }
        Ok(out)
    }

    fn quoted(&mut self, out: &mut String) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next() {
            self.rest = &self.rest[c.len_utf8()..];
            match c {
                '"' => return Ok(()),
                '\\' => self.escaped(out, |c| "$`\"\\\n".contains(c)),
                '$' => self.dollar(out)?,
                c => out.push(c),
            }
        }
        Err("a \" is not closed".to_owned())
    }

    /// Reads the character after a backslash.
    fn escaped(&mut self, out: &mut String, takes: impl Fn(char) -> bool) {
        match self.rest.chars().next() {
            Some(c) if takes(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                match c {
                    '\n' => {}
                    '$' => out.push_str("$$"),
                    c => out.push(c),
                }
            }
            _ => out.push('\\'),
        }
    }

    /// Reads the expression after a `$`, which stays as it is.
    fn dollar(&mut self, out: &mut String) -> Result<(), String> {
        out.push('$');
        let brackets = match self.rest.as_bytes().first() {
            Some(b'(') => ('(', ')'),
            Some(b'{') => ('{', '}'),
            Some(c) if c.is_ascii_alphanumeric() || b"_$@*#?!-".contains(c) => return Ok(()),
            // A `$` without a name is a dollar sign.
            _ => {
                out.push('$');
                return Ok(());
            }
        };
        let end = closing(self.rest, brackets.0, brackets.1);
        if !self.rest[..end].ends_with(brackets.1) {
            return Err(format!("a ${} is not closed", brackets.0));
        }
        out.push_str(&self.rest[..end]);
        self.rest = &self.rest[end..];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_backslashes_and_variables() {
        let words = split(r#"rsync -a --exclude '/a b' "--include=$VOLUME/\"x\"" c\ d '' '$5' ${X:-a b}/# a|b"#).unwrap();
        let wanted =
            ["rsync", "-a", "--exclude", "/a b", "--include=$VOLUME/\"x\"", "c d", "", "$$5", "${X:-a b}/#", "a|b"].map(str::to_owned);
        assert_eq!(words, wanted);
        for wrong in ["a 'b", "a \"b", "a $(b"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scripts_are_commands() {
        let script = "# a comment\nexport A='x y'; cd /srv && \\\n  aws s3 sync . s3://b > /dev/null 2>&1 | tee log # end\n(true)";
        let all = commands(script).unwrap();
        let wanted: Vec<Vec<&str>> =
            vec![vec!["export", "A=x y"], vec!["cd", "/srv"], vec!["aws", "s3", "sync", ".", "s3://b"], vec!["tee", "log"], vec!["true"]];
        assert_eq!(all, wanted);
    }

    #[test]
    fn what_only_a_shell_can_say_is_cut_out() {
        for (word, wanted) in [
            ("s3://b/$(date +%F)/x", "s3://b//x"),
            ("$1/$VOLUME", "/$VOLUME"),
            ("a`hostname`b", "ab"),
            ("${X%/}/a", "/a"),
            ("5$$ ${A:-b}", "5$$ ${A:-b}"),
        ] {
            assert_eq!(without_shell(word).0, wanted, "{word}");
        }
    }

    proptest! {
        /// Any word in single quotes stays the same, and offsite expands it to itself.
        #[test]
        fn single_quotes_keep_everything(words in prop::collection::vec("[^'\u{0}]{0,12}", 0..6)) {
            let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            let expanded: Vec<String> = split(&line).unwrap().iter().map(|word| expand(word, &|_| None).unwrap()).collect();
            prop_assert_eq!(&expanded, &words);
        }

        #[test]
        fn plain_words_are_kept_with_and_without_a_shell(words in prop::collection::vec("[a-zA-Z0-9_./:=@,+%*?-]{1,12}", 1..6)) {
            prop_assert_eq!(&split(&words.join("  ")).unwrap(), &words);
            prop_assert_eq!(commands(&words.join("\t")).unwrap().concat(), words);
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,60}") {
            if let Ok(words) = split(&text) {
                words.iter().for_each(|word| drop(without_shell(word)));
            }
            let _ = commands(&text);
        }
    }
}
