//! Words that depend on a number.

/// Returns the word for this number of things: `plural(1, "file", "files")` is `file`.
pub const fn plural<'a>(n: u64, one: &'a str, many: &'a str) -> &'a str {
    if n == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|n| plural(n, "entry", "entries")), ["entries", "entry", "entries"]);
    }
}
