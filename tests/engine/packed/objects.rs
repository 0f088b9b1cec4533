//! The objects of a packed destination, read as `docs/format.md` says, with nothing of the program. Sealed ones are opened
//! with the `age` crate and the owner's identity.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use offsite_backends::Backend;
use serde_json::Value;

use crate::harness::{named, owner, sealed};

/// Everything below `.offsite/`, by key, as it lies there.
pub struct Objects(pub BTreeMap<String, Bytes>, Opened);

/// The keys of a sealed destination, and what was opened with them.
#[derive(Default)]
struct Opened {
    keys: Vec<age::x25519::Identity>,
    bodies: RefCell<BTreeMap<String, Bytes>>,
}

fn unsealed<'a>(sealed: &[u8], identities: impl Iterator<Item = &'a age::x25519::Identity>) -> Vec<u8> {
    let mut plain = Vec::new();
    let opened = age::Decryptor::new(sealed).unwrap().decrypt(identities.map(|identity| identity as &dyn age::Identity));
    opened.unwrap().read_to_end(&mut plain).unwrap();
    plain
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

fn number(value: &Value, member: &str) -> usize {
    value[member].as_u64().unwrap_or_else(|| panic!("no {member} in {value}")) as usize
}

fn lines(raw: &[u8]) -> Vec<Value> {
    raw.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

pub fn key_of(pack: &str) -> String {
    named(&format!(".offsite/packs/{}/{pack}.zst", &pack[..2]))
}

impl Objects {
    pub async fn of(backend: &Arc<dyn Backend>) -> Self {
        let store = backend.store();
        let listed: Result<Vec<_>, _> = store.list(Some(&".offsite".into())).try_collect().await;
        // A directory that no run has made yet.
        let missing = matches!(listed, Err(object_store::Error::NotFound { .. }));
        let listed = if missing { Vec::new() } else { listed.unwrap() };
        let mut all = BTreeMap::new();
        for meta in listed {
            let body = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
            all.insert(meta.location.to_string(), body);
        }
        let files = all.iter().filter(|(key, _)| key.starts_with(".offsite/keys/"));
        let texts = files.map(|(_, body)| String::from_utf8(unsealed(body, [owner()].into_iter())).unwrap());
        let keys = texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect();
        Self(all, Opened { keys, ..Opened::default() })
    }

    /// The object with this plain name, opened if it is sealed.
    pub fn plain(&self, key: &str) -> Bytes {
        let body = &self.0[&named(key)];
        let mut bodies = self.1.bodies.borrow_mut();
        let opened = |_: &str| if sealed() { unsealed(body, self.1.keys.iter()).into() } else { body.clone() };
        bodies.entry(key.to_owned()).or_insert_with_key(|key| opened(key)).clone()
    }

    fn below(&self, folder: &str) -> impl Iterator<Item = &String> {
        self.0.keys().filter(move |key| key.starts_with(folder))
    }

    /// The keys of all packs.
    pub fn packs(&self) -> BTreeSet<String> {
        self.below(".offsite/packs/").cloned().collect()
    }

    /// Bytes of all packs.
    pub fn pack_bytes(&self) -> u64 {
        self.packs().iter().map(|key| self.0[key].len() as u64).sum()
    }

    pub fn snapshots(&self) -> Vec<u64> {
        let numbers =
            self.below(".offsite/snapshots/").filter_map(|key| key.strip_suffix(&named(".json"))?.rsplit('/').next()?.parse().ok());
        numbers.collect()
    }

    /// The entries of a snapshot, in order.
    pub fn entries(&self, snapshot: u64) -> Vec<Value> {
        let snapshot: Value = serde_json::from_slice(&self.plain(&format!(".offsite/snapshots/{snapshot:012}.json"))).unwrap();
        let mut out = Vec::new();
        if !snapshot["root"].is_null() {
            self.page(&snapshot["root"], "", &mut out);
        }
        out
    }

    fn page(&self, reference: &Value, within: &str, out: &mut Vec<Value>) {
        let object = reference["object"].as_str().unwrap_or(within);
        let body = self.plain(&format!(".offsite/pages/{object}.jsonl.zst"));
        let frame = &body[number(reference, "offset")..][..number(reference, "length")];
        let lines = lines(&zstd::decode_all(frame).unwrap());
        match number(reference, "level") {
            0 => out.extend(lines),
            _ => lines.iter().for_each(|child| self.page(child, object, out)),
        }
    }

    /// The bytes of a place: of a piece, or of a list.
    pub fn at(&self, place: &Value, size: usize) -> Vec<u8> {
        let pack = text(place, "pack");
        let pack = self.plain(&format!(".offsite/packs/{}/{pack}.zst", &pack[..2]));
        let frame = &pack[number(place, "frame")..][..number(place, "length")];
        let skip = place["skip"].as_u64().unwrap_or(0) as usize;
        zstd::decode_all(frame).unwrap()[skip..skip + size].to_vec()
    }

    /// Every place that a content needs, with its length and its hash: pieces, lists, and the pieces of lists.
    pub fn places(&self, entry: &Value) -> Vec<(Value, usize, String)> {
        let content = &entry["content"];
        let piece = |piece: &Value| (piece.clone(), number(piece, "size"), text(piece, "hash").to_owned());
        let members = |name: &str| content[name].as_array().cloned().unwrap_or_default();
        let mut out: Vec<_> = members("pieces").iter().map(piece).collect();
        if !content["at"].is_null() {
            out.push((content["at"].clone(), number(entry, "size"), text(content, "hash").to_owned()));
        }
        for list in members("lists") {
            let (raw, hash) = (number(&list, "raw"), text(&list, "hash").to_owned());
            let pieces = lines(&self.at(&list, raw));
            let mut inside: BTreeMap<&str, u64> = BTreeMap::new();
            for piece in &pieces {
                let end = inside.entry(text(piece, "pack")).or_default();
                *end = (*end).max((number(piece, "frame") + number(piece, "length")) as u64);
            }
            let said = list["packs"].as_array().unwrap().iter().map(|one| (one[0].as_str().unwrap(), one[1].as_u64().unwrap()));
            assert!(said.eq(inside) && pieces.len() == number(&list, "count"), "{list}");
            out.push((list, raw, hash));
            out.extend(pieces.iter().map(piece));
        }
        out
    }

    /// The keys of the packs that a snapshot names.
    pub fn named_by(&self, snapshot: u64) -> BTreeSet<String> {
        let places = self.entries(snapshot).into_iter().flat_map(|entry| self.places(&entry));
        places.map(|(place, _, _)| key_of(text(&place, "pack"))).collect()
    }

    /// The keys of the packs that any snapshot names.
    pub fn named(&self) -> BTreeSet<String> {
        self.snapshots().into_iter().flat_map(|number| self.named_by(number)).collect()
    }

    /// Every pack has the name of its bytes, and every place of every snapshot holds what its hash says.
    #[track_caller]
    pub fn nothing_is_missing(&self, about: &str) {
        for key in self.packs() {
            assert_eq!(key_of(blake3::hash(&self.0[&key]).to_hex().as_str()), key, "{about}");
        }
        let mut seen = BTreeSet::new();
        for snapshot in self.snapshots() {
            for entry in self.entries(snapshot) {
                let places = self.places(&entry);
                let has = entry["kind"].is_null() && entry["size"].as_u64().unwrap_or(0) > 0;
                assert_eq!(has, !places.is_empty(), "{about}: snapshot {snapshot}: {entry}");
                for (place, size, hash) in places {
                    if seen.insert((place.to_string(), hash.clone())) {
                        let there = self.at(&place, size);
                        assert_eq!(blake3::hash(&there).to_hex().as_str(), hash, "{about}: snapshot {snapshot}: {entry}");
                    }
                }
            }
        }
    }
}
