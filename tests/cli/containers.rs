//! Container volumes as sources, against a stand-in that speaks the engine's HTTP API on a unix socket.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::{Place, Ran, read};

type Answer = (u16, String);

/// An engine that has volumes, and what it was asked.
struct Engine {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    fn answering(place: &Place, answer: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let socket = place.path("engine.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
                while !text.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(got) if got > 0 => text.extend_from_slice(&buffer[..got]),
                        _ => break,
                    }
                }
                let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
                let (status, body) = answer(line.split(' ').nth(1).unwrap_or_default());
                all.lock().unwrap().push(line);
                let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
                let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes());
            }
        });
        Self { socket, asked }
    }

    /// One with these volumes: name, label, mountpoint. It filters as the real ones do.
    fn with(place: &Place, volumes: &[(&str, Option<&str>, &str)]) -> Self {
        let one = |(name, label, mountpoint): &(&str, Option<&str>, &str)| {
            let labels = label.map_or(Value::Null, |label| json!({ "offsite.type": label }));
            json!({ "Name": name, "Driver": "local", "Mountpoint": mountpoint, "Labels": labels, "Scope": "local", "Options": null })
        };
        let all: Vec<Value> = volumes.iter().map(one).collect();
        Self::answering(place, move |path| {
            if let Some(query) = path.strip_prefix("/volumes?filters=") {
                let wanted = query.contains("offsite.type");
                let found: Vec<&Value> = all.iter().filter(|volume| wanted && !volume["Labels"].is_null()).collect();
                return (
                    200,
                    json!({ "Volumes": if found.is_empty() { Value::Null } else { json!(found) }, "Warnings": null }).to_string(),
                );
            }
            let name = path.strip_prefix("/volumes/").unwrap_or_default();
            match all.iter().find(|volume| volume["Name"] == name) {
                Some(volume) => (200, volume.to_string()),
                None => (404, json!({ "message": format!("get {name}: no such volume") }).to_string()),
            }
        })
    }
}

impl Place {
    fn run_at(&self, socket: &std::path::Path, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offsite"));
        command.args(args).current_dir(self.dir.path()).env_clear();
        command.env("OFFSITE_CACHE_DIR", self.path("cache")).env("TZ", "UTC").env("HOME", self.dir.path());
        Ran::from(command.env("DOCKER_HOST", format!("unix://{}", socket.display())).output().unwrap())
    }

    fn json_at(&self, engine: &Engine, args: &[&str]) -> (i32, Value) {
        let ran = self.run_at(&engine.socket, &[args, &["--json"]].concat());
        (ran.code, serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{args:?}: {e}: {}{}", ran.out, ran.err)))
    }

    /// Directories as an engine lays volumes out, one file in each.
    fn volumes(&self, names: &[&str]) -> Vec<String> {
        let dir = |name: &&str| {
            let dir = self.path(&format!("volumes/{name}/_data"));
            fs::create_dir_all(dir.join("files")).unwrap();
            fs::write(dir.join("files/own.txt"), name).unwrap();
            fs::write(dir.join("top.txt"), "top").unwrap();
            dir.display().to_string()
        };
        names.iter().map(dir).collect()
    }
}

const ONE: &str = r#"{ "jobs": { "web": { "source": "docker-volume:acme_web", "missing": "skip", "destinations": ["$HERE/copy"] },
                                 "site": { "source": "$HERE/site", "destinations": ["$HERE/other"] } } }"#;
const ALL: &str = r#"{ "destinations": { "near": "$HERE/near/$VOLUME" },
    "jobs": { "volumes": { "source": "docker-volumes", "missing": "skip", "destinations": ["near"], "subdirectories": { "vdrupal": "files" },
                           "before": ["echo $OFFSITE_VOLUME $OFFSITE_TYPE >> $HOME_OF_TEST"] } },
    "variables": { "HOME_OF_TEST": "$$HERE/hooks" } }"#;

fn all() -> String {
    ALL.replace("$$HERE", "$HERE")
}

#[test]
fn a_volume_is_read_where_the_engine_says() {
    let place = Place::new();
    let at = place.volumes(&["acme_web"]);
    let engine = Engine::with(&place, &[("acme_web", None, &at[0])]);
    place.config(ONE);
    let ran = place.run_at(&engine.socket, &["run"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("copy/files/own.txt")), "acme_web");
    assert_eq!(*engine.asked.lock().unwrap(), ["GET /volumes/acme_web HTTP/1.1"], "asked once, and nothing else");
    // A job without a volume is nobody's question.
    assert_eq!(place.run_at(&engine.socket, &["run", "site"]).code, 0);
    assert_eq!(engine.asked.lock().unwrap().len(), 1);
}

#[test]
fn volumes_are_found_by_their_label_which_says_their_type() {
    let place = Place::new();
    let at = place.volumes(&["acme", "beta", "cache", "db"]);
    let volumes =
        [("db", Some(""), &*at[3]), ("acme", Some("vdrupal"), &*at[0]), ("beta", Some("vwp"), &*at[1]), ("cache", Some("ignore"), &*at[2])];
    let others = [("nolabel", None, "/nowhere"), ("nfs", Some("vwp"), ""), ("..", Some("vwp"), "/etc")];
    let engine = Engine::with(&place, &[&volumes[..], &others].concat());
    place.config(&all());
    let (code, run) = place.json_at(&engine, &["run"]);
    let said = |job: &Value| format!("{} {} {}", job["volume"], job["type"], job["result"]).replace('"', "");
    let jobs: Vec<String> = run["jobs"].as_array().unwrap().iter().map(said).collect();
    let wanted = ["null null skipped", "acme vdrupal done", "beta vwp done", "cache ignore ignored", "db null done", "nfs vwp skipped"];
    assert_eq!((code, jobs), (0, wanted.map(str::to_owned).to_vec()), "{run}");
    assert_eq!(read(place.path("near/acme/files/own.txt")), "acme");
    assert!(!place.path("near/acme/top.txt").exists() && place.path("near/beta/top.txt").exists() && !place.path("near/cache").exists());
    assert_eq!(read(place.path("hooks")), "acme vdrupal\nbeta vwp\ndb\n");
    // One volume, and those of one type.
    let (_, one) = place.json_at(&engine, &["run", "--set", "VOLUME=beta"]);
    assert_eq!((one["jobs"].as_array().unwrap().len(), &one["jobs"][0]["volume"]), (1, &"beta".into()));
    let (_, of_type) = place.json_at(&engine, &["run", "--type", "vdrupal", "--dry-run"]);
    assert_eq!((of_type["jobs"].as_array().unwrap().len(), &of_type["jobs"][0]["volume"]), (1, &"acme".into()));
    let none = place.run_at(&engine.socket, &["run", "--type", "vdruppal"]);
    assert!(none.out.contains("no volume at ") && none.out.contains("offsite.type=vdruppal"), "{}{}", none.out, none.err);
    // The other verbs.
    let checked = place.run_at(&engine.socket, &["config", "check"]);
    for word in ["volumes/acme (vdrupal)  /", "near/acme/files", "volumes/cache (ignore)  ignored", "its driver `local` reports none"] {
        assert!(checked.out.contains(word), "{word}: {}{}", checked.out, checked.err);
    }
    assert_eq!(place.json_at(&engine, &["report"]).1["destinations"].as_array().unwrap().len(), 4);
    assert_eq!(place.run_at(&engine.socket, &["status", "--set", "VOLUME=acme"]).code, 0);
    let which = place.run_at(&engine.socket, &["pull", "volumes@near", "back"]);
    assert!(which.code == 2 && which.err.contains("--set VOLUME=") && which.err.contains("beta"), "{}", which.err);
    assert_eq!(place.run_at(&engine.socket, &["pull", "volumes@near", "back", "--set", "VOLUME=beta"]).code, 0);
    assert_eq!(read(place.path("back/files/own.txt")), "beta");
    assert!(engine.asked.lock().unwrap().iter().all(|line| line.starts_with("GET /volumes")), "nothing is changed at the engine");
}

#[test]
fn a_volume_comes_back_to_a_machine_without_an_engine() {
    let place = Place::new();
    let at = place.volumes(&["acme"]);
    let engine = Engine::with(&place, &[("acme", Some("vdrupal"), &at[0])]);
    place.config(&all());
    assert_eq!(place.run_at(&engine.socket, &["run"]).code, 0);
    let nowhere = place.path("nowhere.sock");
    let which = ["--set", "VOLUME=acme", "--type", "vdrupal"];
    let ran = place.run_at(&nowhere, &[&["pull", "volumes@near", "back"], &which[..]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(read(place.path("back/own.txt")), "acme");
    assert_eq!(place.run_at(&nowhere, &[&["status"], &which[..]].concat()).code, 0);
    // Without the name nobody knows which places to look at, and that is no good news.
    for verb in ["status", "report"] {
        let ran = place.run_at(&nowhere, &[verb]);
        assert!(ran.code == 1 && ran.err.contains("the container engine cannot be reached: no socket at "), "{verb}: {}", ran.err);
    }
}

#[test]
fn a_schedule_lets_tomorrows_volumes_be_written_too() {
    let place = Place::new();
    let at = place.volumes(&["acme"]);
    let engine = Engine::with(&place, &[("acme", Some("vdrupal"), &at[0])]);
    place.config(&all());
    assert_eq!(place.run_at(&engine.socket, &["run"]).code, 0, "now the place of this volume is there");
    let install = ["schedule", "install", "--daily", "03:00", "--units", "units"];
    let ran = place.run_at(&engine.socket, &install);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let unit = read(place.path("units/offsite.service"));
    assert!(unit.contains(&format!("ReadWritePaths=-{}\n", place.path("near").display())), "{unit}");
    // Where nobody knows what will be written, nothing is installed.
    let ran = place.run_at(&place.path("nowhere.sock"), &install);
    assert!(ran.code == 1 && ran.err.contains("the container engine cannot be reached"), "{}", ran.err);
}

#[test]
fn each_volume_needs_a_place_apart() {
    let place = Place::new();
    let at = place.volumes(&["acme", "beta"]);
    let engine = Engine::with(&place, &[("acme", Some(""), &at[0]), ("beta", Some(""), &at[1])]);
    place.config(&all().replace("near/$VOLUME", "near"));
    let ran = place.run_at(&engine.socket, &["run", "--set", "VOLUME=acme"]);
    assert!(ran.code == 2 && ran.err.contains("put $VOLUME into this URL"), "{}", ran.err);
    place.config(&all().replace("near/$VOLUME", "near/${VOLUME}"));
    assert_eq!(place.run_at(&engine.socket, &["run"]).code, 0);
    place.config(&ONE.replace("\"destinations\": [\"$HERE/copy\"]", "\"label\": \"x\", \"destinations\": [\"$HERE/copy\"]"));
    assert!(place.run_at(&engine.socket, &["run"]).err.contains("`label` is for the source `docker-volumes`"));
}

#[test]
fn a_volume_that_is_not_there_is_named_with_its_socket() {
    let place = Place::new();
    let engine = Engine::with(&place, &[]);
    place.config(ONE);
    let ran = place.run_at(&engine.socket, &["run"]);
    for word in ["web  skipped: no volume `acme_web` at ", "engine.sock", "`docker volume ls`", "PROJECT_acme_web"] {
        assert!(ran.code == 0 && ran.out.contains(word), "{word}: {}{}", ran.out, ran.err);
    }
    place.config(&ONE.replace("\"missing\": \"skip\", ", ""));
    let (code, run) = place.json_at(&engine, &["run"]);
    assert_eq!((code, &run["jobs"][0]["result"], &run["jobs"][1]["result"]), (1, &"failed".into(), &"done".into()));
    // No volume at all is said, and fails where it is to.
    place.config(&all());
    let none = place.run_at(&engine.socket, &["run"]);
    assert!(none.code == 0 && none.out.contains("no volume at ") && none.out.contains("`offsite.type`"), "{}", none.out);
    place.config(&all().replace("\"missing\": \"skip\", ", ""));
    assert_eq!([&["run"][..], &["status"]].map(|args| place.run_at(&engine.socket, args).code), [1, 1]);
}

#[test]
fn an_engine_that_cannot_be_asked_fails_its_job_and_no_other() {
    let place = Place::new();
    let check = |place: &Place, socket: &std::path::Path, said: &str| {
        for config in [ONE.to_owned(), all()] {
            place.config(&config);
            let ran = place.run_at(socket, &["run"]);
            assert!(ran.code == 1 && ran.err.contains("the container engine cannot be reached: "), "{said}: {}{}", ran.out, ran.err);
            assert!(ran.err.contains(said), "{said}: {}", ran.err);
            let checked = place.run_at(socket, &["config", "check"]);
            assert!(
                checked.code == 0 && checked.out.contains("the container engine cannot be reached: "),
                "{}{}",
                checked.out,
                checked.err
            );
        }
        place.config(ONE);
        assert!(place.run_at(socket, &["run"]).out.contains("site  done"));
        assert!(!place.path("copy").exists() && !place.path("near").exists());
    };
    check(&place, &place.path("nowhere.sock"), "name its socket in DOCKER_HOST=unix://");
    let answers: [(Answer, &str); 6] = [
        ((500, json!({ "message": "the daemon is on fire" }).to_string()), "it answered 500 Internal Server Error: the daemon is on fire"),
        ((404, "<h1>not found</h1>".into()), "it answered 404"),
        ((200, "<h1>welcome</h1>".into()), "is this a Docker or Podman socket?"),
        ((200, json!({ "Volumes": [{ "Nom": 1 }], "Name": 7 }).to_string()), "is this a Docker or Podman socket?"),
        ((302, String::new()), "it answered 302"),
        ((200, String::new()), "is this a Docker or Podman socket?"),
    ];
    for (answer, said) in answers {
        let engine = Engine::answering(&place, move |_| answer.clone());
        check(&place, &engine.socket, said);
    }
    // A socket that nobody listens at any more, and no HTTP at all.
    let gone = place.path("gone.sock");
    drop(UnixListener::bind(&gone).unwrap());
    check(&place, &gone, "the connection was refused");
    let other = place.path("other.sock");
    let listener = UnixListener::bind(&other).unwrap();
    thread::spawn(move || listener.incoming().for_each(|stream| drop(stream.map(|mut stream| stream.write_all(b"SSH-2.0-x\r\n\r\n")))));
    check(&place, &other, "is this a Docker or Podman socket?");
}

#[test]
fn a_socket_that_may_not_be_used() {
    let place = Place::new();
    let engine = Engine::with(&place, &[]);
    place.config(ONE);
    for (name, mode) in [("engine.sock", 0o600), ("offsite.json", 0o644), ("", 0o777)] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // Root may use every socket, so this is somebody else, who may not be let in to where the program was built.
    let program = place.path("program");
    let nobody = 65534;
    let run = |program: &std::path::Path| {
        let mut command = Command::new(program);
        command.args(["run", "web", "--cache-dir", "own"]).current_dir(place.dir.path()).env_clear();
        command.env("HOME", place.dir.path()).env("DOCKER_HOST", format!("unix://{}", engine.socket.display()));
        if rustix::process::geteuid().is_root() { command.uid(nobody).gid(nobody) } else { &mut command }.output()
    };
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&engine.socket, fs::Permissions::from_mode(0o000)).unwrap();
    }
    let ran = run(env!("CARGO_BIN_EXE_offsite").as_ref()).or_else(|_| {
        fs::copy(env!("CARGO_BIN_EXE_offsite"), &program)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        run(&program)
    });
    let ran = Ran::from(ran.unwrap());
    assert!(ran.code == 1 && ran.err.contains("permission denied; run offsite as root"), "{}{}", ran.out, ran.err);
}

#[test]
fn in_a_container_the_hosts_directory_of_volumes_is_elsewhere() {
    let place = Place::new();
    place.volumes(&["acme_web"]);
    let engine = Engine::with(&place, &[("acme_web", None, "/no/such/volumes/acme_web/_data")]);
    place.config(ONE);
    let ran = place.run_at(&engine.socket, &["run"]);
    assert!(ran.code == 1 && ran.err.contains("name it in `volumes_root`"), "a volume that is there is not passed over: {}", ran.err);
    place.config(&ONE.replace("{ \"jobs\"", "{ \"volumes_root\": \"$HERE/volumes\", \"jobs\""));
    let ran = place.run_at(&engine.socket, &["run"]);
    assert_eq!((ran.code, read(place.path("copy/files/own.txt"))), (0, "acme_web".to_owned()), "{}", ran.err);
}
