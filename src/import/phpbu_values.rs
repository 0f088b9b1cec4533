//! Options and values of phpbu that several of its parts have.

use super::notes::Notes;
use super::phpbu_read::PhpbuPart;

/// Adds a note for each option that the import does not know.
pub fn ignored(part: &PhpbuPart, known: &[&str], at: &str, notes: &mut Notes) {
    for (name, _) in part.options.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
        notes.left_out(at, format!("the option {name} of {}", part.kind));
    }
}

/// A value, with `adapter:NAME:PATH` as a variable and a `$` as itself.
pub fn value(text: &str, at: &str, notes: &mut Notes) -> String {
    let Some(path) = text.strip_prefix("adapter:").and_then(|rest| rest.split_once(':')).map(|(_, path)| path) else {
        return text.replace('$', "$$");
    };
    let name: String =
        path.trim_end_matches(':').chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name };
    notes.left_to_do(at, format!("`{text}` is ${name} here: set it in the environment, with --set, or under `variables`"));
    format!("${name}")
}
