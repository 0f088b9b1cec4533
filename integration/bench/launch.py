"""Runs one command and writes its wall time, CPU seconds, peak RSS and exit code as JSON to a descriptor.

A process of its own, started bare, because Linux charges a child with the peak memory of the process that forked
it: below the bench itself a small tool would look as big as the bench. What is left is a floor of about 10 MB.

    python3 -I -S launch.py REPORT-FD COMMAND...
"""
import os
import sys
import time

report, command = int(sys.argv[1]), sys.argv[2:]
start = time.monotonic()
child = os.fork()
if not child:
    os.close(report)
    try:
        os.execvp(command[0], command)
    except OSError:
        os._exit(127)
_, status, usage = os.wait4(child, 0)
wall = time.monotonic() - start
os.write(report, b'{"wall": %.6f, "user": %.6f, "system": %.6f, "rss": %d, "code": %d}' % (
    wall, usage.ru_utime, usage.ru_stime, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)))
