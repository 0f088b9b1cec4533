//! SSH keys, made for each run of these tests with `ssh-keygen`. Those with a passphrase have `six words`.

use std::process::Command;
use std::sync::LazyLock;

/// A private key, its public half, and nobody else's.
pub struct SshKey {
    pub private: String,
    pub public: String,
}

fn made(options: &[&str], passphrase: &str) -> SshKey {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let done = Command::new("ssh-keygen").args(["-q", "-C", "a test", "-N", passphrase, "-f"]).arg(&path).args(options).status();
    assert!(done.expect("ssh-keygen (openssh-client)").success());
    let read = |path| std::fs::read_to_string(path).unwrap();
    SshKey { private: read(path.clone()), public: read(path.with_extension("pub")).trim_end().to_owned() }
}

pub static ED25519: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "ed25519"], ""));
pub static LOCKED_ED25519: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "ed25519"], "six words"));
pub static RSA: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "rsa", "-b", "2048"], ""));
pub static LOCKED_RSA: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "rsa", "-b", "2048"], "six words"));
pub static ECDSA: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "ecdsa"], ""));
pub static LOCKED_PEM: LazyLock<SshKey> = LazyLock::new(|| made(&["-t", "rsa", "-b", "2048", "-m", "PEM"], "six words"));
