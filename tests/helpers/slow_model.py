"""Evaluate in a process of its own, for tests that kill it: `python slow.py DATASET OUT LOG SECONDS [BYTES]`.

Its model takes two questions at a time, writes each that it is asked to LOG, and needs SECONDS for an answer. With
BYTES, no file may grow beyond that size: a full disk.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from videossr.bench.evaluation import evaluate
from videossr.models.base import Decoding, Model, ModelSpec, Request, Response
from videossr.models.baselines import NoSettings
from videossr.question_set import QuestionSet, open_questions

DATASET, OUT, LOG, SECONDS = sys.argv[1:5]


class Slow(Model[NoSettings]):
    Settings = NoSettings

    def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
        self.waited = 0.0

    def describe(self) -> Mapping[str, Any]:
        return {"seconds": SECONDS}

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        source = iter(asks)
        with Path(LOG).open("a") as log:
            while batch := list(islice(source, 2)):
                for ask in batch:
                    log.write(f"{ask.index}\n")
                log.flush()
                for ask in batch:
                    time.sleep(float(SECONDS))
                    yield Response(ask.index, (f"said {ask.index}",), ("stop",))


if sys.argv[5:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
try:
    evaluate(open_questions(DATASET), ModelSpec("slow", Slow, "", NoSettings()), OUT)
except OSError as error:
    sys.stderr.write(f"{type(error).__name__} {os.strerror(error.errno or 0)} {error.filename}\n")
    sys.exit(2)
