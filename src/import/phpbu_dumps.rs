//! phpbu's dump sources as commands.
//!
//! Owns the command line of each program, and what its checks become. Invariant: a password is never an argument. A
//! note says where the program finds it.

use super::notes::Notes;
use super::phpbu_read::PhpbuPart;
use super::phpbu_values::{ignored, value};

/// A dump program: its name, options that become flags with values, options that become switches, and where it finds
/// its password.
struct Program {
    name: &'static str,
    flags: &'static [(&'static str, &'static str)],
    switches: &'static [(&'static str, &'static str)],
    secret: &'static str,
}

const MYSQLDUMP: Program = Program {
    name: "mysqldump",
    flags: &[("host", "--host="), ("port", "--port="), ("user", "--user="), ("socket", "--socket="), ("protocol", "--protocol=")],
    switches: &[
        ("singleTransaction", "--single-transaction"),
        ("quick", "--quick"),
        ("lockTables", "--lock-tables"),
        ("hexBlob", "--hex-blob"),
        ("extendedInsert", "--extended-insert"),
        ("skipTriggers", "--skip-triggers"),
    ],
    secret: "$MYSQL_PWD or ~/.my.cnf",
};
const PG_DUMP: Program = Program {
    name: "pg_dump",
    flags: &[("host", "--host="), ("port", "--port="), ("user", "--username="), ("schema", "--schema="), ("encoding", "--encoding=")],
    switches: &[
        ("clean", "--clean"),
        ("noOwner", "--no-owner"),
        ("noPrivileges", "--no-privileges"),
        ("schemaOnly", "--schema-only"),
        ("dataOnly", "--data-only"),
        ("create", "--create"),
        ("ifExists", "--if-exists"),
    ],
    secret: "$PGPASSWORD or ~/.pgpass",
};
const MONGODUMP: Program = Program {
    name: "mongodump",
    flags: &[("host", "--host="), ("user", "--username="), ("authenticationDatabase", "--authenticationDatabase=")],
    switches: &[],
    secret: "a file for its --config",
};
const REDIS: Program = Program { name: "redis-cli", flags: &[("host", "-h"), ("port", "-p")], switches: &[], secret: "$REDISCLI_AUTH" };

/// The name of a dump, and the words of its command. None for an unknown program.
pub fn command(part: &PhpbuPart, at: &str, notes: &mut Notes) -> Option<(String, Vec<String>)> {
    let program = match part.kind.as_str() {
        "mysqldump" => MYSQLDUMP,
        "pgdump" => PG_DUMP,
        "mongodump" => MONGODUMP,
        "redis" => REDIS,
        other => {
            notes.left_out(at, format!("the source {other}: write its command as a dump (docs/dumps.md)"));
            return None;
        }
    };
    let mut words = vec![program.name.to_owned()];
    for (name, flag) in program.flags {
        words.extend(part.get(name).map(|text| format!("{flag}{}", value(text, at, notes))));
    }
    let switched = program.switches.iter().filter(|(name, _)| part.is(name));
    words.extend(switched.map(|(_, flag)| (*flag).to_owned()));
    if part.get("password").is_some() {
        notes.left_to_do(at, format!("the password of {0} is not copied; {0} finds it in {1}", program.name, program.secret));
    }
    let mut known = vec!["password", "pathToMysqldump", "pathToPgdump", "pathToMongodump", "pathToRedisCli", "databases", "database"];
    known.extend(program.flags.iter().chain(program.switches).map(|(name, _)| *name));
    let databases = listed(part, if part.kind == "pgdump" { "database" } else { "databases" });
    let suffix = what(part, &databases, &mut words, &mut known);
    if part.kind == "redis" {
        notes.different(at, "redis is dumped by `redis-cli --rdb -`, not by waiting for BGSAVE and copying the file");
    }
    ignored(part, &known, at, notes);
    let name = databases.first().filter(|_| databases.len() == 1).map_or(at, String::as_str);
    Some((format!("{}.{suffix}", name.replace(['/', '$'], "-")), words))
}

/// Adds the databases to the end of the command line. Returns the suffix of the dump's name.
fn what(part: &PhpbuPart, databases: &[String], words: &mut Vec<String>, known: &mut Vec<&str>) -> &'static str {
    match part.kind.as_str() {
        "mysqldump" => {
            known.extend(["tables", "ignoreTables"]);
            words.extend(listed(part, "ignoreTables").iter().map(|table| format!("--ignore-table={table}")));
            match databases.len() {
                0 => words.push("--all-databases".into()),
                1 => words.extend(databases.iter().cloned()),
                _ => words.extend(["--databases".to_owned()].into_iter().chain(databases.iter().cloned())),
            }
            words.extend(listed(part, "tables"));
            "sql"
        }
        "pgdump" => {
            words.extend(databases.first().map(|name| format!("--dbname={name}")));
            "sql"
        }
        "mongodump" => {
            words.extend(databases.first().map(|name| format!("--db={name}")));
            words.push("--archive".into());
            "archive"
        }
        _ => {
            known.extend(["pathToRedisData", "timeout"]);
            words.extend(["--rdb".to_owned(), "-".to_owned()]);
            "rdb"
        }
    }
}

fn listed(part: &PhpbuPart, name: &str) -> Vec<String> {
    let all = part.get(name).unwrap_or_default().split(',').map(str::trim);
    all.filter(|one| !one.is_empty()).map(|one| one.replace('$', "$$")).collect()
}

/// The values of `min_size` and `max_shrink` for a dump.
pub fn checks(checks: &[PhpbuPart], at: &str, notes: &mut Notes) -> (Option<String>, Option<String>) {
    let (mut min_size, mut max_shrink) = (None, None);
    for check in checks {
        let value = check.get("value").unwrap_or_default();
        match check.kind.to_lowercase().as_str() {
            "sizemin" => min_size = Some(value.to_uppercase()).filter(|size| crate::config::values::size(size).is_ok()),
            "sizediffpreviouspercent" => {
                max_shrink = value.parse::<u8>().ok().map(|percent| format!("{}%", percent.min(100)));
                notes.different(
                    at,
                    "sizediffpreviouspercent also refused a dump that grew; `max_shrink` refuses one that shrank by more than that",
                );
            }
            other => notes.left_out(at, format!("the check {other}")),
        }
    }
    (min_size, max_shrink)
}
