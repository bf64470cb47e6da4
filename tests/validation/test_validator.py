"""A dataset of real clips passes `validate`; altered in one way, it fails by the check that is there for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.synthetic import counted, counts, permutation, permuted, segment, segments
from videossr.answers.checks import Check
from videossr.clock import uniform_clock
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import content_hash, file_hashes, read_manifest, write_manifest
from videossr.rendering import pixel_hash, render
from videossr.sample import Sample
from videossr.tasks.base import TASKS
from videossr.validation.validator import border_change, label_error, marker_errors, true_answer, validate

Row = dict[str, Any]
Alter = Callable[[Callable[[list[Row]], object]], VideoSSRDataset]
SHARD = "samples-00000.parquet"


def failing(findings: Iterator[Check]) -> set[tuple[str, str]]:
    return {(finding.name, finding.category) for finding in findings if finding.holds is False}


def rewrite(folder: Path, rows: list[Row]) -> None:
    """Put other rows into a dataset, and bring the manifest's hashes and counts to them: an honest mistake."""
    schema.write_file(rows, folder / SHARD, schema.SCHEMA)
    manifest = read_manifest(folder)
    manifest["samples"] = len(rows)
    manifest["files"] = file_hashes(folder, [*manifest["files"]])
    manifest["hash"] = content_hash(manifest, manifest["files"])
    write_manifest(folder, manifest)


@pytest.fixture
def altered(dataset: Path, corpus: Corpus, tmp_path: Path) -> Alter:
    """A copy of the dataset whose rows were passed through a function that alters the list."""

    def alter(change: Callable[[list[Row]], object]) -> VideoSSRDataset:
        shutil.copytree(dataset, tmp_path / "copy")
        rows = schema.read_file(tmp_path / "copy" / SHARD)
        change(rows)
        rewrite(tmp_path / "copy", rows)
        return VideoSSRDataset(tmp_path / "copy", corpus=corpus.path)

    return alter


def first(rows: list[Row], category: str) -> Row:
    return next(row for row in rows if row["category"] == category)


def renew(row: Row, corpus: Corpus | None = None, **fields: object) -> None:
    """Other fields of the sample: the row, its id and its question follow, and with a corpus its pixels."""
    sample = replace(schema.to_sample(row), **fields)  # type: ignore[arg-type]
    question = TASKS.get(sample.task)().question(sample, TEMPLATES)
    pixels = pixel_hash(render(corpus, sample)) if corpus else row["pixels"]
    row.update(schema.to_row(sample, question, pixels, row["seed"], row["attempt"]))


TEMPLATES: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def templates(dataset: Path) -> None:
    TEMPLATES.update(read_manifest(dataset)["templates"])


def test_what_was_built_holds(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [finding for finding in validate(VideoSSRDataset(dataset), renders=0) if "too few" in finding.text]
    assert {finding.name for finding in few} == {"distributions, guesses, shortcuts"}
    monkeypatch.setattr("videossr.validation.validator.FEW", 2)
    seen: list[tuple[int, int]] = []
    findings = list(validate(VideoSSRDataset(dataset), progress=lambda done, total: seen.append((done, total))))
    assert not [finding for finding in findings if finding.holds is False]
    assert seen == [(done, 8) for done in range(1, 9)]
    found = {(finding.name, finding.category) for finding in findings}
    for check in ("files", "unique samples", "quotas", "questions", "renders repeat"):
        assert (check, "") in found
    for category in ("grounding/mirror", "grounding/shuffle", "jigsaw/6", "counting/easy"):
        for check in ("gold scores 1", "answers", "clock", "chance", "best constant"):
            assert (check, category) in found
    assert ("jigsaw solver", "jigsaw/6") in found
    assert ("borders change", "grounding/shuffle") in found
    assert {finding.name for finding in findings if finding.category == "counting/easy"} >= {
        "distribution of counts, circle",
        "size tells the count",
        "color tells the count",
    }


def test_a_few_renders_are_spread_over_the_dataset(dataset: Path) -> None:
    (finding,) = (found for found in validate(VideoSSRDataset(dataset), renders=2) if found.name == "renders repeat")
    assert finding.holds
    assert finding.text == "2 of 8 rendered"


def test_an_edited_file_is_noticed(altered: Alter) -> None:
    opened = altered(lambda rows: None)
    (opened.path / "rejected.parquet").write_bytes(b"")
    assert failing(validate(opened, renders=0)) == {("files", "")}
    (opened.path / "rejected.parquet").unlink()
    assert failing(validate(opened, renders=0)) == {("files", "")}


def test_an_edited_table_of_samples_is_noticed(altered: Alter) -> None:
    opened = altered(lambda rows: None)
    rows = schema.read_file(opened.path / SHARD)
    rows[0]["attempt"] += 1
    schema.write_file(rows, opened.path / SHARD, schema.SCHEMA)
    assert failing(validate(opened, renders=0)) == {("files", "")}


def test_a_row_that_is_not_its_samples_is_refused(altered: Alter) -> None:
    opened = altered(lambda rows: rows[3].update(end_ms=rows[3]["end_ms"] + 1))
    with pytest.raises(ValueError, match="the row was altered"):
        list(validate(opened, renders=0))


def test_other_pixels_are_noticed(altered: Alter) -> None:
    opened = altered(lambda rows: rows[5].update(pixels="0" * 64))
    findings = [finding for finding in validate(opened) if finding.holds is False]
    assert [finding.name for finding in findings] == ["renders repeat"]
    assert opened.row(5)["id"] in findings[0].text


def test_a_sample_twice_is_noticed(altered: Alter) -> None:
    def change(rows: list[Row]) -> None:
        one, other = (at for at, row in enumerate(rows) if row["category"] == "jigsaw/6")
        rows[other] = rows[one]

    opened = altered(change)
    findings = [finding for finding in validate(opened) if finding.holds is False]
    assert [finding.name for finding in findings] == ["unique samples"]
    assert opened.path.name == "copy"


def test_a_missing_sample_is_noticed(altered: Alter) -> None:
    assert failing(validate(altered(lambda rows: rows.pop()), renders=0)) == {("quotas", "")}


def test_other_words_are_noticed(altered: Alter) -> None:
    opened = altered(lambda rows: rows[2].update(prompt=rows[2]["prompt"] + " Guess."))
    assert failing(validate(opened, renders=0)) == {("questions", "")}


@pytest.mark.parametrize("category", ["counting/easy", "jigsaw/6"])
def test_a_wrong_answer_is_noticed(altered: Alter, category: str) -> None:
    def change(rows: list[Row]) -> None:
        row = first(rows, category)
        answer = row["answer"]
        wrong = answer[::-1] if category == "jigsaw/6" else f"{int(answer.split(',')[0]) + 1},{answer.split(',', 1)[1]}"
        renew(row, answer=wrong)

    assert failing(validate(altered(change))) == {("answers", category)}


@pytest.mark.parametrize("place", [0, 1])
def test_a_label_off_by_two_tenths_is_noticed(altered: Alter, place: int) -> None:
    def change(rows: list[Row]) -> None:
        row = first(rows, "grounding/mirror")
        times = [float(time) for time in row["answer"].split("-")]
        times[place] += 0.2
        renew(row, answer="-".join(f"{time:.1f}" for time in times))

    assert failing(validate(altered(change))) == {("clock", "grounding/mirror")}


@pytest.mark.parametrize(
    ("category", "answer"), [("counting/easy", "none"), ("jigsaw/6", "six"), ("grounding/mirror", "7.0-7.0")]
)
def test_an_answer_that_does_not_score_is_noticed(altered: Alter, category: str, answer: str) -> None:
    opened = altered(lambda rows: renew(first(rows, category), answer=answer))
    assert failing(validate(opened)) == {("gold scores 1", category)}


@pytest.mark.parametrize("end", ["first", "last"])
def test_a_border_that_does_not_change_is_noticed(altered: Alter, corpus: Corpus, end: str) -> None:
    def change(rows: list[Row]) -> None:
        row = first(rows, "grounding/shuffle")
        sample = schema.to_sample(row)
        slot = sample.integer(end)
        slots = list(sample.slots)
        other = slots.index((0, slot))
        slots[slot], slots[other] = slots[other], slots[slot]
        renew(row, corpus, slots=tuple(slots))

    assert failing(validate(altered(change))) == {("borders change", "grounding/shuffle")}


def test_a_border_without_an_effect_is_noticed(altered: Alter, corpus: Corpus) -> None:
    """A segment said to be one slot longer than it is: the added slot is as it was."""
    opened = altered(lambda rows: None)
    index = next(
        at for at, category in enumerate(opened.rows["category"].to_pylist()) if category == "grounding/mirror"
    )
    item = opened[index]
    due = opened.due(item.sample) or ()
    assert border_change(opened, item, due) > 5
    kept = corpus.frames(item.sample.sources[0], [frame for _, frame in item.sample.slots])
    last = item.sample.integer("last")
    item.clips[0].frames[last] = kept[last]
    assert border_change(opened, item, due) == 0


FILLED: dict[str, tuple[str, Callable[[np.random.Generator], list[Sample]], set[str]]] = {
    "segments as drawn": ("grounding/mirror", lambda rng: segments(rng, 400), set()),
    "lengths skewed": (
        "grounding/mirror",
        lambda rng: [
            s for s in segments(rng, 600) if s.integer("last") - s.integer("first") < 12 or rng.random() < 0.3
        ],
        {"distribution of lengths"},
    ),
    "positions early": (
        "grounding/mirror",
        lambda rng: [s for s in segments(rng, 600) if s.integer("first") < 20],
        {"distribution of positions"},
    ),
    "long clips are altered late": (
        "grounding/mirror",
        lambda rng: [
            segment(s.integer("first"), s.integer("last"), s.integer("first") + int(rng.integers(50)))
            for s in segments(rng, 300)
        ],
        {"duration tells the place"},
    ),
    "long clips are altered for long": (
        "grounding/mirror",
        lambda rng: [
            segment(
                s.integer("first"),
                s.integer("last"),
                3 * (s.integer("last") - s.integer("first")) + int(rng.integers(20)),
            )
            for s in segments(rng, 300)
        ],
        {"duration tells the length"},
    ),
    "counts as drawn": (
        "counting/easy",
        lambda rng: [counted(rng, row) for row in counts(rng, 3, 300)],
        set(),
    ),
    "squares of the hard setting": (
        "counting/easy",
        lambda rng: [
            counted(rng, [a, min(b, 9), c])
            for (a, _, c), (_, b, _) in zip(counts(rng, 3, 300), counts(rng, 4, 300), strict=True)
        ],
        {"distribution of counts, square"},
    ),
    "many are large": (
        "counting/easy",
        lambda rng: [counted(rng, row, size=lambda count: 0.5 * count) for row in counts(rng, 3, 300)],
        {"size tells the count"},
    ),
    "many are dark": (
        "counting/easy",
        lambda rng: [counted(rng, row, color=lambda count: -6 * count) for row in counts(rng, 3, 300)],
        {"color tells the count"},
    ),
    "permutations as drawn": ("jigsaw/6", lambda rng: [permuted(permutation(rng, 6)) for _ in range(400)], set()),
    "pieces stay": (
        "jigsaw/6",
        lambda rng: [
            permuted(order)
            for order in (permutation(rng, 6) for _ in range(600))
            if any(piece == place for place, piece in enumerate(order)) or rng.random() < 0.3
        ],
        {"distribution of permutations"},
    ),
}


@pytest.mark.parametrize("name", FILLED)
def test_a_skewed_distribution_is_noticed(altered: Alter, name: str) -> None:
    """One category filled with hundreds of samples that were never rendered."""
    category, draw, wrong = FILLED[name]
    drawn = draw(np.random.default_rng(7))

    def change(rows: list[Row]) -> None:
        row = first(rows, category)
        source = schema.to_sample(row).sources
        rows[:] = [row for row in rows if row["category"] != category]
        for number, sample in enumerate(drawn):
            made = replace(sample, category=category, sources=source, slots=((0, number),))
            question = TASKS.get(made.task)().question(made, TEMPLATES)
            rows.append(schema.to_row(made, question, "", 0, 0))

    opened = altered(change)
    manifest = read_manifest(opened.path)
    manifest["recipe"]["categories"][category]["count"] = len(drawn)
    write_manifest(opened.path, manifest)
    opened = VideoSSRDataset(opened.path, corpus=opened.corpus.path)
    assert failing(validate(opened, renders=0)) == {(check, category) for check in wrong}


def test_markers_are_means_of_pairs_to_a_tenth() -> None:
    sample = replace(segment(8, 19), clock=uniform_clock(47, 33333))
    errors = marker_errors(sample)
    assert len(errors) == 24
    assert max(errors) <= 0.0505
    assert max(errors) > 0.03


def test_labels_are_held_against_the_slots() -> None:
    sample = segment(8, 19)
    start, end = sample.clock.span(8, 19)
    assert label_error(sample) <= 0.0505
    assert label_error(replace(sample, answer=f"{start + 0.3:.3f}-{end:.3f}")) == pytest.approx(0.3, abs=0.001)
    assert label_error(replace(sample, answer="soon")) == float("inf")
    assert label_error(permuted([1, 0, 2])) == 0


def test_answers_follow_from_the_truth() -> None:
    assert true_answer(permuted([2, 0, 1])) == "231"
    assert true_answer(segment(8, 19)) is None
    assert true_answer(counted(np.random.default_rng(0), [1, 2, 3])) == "1,2,3"
