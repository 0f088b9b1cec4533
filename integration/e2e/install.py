"""The Python packages the tests need, pinned, in a virtual environment of their own.

Owns `integration/.work/venv-e2e`. boto3 and the aws command line are the other tools that read and
fill the buckets; jsonschema checks the documents that `--json` prints.
"""
import os
import subprocess
import sys
from pathlib import Path

WORK = Path(__file__).resolve().parent.parent / ".work"
VENV = WORK / "venv-e2e"
PACKAGES = ["awscli==1.46.2", "boto3==1.44.5", "botocore==1.44.5", "jsonschema==4.26.0"]


def install() -> None:
    stamp = VENV / "installed"
    wanted = "\n".join(PACKAGES)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, stdout=sys.stderr)
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check"]
        subprocess.run(pip + PACKAGES, check=True, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"the Python packages cannot be installed: {error}")
    stamp.write_text(wanted)


def enter(script: str) -> None:
    """Goes on as this script under the environment's own Python."""
    install()
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, script, *sys.argv[1:]])
