"""MVTamperBench (Agarwal et al., 2024): has a second of this clip been tampered with?

The clips of MVBench, as they are and with a second that is dropped, masked, repeated, rotated or substituted. Its files
have the form of those of MVBench; each row has a `tamper_type` as well, which is `original` for an untouched clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from videossr.bench.public.annotations import Record
from videossr.bench.public.base import Facts, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, by_group, macro_figure, mean_figure, mean_figures
from videossr.bench.public.general.mvbench import ROOTS, MVBench, first_word

ORIGINAL = "original"
"""The `tamper_type` of a clip that nobody tampered with."""


class MVTamperBench(MVBench):
    """MVTamperBench: the set whose clips are tampered with in the middle, or those of start and end, alike in form."""

    roots: ClassVar[Mapping[str, str]] = {
        task: "tvqa/frames_fps3" if task == "episodic_reasoning" else root
        for task, root in ROOTS.items()
        if task != "fine_grained_pose"
    }
    facts = Facts(
        title="MVTamperBench",
        domain="general",
        questions=None,
        videos=None,
        metric="mean accuracy of tampered and original clips",
        licence="MIT",
        source="https://huggingface.co/datasets/Srikant86/MVTamperBench",
        layout="json/<task>.json\nvideo/<folder>/<video>, with the zip files unpacked in place",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "micro": Rule("The mean over all questions, five sixths of which are about tampered clips."),
        "official": Rule("The first word of the answer must lie within the right label, or hold it.", first_word),
    }
    fields = frozenset()

    def categories(self, settings: NoSettings) -> Sequence[str]:
        """Return nothing: the kinds of tampering are those of the files."""
        return ()

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question about a whole clip: `start` and `end`, where they are, belong to the clip it was cut from."""
        row = super().row(record, settings)
        whole = tuple(replace(part, start=0.0, end=None, fps=None) for part in row.footage)
        kind = record.text("tamper_type")
        return replace(row, footage=whole, category=kind, groups={"task": record.context["task"]})

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the tampered and the original clips, which count alike, so that a constant answer gets half.

        Each kind of tampering is then taken together with all original clips, as in the official table; where each clip
        was tampered with in each way, the mean of that table's column is the headline. Its F1 is no mean of answers,
        and so it is not among the figures.
        """
        kinds = by_category(marked)
        original = kinds.pop(ORIGINAL, [])
        if rule == "micro":
            yield mean_figure("accuracy", marked)
        else:
            yield macro_figure("accuracy", [[mark for marks in kinds.values() for mark in marks], original])
        for kind, tampered in kinds.items():
            yield mean_figure("accuracy", [*tampered, *original], kind)
            yield mean_figure("recall", tampered, kind)
        if original:
            yield mean_figure("accuracy", original, ORIGINAL)
        yield from mean_figures("accuracy", by_group(marked, "task"), "task: ")
