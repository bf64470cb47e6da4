"""Imported by every Python process that `faults.py` starts, being on its PYTHONPATH: the faults that come from within.

FAULTS_LOG    workers add the path of each video to this file when they begin to decode it
FAULTS_GATE   and then wait until this file exists
FAULTS_CRASH  a worker that decodes a file of this name dies as of a decoder that reads wild memory
FAULTS_OUT    the command counts what it does to files under this folder: opens, renames, removes
FAULTS_EVENT  and is killed right before it does so for this time
FAULTS_COUNT  and writes the count into this file in the end
"""

import atexit
import os
import signal
import sys
import time
from pathlib import Path

SET = os.environ
EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "sqlite3.connect")
HELPER = "multiprocessing" in " ".join(sys.orig_argv)
WORKER = "--multiprocessing-fork" in sys.orig_argv


def count_events(out: str, limit: int) -> None:
    seen = 0

    def look(event, args):
        nonlocal seen
        if event in EVENTS and isinstance(args[0], str | os.PathLike) and os.fspath(args[0]).startswith(out):
            seen += 1
            if seen == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)
    if "FAULTS_COUNT" in SET:
        atexit.register(lambda: Path(SET["FAULTS_COUNT"]).write_text(str(seen)))


def watch_decoder() -> None:
    import av

    really_open = av.open
    opened = set()

    def watched(file, *args, **options):
        path = Path(str(file).removeprefix("file:")).resolve()
        if path not in opened:
            opened.add(path)
            log = os.open(SET["FAULTS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(log, f"{path}\n".encode())
            os.close(log)
        if path.name == SET.get("FAULTS_CRASH"):
            os.kill(os.getpid(), signal.SIGSEGV)
        while "FAULTS_GATE" in SET and not Path(SET["FAULTS_GATE"]).exists():
            time.sleep(0.01)
        return really_open(file, *args, **options)

    av.open = watched


if WORKER and "FAULTS_LOG" in SET:
    watch_decoder()
elif not HELPER and "FAULTS_OUT" in SET:
    count_events(SET["FAULTS_OUT"], int(SET.get("FAULTS_EVENT", "0")))
