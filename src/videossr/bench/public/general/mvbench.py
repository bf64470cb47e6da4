"""MVBench (Li et al., CVPR 2024): 20 tasks of multiple choice about short clips.

Some tasks show a part of the video, and one shows folders of images at 3 a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.answers.option import option_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, macro_figure, mean_figure
from videossr.bench.public.lettered import options_of
from videossr.bench.public.official import right_letter

_CLEVRER = "clevrer/video_validation"
_PERCEPTION = "perception/videos"
_STAR = "star/Charades_v1_480"

ROOTS: Mapping[str, str] = {
    "action_sequence": _STAR,
    "action_prediction": _STAR,
    "action_antonym": "ssv2_video",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "unexpected_action": "FunQA_test/test",
    "object_existence": _CLEVRER,
    "object_interaction": _STAR,
    "object_shuffle": _PERCEPTION,
    "moving_direction": _CLEVRER,
    "action_localization": "sta/sta_video",
    "scene_transition": "scene_qa/video",
    "action_count": _PERCEPTION,
    "moving_count": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "state_change": _PERCEPTION,
    "fine_grained_pose": "nturgbd",
    "character_order": _PERCEPTION,
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/frames_fps3_hq",
    "counterfactual_inference": _CLEVRER,
}
"""Folder of the videos of each task, below `video/`, in the order of the paper's columns."""

IMAGES_PER_SECOND = 3.0
"""Of the folders of images of episodic_reasoning."""


def first_word(text: str, gold: str) -> float:
    """Score as the official notebook does: the first word must lie within the label `(X)`, or hold it."""
    said = text.strip().partition("\n")[0].partition(" ")[0].replace(".", "").lower()
    label = f"({right_letter(gold)})".lower()
    return float(bool(said) and (said in label or label in said))


class MVBench(Benchmark[NoSettings]):
    """MVBench: the files of the branch `main`, where clips are cut by `start` and `end`.

    Attributes:
        roots: folder of the videos of each task, below `video/`.
    """

    roots: ClassVar[Mapping[str, str]] = ROOTS
    facts = Facts(
        title="MVBench",
        domain="general",
        questions=4000,
        videos=None,
        metric="mean accuracy of the 20 tasks",
        licence="MIT",
        source="https://huggingface.co/datasets/OpenGVLab/MVBench",
        layout="json/<task>.json\nvideo/<folder>/<video>, with the zip files unpacked in place",
        column="MVB",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "micro": Rule("The mean over all questions instead of that over the tasks."),
        "official": Rule("The first word of the answer must lie within the right label, or hold it.", first_word),
    }
    gone: ClassVar[Mapping[str, str]] = {
        "fine_grained_pose": "its videos are of NTU RGB+D, and were taken off the hub in October 2024; put them into "
        "video/nturgbd if you have a licence for that data set"
    }
    fields = frozenset(
        ["video", "question", "candidates", "answer", "start", "end", "accurate_start", "accurate_end", "fps"]
    )

    def categories(self, settings: NoSettings) -> Sequence[str]:
        """Return the tasks."""
        return tuple(self.roots)

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the files, task by task; a task whose file is missing is left out."""
        present = [task for task in self.roots if (data.root / f"json/{task}.json").exists()]
        if not present:
            data.find("json/action_sequence.json")
        for task in present:
            yield from data.json_rows(f"json/{task}.json", task=task)

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question; of several equal options, the last one is the right one, as in the official code."""
        task = record.context["task"]
        candidates = record.texts("candidates")
        answer = record.text("answer")
        if answer not in candidates:
            raise record.fault(f"answer {answer!r:.80} is none of the candidates")
        options = options_of(record, candidates)
        video = record.text("video")
        bounded = record.fields.get("start") is not None
        footage = Footage(
            paths=(f"video/{self.roots[task]}/{video}",),
            start=record.number("start") if bounded else 0.0,
            end=record.number("end") if bounded else None,
            fps=IMAGES_PER_SECOND if task == "episodic_reasoning" else None,
        )
        return Row(
            id=f"{task}/{record.where.rpartition(' ')[2]}",
            template="choice",
            question=record.text("question"),
            answer=option_answer(options, len(candidates) - 1 - candidates[::-1].index(answer)),
            answer_type="option",
            footage=(footage,),
            category=task,
            options=options,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the tasks; with the rule `micro` the questions."""
        if rule == "micro":
            yield mean_figure("accuracy", marked)
        else:
            yield macro_figure("accuracy", list(by_category(marked).values()))
        yield from self.breakdown(marked)
