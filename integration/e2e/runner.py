"""Chooses the tests, runs them, and prints one line for each."""
import argparse
import importlib
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from b2 import B2
from case import PROGRAM, Case
from registry import TESTS, NotHere, Test, Wrong
from servers import Server, open_server

# In this order; a module's tests in the order in which they stand there.
TOPICS = ["t_round_trip", "t_requests", "t_report", "t_history", "t_adopt", "t_guard", "t_plan", "t_several", "t_entries", "t_fold", "t_init", "t_refusals", "t_tls", "t_quirks", "t_packed", "t_sealed", "t_delta", "t_faults", "t_interrupt", "t_writers",
          "t_damage", "t_check", "t_here", "t_output", "t_b2", "t_gcs", "t_sftp", "t_opendal", "t_locked", "t_append_only", "t_archive", "t_examples", "t_jobs", "t_databases"]
NEEDED = ["rsync", "setpriv", "faketime", "mount"]


def main() -> int:
    for topic in TOPICS:
        importlib.import_module(topic)
    options = arguments()
    chosen = [t for t in TESTS if not options.only or any(word in t.title for word in options.only)]
    if options.list:
        print(*(t.title for t in chosen), sep="\n")
        return 0
    if not chosen:
        sys.exit("no test has such a name; --list shows all")
    missing = [name for name in NEEDED if not shutil.which(name)] + [PROGRAM] * (not os.access(PROGRAM, os.X_OK))
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")
    servers: dict[str, Server] = {}
    try:
        for make in sorted({t.make for t in chosen if t.make}):
            servers[make] = B2() if make == "b2" else open_server(make)
        return run_all(chosen, servers, options)
    finally:
        for one in servers.values():
            one.stop()


def arguments():
    parser = argparse.ArgumentParser(description="The whole program on real S3 servers.")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="tests whose name holds NAME")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    parser.add_argument("--jobs", type=int, default=3, help="tests at a time (3)")
    parser.add_argument("--keep", action="store_true", help="keep the directories of tests that fail")
    return parser.parse_args()


def run_all(chosen: list[Test], servers: dict[str, Server], options) -> int:
    work = Path(tempfile.mkdtemp(prefix="offsite-e2e-"))
    printing, started = threading.Lock(), time.monotonic()

    def one(test: Test) -> bool | None:
        begin = time.monotonic()
        case = Case(test.name, servers.get(test.make), work)
        reason, missing = None, None
        try:
            test.body(case)
        except NotHere as what:
            missing = str(what)
        except Wrong as wrong:
            reason = str(wrong)
        except Exception:  # a test that is broken is a failed test
            reason = traceback.format_exc(limit=-6)
        try:
            case.close(reason is not None)
        except Exception as error:
            reason = reason or str(error)
        with printing:
            word = "FAIL" if reason is not None else "skip" if missing else "ok  "
            print(f"{word} {test.title}  {time.monotonic() - begin:.1f} s", flush=True)
            if reason is not None:
                print("     " + reason.strip().replace("\n", "\n     "), flush=True)
            elif missing:
                print(f"     {missing}", flush=True)
        return None if reason is None and missing else reason is None

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(one, chosen))
    passed, failed = results.count(True), results.count(False)
    if not failed or not options.keep:
        shutil.rmtree(work, ignore_errors=True)
    skipped = len(results) - passed - failed
    print(f"{passed} of {len(results)} passed{f', {skipped} could not run on this machine' if skipped else ''}, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0
