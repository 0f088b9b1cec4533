//! Redaction of what looks like a secret in a text.
//!
//! Owns the signs of a secret: assignments and flags with a telling name, headers, the user part of URLs, and the
//! arguments of a few well-known programs. Knows no value of a secret; code that knows one replaces it itself.
//! Invariants: a reference (`$NAME`, `$(cat FILE)`) is no secret and stays; a text that was redacted stays as it is.

/// The text that replaces a secret.
pub const REDACTED: &str = "***";

/// Shorter secrets of URLs, in bytes, occur in too many texts by chance to be replaced elsewhere.
const LEAST: usize = 6;

/// The text with [`REDACTED`] in the place of each secret. The secret of a URL is replaced wherever it occurs again.
///
/// # Examples
///
/// ```
/// use offsite_backends::redact::redact;
///
/// assert_eq!(redact("mysqldump --password=hush shop"), "mysqldump --password=*** shop");
/// assert_eq!(redact("curl https://me:hush@example.org/"), "curl https://***@example.org/");
/// assert_eq!(redact("mysqldump --password=$DB_PASSWORD shop"), "mysqldump --password=$DB_PASSWORD shop");
/// ```
pub fn redact(text: &str) -> String {
    let mut found = Vec::new();
    let lines = text.split('\n').map(|line| arguments(&urls(&named(&headers(line)), &mut found)));
    let clean = lines.collect::<Vec<_>>().join("\n");
    found.retain(|secret| secret.len() >= LEAST);
    found.iter().fold(clean, |text, secret| text.replace(secret.as_str(), REDACTED))
}

/// Whether a name says that its value is a secret. It can be the name of a key, a variable, a flag or a setting of a
/// URL.
pub fn is_secret_name(name: &str) -> bool {
    const WITHIN: [&str; 8] = ["password", "passwd", "passphrase", "secret", "token", "signature", "amz_credential", "private_key"];
    const ENDS: [&str; 8] = ["_pass", "_pwd", "_pw", "api_key", "apikey", "access_key", "account_key", "authorization"];
    const WHOLE: [&str; 4] = ["pass", "pwd", "sig", "mysql_pwd"];
    const PLACES: [&str; 5] = ["file", "path", "dir", "command", "url"];
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    // The location of a secret is no secret.
    if PLACES.iter().any(|end| name.ends_with(&format!("_{end}"))) || name.ends_with("passwordfile") {
        return false;
    }
    WITHIN.iter().any(|part| name.contains(part)) || ENDS.iter().any(|end| name.ends_with(end)) || WHOLE.contains(&name.as_str())
}

/// Whether a value refers to a secret instead of containing it, or was redacted already.
pub fn is_reference(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    value.starts_with('$') || value.starts_with('`') || value.starts_with(REDACTED)
}

/// Redacts the value of `Authorization: …` and the word after `Bearer`.
fn headers(line: &str) -> String {
    let mut out = line.to_owned();
    let mut from = 0;
    while let Some(at) = find(&out, "authorization", from).map(|at| at + "authorization".len()) {
        from = at;
        let rest = out[at..].trim_start_matches(['"', '\\']).trim_start();
        let Some(value) = rest.strip_prefix([':', '=']) else { continue };
        let value = value.trim_start_matches([' ', '"', '\\']);
        let begins = out.len() - value.len();
        let ends = value.find(['"', '\'', '\\']).map_or(out.len(), |at| begins + at);
        if !is_reference(out[begins..ends].split_whitespace().last().unwrap_or(REDACTED)) {
            out.replace_range(begins..ends, REDACTED);
            from = begins + REDACTED.len();
        }
    }
    from = 0;
    while let Some(at) = find(&out, "bearer ", from).map(|at| at + "bearer ".len()) {
        from = redact_value(&mut out, at, &[' ', '"', '\'', ')', ',']);
    }
    out
}

/// Redacts the values of `NAME=value`, `--flag=value`, `--flag value`, `X-Header: value`, `"key": "value"`.
fn named(line: &str) -> String {
    let mut out = line.to_owned();
    let mut from = 0;
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    while let Some(start) = out[from..].find(of_name).map(|at| from + at) {
        let end = out[start..].find(|c| !of_name(c)).map_or(out.len(), |at| start + at);
        from = end;
        let name = &out[start..end];
        if !is_secret_name(name) {
            continue;
        }
        let rest = &out[end..];
        let quoted_key = rest.trim_start_matches(['"', '\\']);
        let json = quoted_key.strip_prefix(':').filter(|_| quoted_key.len() < rest.len()).map(str::trim_start);
        let header = || rest.strip_prefix(": ").filter(|_| name.contains('-') && !name.starts_with('-'));
        let flag = || rest.strip_prefix(' ').filter(|next| name.starts_with("--") && !next.starts_with('-'));
        let json = json.filter(|value| value.starts_with(['"', '\\']));
        if let Some(value) = rest.strip_prefix('=').or(json).or_else(header).or_else(flag) {
            let at = out.len() - value.len();
            from = redact_value(&mut out, at, &[' ', '\t', '"', '\'', '&', ')', '<']);
        }
    }
    out
}

/// Redacts the value that begins at `at`, with or without quotes around it. Returns where to continue.
fn redact_value(out: &mut String, at: usize, ends: &[char]) -> usize {
    let quoted = out[at..].trim_start_matches('\\');
    let at = out.len() - quoted.len();
    let (begins, length) = match quoted.chars().next().filter(|c| *c == '"' || *c == '\'') {
        Some(quote) => (at + 1, quoted[1..].find(quote).unwrap_or(quoted.len() - 1)),
        None => (at, quoted.find(ends).unwrap_or(quoted.len())),
    };
    if length == 0 || is_reference(&out[begins..begins + length]) {
        return begins + length;
    }
    out.replace_range(begins..begins + length, REDACTED);
    begins + REDACTED.len()
}

/// Redacts the user part of URLs: all of it if it contains a password, and in a web URL also a user alone, which is a
/// token there. Adds the secrets to `found`.
fn urls(line: &str, found: &mut Vec<String>) -> String {
    let mut out = line.to_owned();
    let mut from = 0;
    while let Some(at) = out[from..].find("://").map(|i| from + i + 3) {
        from = at;
        let web = ["http", "https"].iter().any(|scheme| out[..at - 3].to_ascii_lowercase().ends_with(scheme));
        let word = at + out[at..].find([' ', '\t', '"', '\'', ')']).unwrap_or(out.len() - at);
        let host = at + out[at..word].find(['/', '?']).unwrap_or(word - at);
        // If no port follows the colon, the text after it is a password with a slash or a question mark in it.
        let port = |text: &str| text.split_once(':').is_none_or(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
        let user = match out[at..host].rfind('@') {
            Some(user) if web || out[at..at + user].contains(':') => Some(user),
            None if !port(&out[at..host]) => out[at..word].rfind('@'),
            _ => None,
        };
        let Some(user) = user else { continue };
        let secret = out[at..at + user].split_once(':').map_or(&out[at..at + user], |(_, password)| password);
        if !secret.is_empty() && !is_reference(secret) {
            let plain = percent_encoding::percent_decode_str(secret).decode_utf8_lossy().into_owned();
            found.extend([secret.to_owned(), plain]);
            out.replace_range(at..at + user, REDACTED);
        }
    }
    out
}

/// Redacts the passwords of `curl -u me:secret`, `sshpass -p secret`, `mysqldump -psecret`.
fn arguments(line: &str) -> String {
    if !["curl", "wget", "sshpass", "mysql", "mariadb"].iter().any(|program| line.contains(program)) {
        return line.to_owned();
    }
    let mut out: Vec<String> = Vec::new();
    let (mut program, mut before) = ("", "");
    for word in line.split(' ') {
        let name = word.trim_start_matches(['(', '"', '\'', '`', '[']).rsplit('/').next().unwrap_or(word);
        let hide = |head: &str, secret: &str| match secret.is_empty() || is_reference(secret) {
            true => word.to_owned(),
            false => format!("{head}{REDACTED}"),
        };
        let user = |text: &str, head: &str| text.split_once(':').map(|(user, password)| hide(&format!("{head}{user}:"), password));
        out.push(match program {
            "curl" if ["-u", "--user", "-U", "--proxy-user"].contains(&before) => user(word, "").unwrap_or_else(|| word.to_owned()),
            "curl" if word.starts_with("-u") && word.len() > 2 => user(&word[2..], "-u").unwrap_or_else(|| word.to_owned()),
            "sshpass" if before == "-p" => hide("", word),
            "sshpass" if word.starts_with("-p") => hide("-p", &word[2..]),
            "mysql" if word.starts_with("-p") => hide("-p", &word[2..]),
            _ => word.to_owned(),
        });
        // `sshpass` runs another program, which has arguments of its own.
        program = match name {
            "curl" | "wget" => "curl",
            "sshpass" => "sshpass",
            _ if name.starts_with("mysql") || name.starts_with("mariadb") => "mysql",
            _ if program == "sshpass" && !word.starts_with('-') && before != "-p" => "",
            _ if word.ends_with([';', '|', '&']) => "",
            _ => program,
        };
        before = word;
    }
    out.join(" ")
}

/// The position of `wanted`, which is lower-case ASCII, in `text`, in upper or lower case.
fn find(text: &str, wanted: &str, from: usize) -> Option<usize> {
    text.to_ascii_lowercase()[from..].find(wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted() {
        let text = "GET https://key:hush@host/b?X-Amz-Signature=abc123&x=1 Authorization: AWS4 failed";
        let clean = redact(text);
        assert!(!clean.contains("hush") && !clean.contains("abc123") && !clean.contains("AWS4 "), "{clean}");
        assert!(clean.contains("host/b") && clean.contains("x=1"), "{clean}");
        for text in [
            "AWS_SECRET_ACCESS_KEY=hush aws s3 ls",
            "PGPASSWORD=hush pg_dump db",
            "PGPASSWORD='hu sh' pg_dump db",
            "mysqldump --password=hush db",
            "mysqldump --password hush db",
            "mysqldump -u root -phush db",
            "/usr/bin/mysql -phush",
            "sshpass -p hush ssh host",
            "curl -u me:hush https://x/",
            "curl -sS --user me:hush https://x/",
            "curl -H 'Authorization: Basic hush' x",
            "curl -H \"authorization: bearer hush\" x",
            "{\"Authorization\": \"Basic hush\"}",
            "curl -H 'X-Auth-Token: hush' x",
            "https://hush@github.com/a/b",
            "psql postgres://me:hu/s?hhush@db:5432/x",
            "postgres://me:hush@hush@db/x",
            "https://hooks.example/x?token=hush&a=b",
            "{\"password\": \"hush\", \"user\": \"me\"}",
            "{\\\"password\\\":\\\"hush\\\"}",
            "said\nDB_PASS=hush\nmore",
            "?sig=hush",
        ] {
            let clean = redact(text);
            assert!(!clean.contains("hush") && clean.contains(REDACTED), "{text}: {clean}");
            assert_eq!(redact(&clean), clean, "what is redacted stays as it is");
        }
    }

    #[test]
    fn each_copy_of_a_secret_is_redacted() {
        for text in [
            "sftp://me:hush/whisper@nas/x: sftp://me:hush/whisper@nas/x: no such host",
            "postgres://me:hush%2Fwhisper@db/x\nlogin of me with hush/whisper failed",
        ] {
            let clean = redact(text);
            assert!(!clean.contains("whisper") && clean.contains(REDACTED), "{clean}");
        }
    }

    #[test]
    fn a_plain_text_is_left_alone() {
        for text in [
            "sftp://backup@nas/srv: no such file: a?b=c",
            "https://host:8080/pkg@1.0 is gone",
            "PGPASSWORD=$DB_PASSWORD pg_dump",
            "PGPASSWORD=\"$(cat /run/x)\" pg_dump",
            "curl -H \"Authorization: Bearer $TOKEN\" -u $USER:$PASS https://$TOKEN@host/",
            "mysqldump --defaults-extra-file=/root/.my.cnf -p db | ssh -p22 host",
            "pg_dump postgres://me:$PW@db/x",
            "mkdir -pv /srv; tool --password-file=/x --password-file /x",
            "gs://b/p?credentials=/etc/key.json",
            "the token has expired: keep it in the vault",
            "key=sites/default/a.txt",
            "{\"user\": \"me\"}",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
