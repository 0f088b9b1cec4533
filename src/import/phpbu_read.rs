//! Reads phpbu's configuration from XML and from JSON.
//!
//! Owns the parsers. `phpbu.rs` interprets the result. Invariant: both notations of a configuration give the same
//! result, in the order of the file.

use roxmltree::{Document, Node as Element};

use super::tree::Node;

/// A source, a check, a sync and so on: its type, and its options in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PhpbuPart {
    /// Its type: `mysqldump`, `amazons3` and so on.
    pub kind: String,
    /// Names and values of its options.
    pub options: Vec<(String, String)>,
}

impl PhpbuPart {
    /// The value of an option. None if it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether an option is true. phpbu accepts `true`, `yes` and `1`.
    pub fn is(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| ["true", "yes", "1"].contains(&value.to_lowercase().as_str()))
    }
}

/// One backup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backup {
    pub name: String,
    pub stop_on_failure: bool,
    pub source: PhpbuPart,
    pub target: PhpbuPart,
    pub checks: Vec<PhpbuPart>,
    pub crypt: Option<PhpbuPart>,
    pub syncs: Vec<PhpbuPart>,
    pub cleanup: Option<PhpbuPart>,
}

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    pub loggers: Vec<PhpbuPart>,
    pub backups: Vec<Backup>,
    /// Other keys at the top.
    pub others: Vec<String>,
}

/// Parses XML or JSON.
///
/// # Errors
/// What is wrong with the text, in words.
pub fn read(text: &str) -> Result<Configuration, String> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('<') {
        let document = Document::parse(text).map_err(|e| format!("this is not XML: {e}"))?;
        Ok(from_xml(document.root_element()))
    } else {
        let node: Node = serde_json::from_str(text).map_err(|e| format!("this is not JSON: {e}"))?;
        Ok(from_json(&node))
    }
}

/// A part of the configuration. Its options are attributes and `<option name value/>`.
fn part(element: Element<'_, '_>) -> PhpbuPart {
    let attributes = element.attributes().filter(|a| a.name() != "type").map(|a| (a.name().to_owned(), a.value().to_owned()));
    let options = element.children().filter(|child| child.has_tag_name("option")).map(|option| {
        let value = option.attribute("value").or_else(|| option.text()).unwrap_or_default();
        (option.attribute("name").unwrap_or_default().to_owned(), value.trim().to_owned())
    });
    PhpbuPart { kind: element.attribute("type").unwrap_or_default().to_owned(), options: attributes.chain(options).collect() }
}

fn from_xml(root: Element<'_, '_>) -> Configuration {
    let mut out = Configuration::default();
    for child in root.children().filter(Element::is_element) {
        match child.tag_name().name() {
            "logging" => out.loggers.extend(child.children().filter(Element::is_element).map(part)),
            "backups" => out.backups.extend(child.children().filter(|c| c.has_tag_name("backup")).map(backup)),
            other => out.others.push(other.to_owned()),
        }
    }
    out.others.extend(root.attribute("bootstrap").map(|_| "bootstrap".to_owned()));
    out
}

fn backup(element: Element<'_, '_>) -> Backup {
    // Older files put them into `<checks>` and `<syncs>`.
    let all = |name: &'static str| element.descendants().filter(move |child| child.has_tag_name(name)).map(part);
    let first = |name| all(name).next();
    Backup {
        name: element.attribute("name").unwrap_or_default().to_owned(),
        stop_on_failure: element.attribute("stopOnFailure") == Some("true"),
        source: first("source").unwrap_or_default(),
        target: first("target").unwrap_or_default(),
        checks: all("check").chain(all("sanitycheck")).collect(),
        crypt: first("crypt"),
        syncs: all("sync").collect(),
        cleanup: first("cleanup"),
    }
}

fn from_json(root: &Node) -> Configuration {
    let mut out = Configuration::default();
    for (key, value) in root.entries() {
        match key.as_str() {
            "logging" => out.loggers = value.items().iter().map(json_part).collect(),
            "backups" => out.backups = value.items().iter().map(json_backup).collect(),
            "verbose" | "colors" | "debug" | "$schema" => {}
            other => out.others.push(other.to_owned()),
        }
    }
    out
}

fn json_part(node: &Node) -> PhpbuPart {
    let mut out = PhpbuPart::default();
    for (key, value) in node.entries() {
        match (key.as_str(), value) {
            ("type", value) => out.kind = value.text().unwrap_or_default(),
            ("options", options) => {
                out.options.extend(options.entries().iter().map(|(name, value)| (name.clone(), value.text().unwrap_or_default())));
            }
            (_, value) => out.options.push((key.clone(), value.text().unwrap_or_default())),
        }
    }
    out
}

fn json_backup(node: &Node) -> Backup {
    let one = |key: &str| node.get(key).map(json_part);
    let all = |key: &str| node.get(key).map(|list| list.items().iter().map(json_part).collect()).unwrap_or_default();
    Backup {
        name: node.get("name").and_then(Node::text).unwrap_or_default(),
        stop_on_failure: node.get("stopOnFailure").and_then(Node::text).as_deref() == Some("true"),
        source: one("source").unwrap_or_default(),
        target: one("target").unwrap_or_default(),
        checks: all("checks"),
        crypt: one("crypt"),
        syncs: all("syncs"),
        cleanup: one("cleanup"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_and_json_say_the_same() {
        let xml = r#"<?xml version="1.0"?><phpbu bootstrap="b.php"><logging><log type="json" target="a.json"/></logging><backups>
            <backup name="db" stopOnFailure="true"><source type="mysqldump"><option name="databases" value="shop"/></source>
            <target dirname="/b" filename="x.sql" compress="bzip2"/><checks><check type="sizemin" value="2M"/></checks>
            <sync type="sftp"><option name="host" value="nas"/></sync><cleanup type="quantity"><option name="amount" value="5"/></cleanup>
            </backup></backups></phpbu>"#;
        let json = r#"{"bootstrap":"b.php","logging":[{"type":"json","target":"a.json"}],"backups":[{"name":"db","stopOnFailure":true,
            "source":{"type":"mysqldump","options":{"databases":"shop"}},"target":{"dirname":"/b","filename":"x.sql","compress":"bzip2"},
            "checks":[{"type":"sizemin","value":"2M"}],"syncs":[{"type":"sftp","options":{"host":"nas"}}],
            "cleanup":{"type":"quantity","options":{"amount":5}}}]}"#;
        let (xml, json) = (read(xml).unwrap(), read(json).unwrap());
        assert_eq!(xml, json);
        assert!(xml.backups[0].stop_on_failure && xml.backups[0].syncs[0].get("host") == Some("nas"));
        assert!(read("<phpbu>").is_err() && read("{").is_err());
    }
}
