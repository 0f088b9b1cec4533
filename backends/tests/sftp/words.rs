//! What users are told when there is no connection, from programs that only pretend to be `ssh`.

use offsite_backends::{Backend, Error, ErrorKind};

use crate::{open, program};

/// What comes of a listing over a program that does this.
async fn told(lines: &str) -> Error {
    let dir = tempfile::tempdir().unwrap();
    let ssh = program(dir.path(), lines);
    let backend = open(&format!("sftp://backup@nas:2222/srv/x?ssh={}", ssh.display()));
    backend.prepare().await.unwrap_err()
}

#[tokio::test]
async fn a_program_that_is_not_there() {
    let error = open("sftp://nas/srv/x?ssh=/no/such/ssh").prepare().await.unwrap_err();
    assert!(error.kind == ErrorKind::Invalid && error.message.contains("?ssh="), "{error}");
}

#[tokio::test]
async fn a_server_without_sftp() {
    let error = told("echo 'subsystem request failed on channel 0' >&2; exit 255").await;
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("Subsystem sftp internal-sftp"), "{error}");
    assert_eq!(error.url, "sftp://backup@nas:2222/srv/x");
}

#[tokio::test]
async fn a_login_script_that_talks() {
    let error = told("echo 'Welcome to nas!'; cat >/dev/null").await;
    assert!(error.kind == ErrorKind::Unsupported && error.message.contains("login script"), "{error}");
}

#[tokio::test]
async fn a_connection_that_closes_without_a_word() {
    let error = told("exit 255").await;
    assert!(error.kind == ErrorKind::Transient && error.message.contains("ssh' -v -s") || error.message.contains("-v -s"), "{error}");
}

#[tokio::test]
async fn a_flood_of_words_ends() {
    let error = told("head -c 200000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last words >&2; exit 1").await;
    assert!(error.message.len() < 2000, "{} bytes", error.message.len());
}
