"""A server whose certificate comes from a private authority: refused without that authority's certificate, used with it."""
import subprocess
import sys
from pathlib import Path

from registry import check, same, test
from trees import alike, big, many

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "servers"))
from quirky_s3 import QuirkyS3  # noqa: E402


def openssl(where: Path, *args: str) -> None:
    subprocess.run(["openssl", *args], cwd=where, check=True, capture_output=True, timeout=60)


def authority(where: Path, name: str) -> Path:
    """A new authority `NAME.pem`, and a certificate of it for this machine, `NAME-server.pem` with its key."""
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(where, *new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl(where, *new, "-subj", "/CN=127.0.0.1", "-keyout", f"{name}-server.key", "-out", f"{name}.csr")
    (where / "for").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
    openssl(where, "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", f"{name}.pem", "-CAkey", f"{name}.key", "-CAcreateserial",
            "-extfile", "for", "-out", f"{name}-server.pem")
    return where / f"{name}.pem"


def served(case) -> tuple[QuirkyS3, str, Path]:
    """A server behind TLS, the URL of a bucket on it that is there, and the certificate of its authority."""
    bundle = authority(case.dir, "acme")
    server = QuirkyS3(tls=(str(case.dir / "acme-server.pem"), str(case.dir / "acme-server.key")))
    case.closing.append(server.close)
    case.env = {name: value for name, value in case.env.items() if not name.startswith("SSL_")}
    case.env |= {"AWS_ACCESS_KEY_ID": "AKIDTLS", "AWS_SECRET_ACCESS_KEY": "tls", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
    many(case.source, 5)
    return server, f"s3://behind/tls?endpoint=https://127.0.0.1:{server.port}", bundle


def life(case, server: QuirkyS3, url: str, env: dict[str, str]) -> None:
    """Settings and contents: `init` goes by the SDK's connections, contents in one request and in parts by those of object_store."""
    big(case.source / "big.bin", 12 << 20)
    case.json("init", url, "--versioning", env=env)
    check(b"Enabled" in server.buckets["behind"].settings["versioning"], "what `init` declared")
    case.sync(url, env=env)
    case.pull(url, env=env)
    alike(case.source, case.dir / "out")
    same(case.sync(url, env=env)["changes"]["added"], 0, "added by a run without changes")


def refused(case, server: QuirkyS3, url: str, env: dict[str, str], word: str, hint: str) -> None:
    """Contents and settings: each says what is wrong at once, and no request got through."""
    for args in (("sync", case.source, url), ("pull", url, case.dir / "none")):
        ran = case.run(*args, code=None, env=env).says(word, hint)
        check(ran.code in (1, 2), f"ended with {ran.code}: {ran}")
    case.run("init", url, "--check", code=None, env=env).says(word, hint)
    same(server.requests, 0, "requests that the server read")


@test(local=True)
def tls_an_unknown_authority_is_refused(case):
    server, url, _ = served(case)
    refused(case, server, url, {}, "certificate", "AWS_CA_BUNDLE")


@test(local=True)
def tls_another_authority_is_refused(case):
    server, url, _ = served(case)
    refused(case, server, url, {"AWS_CA_BUNDLE": str(authority(case.dir, "other"))}, "certificate", "AWS_CA_BUNDLE")


@test(local=True)
def tls_a_bundle_that_cannot_be_read(case):
    server, url, _ = served(case)
    empty = case.dir / "empty.pem"
    empty.write_text("nothing\n")
    for file in (case.dir / "missing.pem", empty):
        refused(case, server, url, {"AWS_CA_BUNDLE": str(file)}, file.name, "AWS_CA_BUNDLE")


@test(local=True)
def tls_aws_ca_bundle(case):
    server, url, bundle = served(case)
    life(case, server, url, {"AWS_CA_BUNDLE": str(bundle)})


@test(local=True)
def tls_ca_bundle_of_the_profile(case):
    server, url, bundle = served(case)
    config = case.dir / "aws-config"
    config.write_text(f"[profile backup]\nca_bundle = {bundle}\naws_access_key_id = AKIDTLS\naws_secret_access_key = tls\n")
    env = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(case.dir / "none")}
    life(case, server, f"{url}&profile=backup", env)


@test(local=True)
def tls_ssl_cert_file(case):
    server, url, bundle = served(case)
    life(case, server, url, {"SSL_CERT_FILE": str(bundle)})
