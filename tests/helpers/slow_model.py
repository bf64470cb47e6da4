"""Evaluate in a process of its own, for tests that kill it: `python slow_model.py DATASET OUT LOG SECONDS [BYTES]`.

Its model takes two questions at a time, writes their indices to LOG, and needs SECONDS for an answer. BYTES limits the
size of files, as a full disk does.
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

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        source = iter(requests)
        with Path(LOG).open("a") as log:
            while batch := list(islice(source, 2)):
                for request in batch:
                    log.write(f"{request.index}\n")
                log.flush()
                for request in batch:
                    time.sleep(float(SECONDS))
                    yield Response(request.index, (f"said {request.index}",), ("stop",))


if sys.argv[5:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), int(sys.argv[5])))
try:
    evaluate(open_questions(DATASET), ModelSpec("slow", Slow, "", NoSettings()), OUT)
except OSError as error:
    sys.stderr.write(f"{type(error).__name__} {os.strerror(error.errno or 0)} {error.filename}\n")
    sys.exit(2)
