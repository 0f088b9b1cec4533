//! Tests of sealing against the `age` crate, the `age` program and its test kit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod keys;
mod objects;
mod owner;
mod plugin;
mod ranges;
mod ssh_keys;
mod tamper;
mod testkit;

use std::io::Read;

use offsite::seal::*;

const CHUNK: usize = 65_536;

/// All lengths at which the number of chunks or the form of the last one changes.
const LENGTHS: [usize; 11] = [0, 1, 100, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 196_608, 300_000];

fn identity() -> Identity {
    Identity::random().unwrap()
}

/// Bytes that differ everywhere.
fn plain(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn sealed(identity: &Identity, plain: &[u8]) -> Vec<u8> {
    seal(&identity.recipient(), FileSecrets::random().unwrap(), plain).unwrap()
}

/// Opens with the streaming reader.
fn stream(identities: &[Identity], object: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut out = Vec::new();
    OpenReader::new(identities, object)?.read_to_end(&mut out)?;
    Ok(out)
}

/// Opens in memory and streaming, with the same result.
fn opened(identity: &Identity, object: &[u8]) -> Result<Vec<u8>, SealError> {
    let identities = std::slice::from_ref(identity);
    let (whole, streamed) = (open(identities, object), stream(identities, object));
    match (&whole, &streamed) {
        (Ok(whole), Ok(streamed)) => assert_eq!(whole, streamed),
        (Err(whole), Err(streamed)) => assert_eq!(whole.to_string(), streamed.to_string()),
        other => panic!("{other:?}"),
    }
    whole
}

/// Runs the `age` program. `None` if it is not installed.
fn age_program(args: &[&str], input: &[u8]) -> Option<std::process::Output> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in"), input).unwrap();
    let input = std::fs::File::open(dir.path().join("in")).unwrap();
    match std::process::Command::new("age").args(args).stdin(input).output() {
        Ok(output) => Some(output),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("the age program is not installed, so it was not tested against");
            None
        }
        Err(e) => panic!("{e}"),
    }
}
