//! A plugin that is a shell script.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::owner::Answer;
use super::*;

/// A plugin that wraps nothing: the file key lies in its stanza. It speaks and asks for a PIN before it opens.
const PLUGIN: &str = r#"#!/bin/sh
answer() { read -r status; read -r given; }
while read -r line; do
  case $line in
  '-> wrap-file-key') read -r key ;;
  '-> recipient-stanza 0 test') read -r key ;;
  '-> done') read -r empty; break ;;
  esac
done
case $1 in
--age-plugin=recipient-v1)
  printf -- '-> recipient-stanza 0 test\n%s\n' "$key"; answer ;;
--age-plugin=identity-v1)
  printf -- '-> msg\ndG91Y2ggbWU\n'; answer
  printf -- '-> request-secret\nUElO\n'; answer
  if [ "$given" != MTIzNA ]; then
    printf -- '-> error identity 0\nd3JvbmcgUElO\n'; answer
  else
    printf -- '-> file-key 0\n%s\n' "$key"; answer
  fi ;;
esac
printf -- '-> done\n\n'
"#;

fn recipient() -> String {
    bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age1test").unwrap(), b"x").unwrap()
}

fn plugin_identity() -> String {
    age::plugin::Identity::default_for_plugin("test").unwrap().to_string()
}

#[test]
fn a_plugin_that_is_not_installed_is_named() {
    let absent = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age1absent").unwrap(), b"x").unwrap();
    let error = seal_keys(&[absent.parse().unwrap()], "text", Answer::new(None)).unwrap_err();
    assert!(matches!(&error, SealError::NoPlugin(name) if name == "age-plugin-absent"), "{error}");
    let identity = age::plugin::Identity::default_for_plugin("absent").unwrap().to_string();
    let error = OwnerIdentities::new(Answer::new(None)).add("id", identity.as_bytes()).unwrap_err();
    assert!(matches!(&error, SealError::NoPlugin(name) if name == "age-plugin-absent"), "{error}");
}

/// Runs the test below with the plugin in `PATH`, which cannot be changed in this process.
#[test]
fn a_plugin_seals_opens_speaks_and_asks() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("age-plugin-test");
    std::fs::write(&program, PLUGIN).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let module = module_path!().split_once("::").unwrap().1;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::with_the_plugin_in_path"), "--ignored"])
        .env("PATH", path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by the test above"]
fn with_the_plugin_in_path() {
    let native = identity();
    let recipients = [recipient().parse().unwrap(), native.recipient().to_string().parse().unwrap()];
    let file = seal_keys(&recipients, "text", Answer::new(None)).unwrap();
    assert_eq!(stanza_kinds(&file).unwrap(), ["X25519", "test"]);
    let unlock = |answer: &std::sync::Arc<Answer>| {
        let mut owner = OwnerIdentities::new(answer.clone());
        owner.add("id", plugin_identity().as_bytes()).unwrap();
        open_keys(&owner, &file).map(|text| text.to_string())
    };
    let answer = Answer::new(Some("1234"));
    assert_eq!(unlock(&answer).unwrap(), "text");
    assert_eq!(answer.take_asked(), ["message: touch me", "PIN"]);
    let error = unlock(&Answer::new(Some("1"))).unwrap_err();
    assert!(matches!(&error, SealError::Plugin(message) if message.contains("wrong PIN")), "{error}");
    assert!(matches!(unlock(&Answer::new(None)), Err(SealError::NoPassphrase)));
}
