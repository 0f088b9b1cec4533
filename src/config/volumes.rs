//! Sources that are container volumes: `docker-volume:NAME`, and `docker-volumes` for all that have a label.
//!
//! Owns what such a source stands for: one pair of job and type for each volume, or the reason why no volume can be
//! read. Asks the engine only through `Volumes`, and only for such a source.
//! Invariants: an engine that cannot be reached fails only the jobs that need it. A text from an engine becomes a part
//! of a path or URL only if it is a single name.

use std::path::{Component, Path, PathBuf};

use super::asked::Selection;
use super::job::VolumeUnavailable;
use crate::containers::Volume;

/// The source that stands for every volume with a label.
pub const ALL: &str = "docker-volumes";
/// The variable that holds the name of a volume.
pub const VARIABLE: &str = "VOLUME";
/// The prefix of every source that needs an engine.
pub const ALL_KINDS: &str = "docker-volume";
const ONE: &str = "docker-volume:";
const LABEL: &str = "offsite.type";
/// The value of a label that excludes its volume.
const IGNORE: &str = "ignore";

/// One pair of job and type that a source stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundVolume {
    /// The volume, if the source is `docker-volumes`.
    pub volume: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// The type is the value of the label. The job need not know it.
    pub by_label: bool,
    /// The directory, or the written source if the directory is unknown.
    pub source: String,
    /// The directory of the volume, or why it cannot be read. None for a source that is no volume.
    pub mounted: Option<Result<PathBuf, VolumeUnavailable>>,
    /// The label says that the volume is left out.
    pub ignored: bool,
    /// No destination, because the name of the volume is unknown or cannot be a part of a URL.
    pub nowhere: bool,
}

/// What a source stands for, at least one element. The variables of `source` are expanded.
///
/// # Errors
/// The mistake in the config, in words.
pub fn find(source: &str, label: Option<&str>, root: Option<&Path>, asked: &Selection<'_>) -> Result<Vec<FoundVolume>, String> {
    if source == ALL {
        return labelled(label.unwrap_or(LABEL), root, asked);
    }
    if label.is_some() {
        return Err(format!("`label` is for the source `{ALL}`"));
    }
    let plain = FoundVolume { kind: asked.kind.map(str::to_owned), source: source.to_owned(), ..FoundVolume::default() };
    let Some(name) = source.strip_prefix(ONE) else { return Ok(vec![plain]) };
    if !is_name(name) {
        return Err(format!("`{name}` is not a volume name; volume names have letters, digits, `-`, `_` and `.`"));
    }
    let mounted = match asked.volumes.named(name) {
        Ok(Some(volume)) => place(&volume, root),
        Ok(None) => Err(VolumeUnavailable::Missing(format!(
            "no volume `{name}` at {}; `docker volume ls` lists the volumes (compose puts the project before the name: PROJECT_{name})",
            asked.volumes.shown()
        ))),
        Err(why) => Err(VolumeUnavailable::Unknown(unasked(&why))),
    };
    let source = mounted.as_ref().map_or_else(|_| source.to_owned(), |path| path.to_string_lossy().into_owned());
    Ok(vec![FoundVolume { source, mounted: Some(mounted), ..plain }])
}

fn labelled(label: &str, root: Option<&Path>, asked: &Selection<'_>) -> Result<Vec<FoundVolume>, String> {
    let wanted = asked.set.iter().find(|(name, _)| name == VARIABLE).map(|(_, value)| value.as_str());
    if let Some(name) = wanted.filter(|name| !is_name(name)) {
        return Err(format!("`{name}` is not a volume name; with `{ALL}`, ${VARIABLE} must be one"));
    }
    let unavailable = match asked.volumes.labelled(label) {
        Err(why) => VolumeUnavailable::Unknown(unasked(&why)),
        Ok(all) => {
            let fits = |found: &FoundVolume| asked.kind.is_none() || found.kind.as_deref() == asked.kind;
            let all = all.iter().filter(|volume| wanted.is_none_or(|name| volume.name == name));
            let found: Vec<FoundVolume> = all.map(|volume| one(volume, label, root)).filter(fits).collect();
            if !found.is_empty() {
                return Ok(found);
            }
            let (which, kind) =
                (wanted.map_or(String::new(), |name| format!(" `{name}`")), asked.kind.map_or(String::new(), |kind| format!("={kind}")));
            VolumeUnavailable::Missing(format!("no volume{which} at {} has the label `{label}{kind}`", asked.volumes.shown()))
        }
    };
    // A volume that the user named has its destinations, even if it does not exist here.
    Ok(vec![FoundVolume {
        volume: wanted.map(str::to_owned),
        kind: asked.kind.map(str::to_owned),
        by_label: wanted.is_none(),
        source: wanted.map_or_else(|| ALL.to_owned(), |name| format!("{ONE}{name}")),
        mounted: Some(Err(unavailable)),
        ignored: false,
        nowhere: wanted.is_none(),
    }])
}

/// A volume that has the label.
fn one(volume: &Volume, label: &str, root: Option<&Path>) -> FoundVolume {
    let kind = volume.labels.get(label).map_or("", |kind| kind.trim());
    let mut found = FoundVolume { by_label: true, source: format!("{ONE}{}", volume.name), ..FoundVolume::default() };
    let refused = |what: String| {
        Some(Err(VolumeUnavailable::Missing(format!("{what}; a destination's name can have only letters, digits, `-`, `_` and `.`"))))
    };
    if !is_name(&volume.name) {
        return FoundVolume {
            mounted: refused(format!("the volume `{}` is skipped because of its name", volume.name)),
            nowhere: true,
            ..found
        };
    }
    found.volume = Some(volume.name.clone());
    if !kind.is_empty() && !is_name(kind) {
        let what = format!("the volume `{}` is skipped because of its label `{label}={kind}`", volume.name);
        return FoundVolume { mounted: refused(what), nowhere: true, ..found };
    }
    found.kind = Some(kind.to_owned()).filter(|kind| !kind.is_empty());
    found.ignored = kind == IGNORE;
    let mounted = place(volume, root);
    if let Ok(path) = &mounted {
        found.source = path.to_string_lossy().into_owned();
    }
    FoundVolume { mounted: Some(mounted), ..found }
}

/// The directory of a volume on this machine.
fn place(volume: &Volume, root: Option<&Path>) -> Result<PathBuf, VolumeUnavailable> {
    let (name, path) = (&volume.name, Path::new(&volume.mountpoint));
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        let driver = &volume.driver;
        return Err(VolumeUnavailable::Missing(format!(
            "the volume `{name}` has no directory on this machine: its driver `{driver}` reports none"
        )));
    }
    let Some(root) = root else { return Ok(path.to_path_buf()) };
    let own = [Path::new(name).join("_data"), PathBuf::from(name)];
    own.iter().find(|own| path.ends_with(own)).map(|own| root.join(own)).ok_or_else(|| {
        VolumeUnavailable::Missing(format!(
            "the volume `{name}` is at {}, which is outside the directory that `volumes_root` stands for",
            path.display()
        ))
    })
}

/// Whether a text is a name as engines allow it, which is a single name in a path or URL.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn unasked(why: &str) -> String {
    format!("the container engine cannot be reached: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::Volumes;

    struct Fake(Result<Vec<Volume>, String>);

    impl Volumes for Fake {
        fn named(&self, name: &str) -> Result<Option<Volume>, String> {
            Ok(self.0.clone()?.into_iter().find(|volume| volume.name == name))
        }

        fn labelled(&self, label: &str) -> Result<Vec<Volume>, String> {
            Ok(self.0.clone()?.into_iter().filter(|volume| volume.labels.contains_key(label)).collect())
        }

        fn shown(&self) -> String {
            "/e.sock".into()
        }
    }

    fn volume(name: &str, kind: &str, mountpoint: &str) -> Volume {
        let labels = [(LABEL.to_owned(), kind.to_owned())].into();
        Volume { name: name.into(), driver: "d".into(), mountpoint: mountpoint.into(), labels }
    }

    fn found(
        source: &str,
        root: Option<&str>,
        kind: Option<&str>,
        set: &[(String, String)],
        engine: &Fake,
    ) -> Result<Vec<FoundVolume>, String> {
        find(source, None, root.map(Path::new), &Selection { jobs: &[], kind, set, env: &|_| None, host: "h", volumes: engine })
    }

    #[test]
    fn names_that_could_lead_elsewhere_become_no_place() {
        let engine =
            Fake(Ok(["../../etc", "a?endpoint=x", "..", "a/b", "", "-x", "good.one_1"].map(|name| volume(name, "t", "/v")).to_vec()));
        let all = found(ALL, None, None, &[], &engine).unwrap();
        let places: Vec<_> = all.iter().filter(|found| !found.nowhere).map(|found| found.volume.clone().unwrap()).collect();
        assert_eq!((all.len(), places), (7, vec!["good.one_1".to_owned()]));
        let engine = Fake(Ok(["../x", "a b", "ok"].map(|kind| volume("v", kind, "/v")).to_vec()));
        let all = found(ALL, None, None, &[], &engine).unwrap();
        assert_eq!(all.iter().map(|found| found.nowhere).collect::<Vec<_>>(), [true, true, false]);
        for source in ["docker-volume:", "docker-volume:../x", "docker-volume:a/b"] {
            assert!(found(source, None, None, &[], &engine).is_err(), "{source}");
        }
    }

    #[test]
    fn a_root_stands_for_the_directory_of_volumes() {
        let at = |name: &str, mountpoint: &str, root| place(&volume(name, "", mountpoint), root);
        let root = Some(Path::new("/volumes"));
        assert_eq!(at("web", "/var/lib/docker/volumes/web/_data", None), Ok("/var/lib/docker/volumes/web/_data".into()));
        assert_eq!(at("web", "/var/lib/docker/volumes/web/_data", root), Ok("/volumes/web/_data".into()));
        assert_eq!(at("_data", "/s/volumes/_data/_data", root), Ok("/volumes/_data/_data".into()));
        assert_eq!(at("var", "/var/lib/volumes/var", root), Ok("/volumes/var".into()));
        for (mountpoint, root) in [("/mnt/elsewhere", root), ("", None), ("relative", None), ("/v/../../etc", None)] {
            assert!(matches!(at("web", mountpoint, root), Err(VolumeUnavailable::Missing(_))), "{mountpoint}");
        }
    }

    #[test]
    fn the_label_says_the_type_and_one_volume_can_be_picked() {
        let engine =
            Fake(Ok(vec![volume("a", "vwp", "/v/a"), volume("b", "ignore", "/v/b"), volume("c", "", "/v/c"), volume("n", "vwp", "")]));
        let all = found(ALL, None, None, &[], &engine).unwrap();
        let said: Vec<_> = all.iter().map(|f| (f.volume.as_deref().unwrap(), f.kind.as_deref(), f.ignored, f.source.as_str())).collect();
        let wanted = [("a", Some("vwp"), false, "/v/a"), ("b", Some("ignore"), true, "/v/b"), ("c", None, false, "/v/c")];
        assert_eq!(said[..3], wanted);
        assert!(matches!(&all[3].mounted, Some(Err(VolumeUnavailable::Missing(why))) if why.contains("driver `d`")));
        let of_type = found(ALL, None, Some("vwp"), &[], &engine).unwrap();
        assert_eq!(of_type.len(), 2);
        let set = [("VOLUME".to_owned(), "c".to_owned())];
        assert_eq!(found(ALL, None, None, &set, &engine).unwrap()[0].source, "/v/c");
    }

    #[test]
    fn a_volume_that_is_named_has_its_places_without_an_engine() {
        let engine = Fake(Err("nobody".into()));
        let none = found(ALL, None, None, &[], &engine).unwrap();
        assert!(none[0].nowhere && matches!(&none[0].mounted, Some(Err(VolumeUnavailable::Unknown(why))) if why.contains("nobody")));
        let set = [("VOLUME".to_owned(), "c".to_owned())];
        let named = found(ALL, None, Some("t"), &set, &engine).unwrap();
        assert_eq!((named[0].volume.as_deref(), named[0].kind.as_deref(), named[0].nowhere), (Some("c"), Some("t"), false));
    }
}
