"""A dataset of real clips passes `validate`; altered in one way, it fails exactly the check for that."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.synthetic_samples import (
    counting_sample,
    draw_counts,
    draw_grounding_samples,
    draw_order,
    grounding_sample,
    jigsaw_sample,
)
from videossr.answers.checks import Check
from videossr.clock import uniform_clock
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.hashing import dataset_hash
from videossr.dataset.manifest import file_hashes, read_manifest, write_manifest
from videossr.rendering import pixel_hash, render
from videossr.sample import Sample
from videossr.tasks.base import TASKS
from videossr.validation.validator import border_change, label_error, marker_errors, true_answer, validate

Row = dict[str, Any]
Alter = Callable[[Callable[[list[Row]], object]], VideoSSRDataset]
SHARD = "samples-00000.parquet"


def failing_checks(findings: Iterator[Check]) -> set[tuple[str, str]]:
    return {(finding.name, finding.category) for finding in findings if finding.holds is False}


def write_rows(folder: Path, rows: list[Row]) -> None:
    """Write other rows into a dataset, and update the hashes and counts of the manifest."""
    schema.write_file(rows, folder / SHARD, schema.SCHEMA)
    manifest = read_manifest(folder)
    manifest["samples"] = len(rows)
    manifest["files"] = file_hashes(folder, [*manifest["files"]])
    manifest["hash"] = dataset_hash(folder, manifest)
    write_manifest(folder, manifest)


@pytest.fixture
def altered(dataset: Path, corpus: Corpus, tmp_path: Path) -> Alter:
    """Copy the dataset, with its rows changed by the function that is given."""

    def alter(change: Callable[[list[Row]], object]) -> VideoSSRDataset:
        shutil.copytree(dataset, tmp_path / "copy")
        rows = schema.read_file(tmp_path / "copy" / SHARD)
        change(rows)
        write_rows(tmp_path / "copy", rows)
        return VideoSSRDataset(tmp_path / "copy", corpus=corpus.path)

    return alter


def first_row(rows: list[Row], category: str) -> Row:
    return next(row for row in rows if row["category"] == category)


def update_sample(row: Row, corpus: Corpus | None = None, **fields: object) -> None:
    """Change fields of a sample, with its id and question, and with a corpus also its pixel hash."""
    sample = replace(schema.to_sample(row), **fields)  # type: ignore[arg-type]
    question = TASKS.get(sample.task)().question(sample, TEMPLATES)
    pixels = pixel_hash(render(corpus, sample)) if corpus else row["pixels"]
    row.update(schema.to_row(sample, question, pixels, row["seed"], row["attempt"]))


TEMPLATES: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def templates(dataset: Path) -> None:
    TEMPLATES.update(read_manifest(dataset)["templates"])


def test_validate_passes_a_built_dataset(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skipped = [finding for finding in validate(VideoSSRDataset(dataset), renders=0) if "too few" in finding.text]
    assert {finding.name for finding in skipped} == {"distributions, guesses, shortcuts"}
    monkeypatch.setattr("videossr.validation.validator.FEW", 2)
    progress_calls: list[tuple[int, int]] = []
    findings = list(
        validate(VideoSSRDataset(dataset), progress=lambda done, total: progress_calls.append((done, total)))
    )
    assert not [finding for finding in findings if finding.holds is False]
    assert progress_calls == [(done, 8) for done in range(1, 9)]
    checks = {(finding.name, finding.category) for finding in findings}
    for check in ("files", "unique samples", "quotas", "questions", "renders repeat"):
        assert (check, "") in checks
    for category in ("grounding/mirror", "grounding/shuffle", "jigsaw/6", "counting/easy"):
        for check in ("gold scores 1", "answers", "clock", "chance", "best constant"):
            assert (check, category) in checks
    assert ("jigsaw solver", "jigsaw/6") in checks
    assert ("borders change", "grounding/shuffle") in checks
    assert {finding.name for finding in findings if finding.category == "counting/easy"} >= {
        "distribution of counts, circle",
        "size tells the count",
        "color tells the count",
    }


def test_validate_renders_as_many_samples_as_asked(dataset: Path) -> None:
    (finding,) = (
        candidate for candidate in validate(VideoSSRDataset(dataset), renders=2) if candidate.name == "renders repeat"
    )
    assert finding.holds
    assert finding.text == "2 of 8 rendered"


def test_validate_notices_an_edited_or_missing_file(altered: Alter) -> None:
    edited = altered(lambda rows: None)
    (edited.path / "rejected.parquet").write_bytes(b"")
    assert failing_checks(validate(edited, renders=0)) == {("files", "")}
    (edited.path / "rejected.parquet").unlink()
    assert failing_checks(validate(edited, renders=0)) == {("files", "")}


def test_validate_notices_an_edited_table_of_samples(altered: Alter) -> None:
    edited = altered(lambda rows: None)
    rows = schema.read_file(edited.path / SHARD)
    rows[0]["attempt"] += 1
    schema.write_file(rows, edited.path / SHARD, schema.SCHEMA)
    assert failing_checks(validate(edited, renders=0)) == {("files", ""), ("hash", "")}


def test_validate_refuses_a_row_that_does_not_match_its_id(altered: Alter) -> None:
    edited = altered(lambda rows: rows[3].update(end_ms=rows[3]["end_ms"] + 1))
    with pytest.raises(ValueError, match="the row was altered"):
        list(validate(edited, renders=0))


def test_validate_notices_other_pixels(altered: Alter) -> None:
    edited = altered(lambda rows: rows[5].update(pixels="0" * 64))
    findings = [finding for finding in validate(edited) if finding.holds is False]
    assert [finding.name for finding in findings] == ["renders repeat"]
    assert edited.row(5)["id"] in findings[0].text


def test_validate_notices_a_repeated_sample(altered: Alter) -> None:
    def change(rows: list[Row]) -> None:
        one, other = (index for index, row in enumerate(rows) if row["category"] == "jigsaw/6")
        rows[other] = rows[one]

    edited = altered(change)
    findings = [finding for finding in validate(edited) if finding.holds is False]
    assert [finding.name for finding in findings] == ["unique samples"]
    assert edited.path.name == "copy"


def test_validate_notices_a_missing_sample(altered: Alter) -> None:
    assert failing_checks(validate(altered(lambda rows: rows.pop()), renders=0)) == {("quotas", "")}


def test_validate_notices_another_prompt(altered: Alter) -> None:
    edited = altered(lambda rows: rows[2].update(prompt=rows[2]["prompt"] + " Guess."))
    assert failing_checks(validate(edited, renders=0)) == {("questions", "")}


@pytest.mark.parametrize("category", ["counting/easy", "jigsaw/6"])
def test_validate_notices_a_wrong_answer(altered: Alter, category: str) -> None:
    def change(rows: list[Row]) -> None:
        row = first_row(rows, category)
        answer = row["answer"]
        wrong = answer[::-1] if category == "jigsaw/6" else f"{int(answer.split(',')[0]) + 1},{answer.split(',', 1)[1]}"
        update_sample(row, answer=wrong)

    assert failing_checks(validate(altered(change))) == {("answers", category)}


@pytest.mark.parametrize("place", [0, 1])
def test_validate_notices_a_span_that_is_off_by_two_tenths(altered: Alter, place: int) -> None:
    def change(rows: list[Row]) -> None:
        row = first_row(rows, "grounding/mirror")
        times = [float(time) for time in row["answer"].split("-")]
        times[place] += 0.2
        update_sample(row, answer="-".join(f"{time:.1f}" for time in times))

    assert failing_checks(validate(altered(change))) == {("clock", "grounding/mirror")}


@pytest.mark.parametrize(
    ("category", "answer"), [("counting/easy", "none"), ("jigsaw/6", "six"), ("grounding/mirror", "7.0-7.0")]
)
def test_validate_notices_a_gold_answer_that_does_not_score_1(altered: Alter, category: str, answer: str) -> None:
    edited = altered(lambda rows: update_sample(first_row(rows, category), answer=answer))
    assert failing_checks(validate(edited)) == {("gold scores 1", category)}


@pytest.mark.parametrize("end", ["first", "last"])
def test_validate_notices_a_shuffle_whose_end_does_not_change(altered: Alter, corpus: Corpus, end: str) -> None:
    def change(rows: list[Row]) -> None:
        row = first_row(rows, "grounding/shuffle")
        sample = schema.to_sample(row)
        slot = sample.integer(end)
        slots = list(sample.slots)
        other = slots.index((0, slot))
        slots[slot], slots[other] = slots[other], slots[slot]
        update_sample(row, corpus, slots=tuple(slots))

    assert failing_checks(validate(altered(change))) == {("borders change", "grounding/shuffle")}


def test_border_change_is_zero_where_a_border_has_no_effect(altered: Alter, corpus: Corpus) -> None:
    """The last slot of the segment shows the original frame, as if the segment were one slot too long."""
    edited = altered(lambda rows: None)
    index = next(
        row_index
        for row_index, category in enumerate(edited.rows["category"].to_pylist())
        if category == "grounding/mirror"
    )
    item = edited[index]
    due = edited.due(item.sample) or ()
    assert border_change(edited, item, due) > 5
    original = corpus.frames(item.sample.sources[0], [frame for _, frame in item.sample.slots])
    last = item.sample.integer("last")
    item.clips[0].frames[last] = original[last]
    assert border_change(edited, item, due) == 0


FILLED_CATEGORIES: dict[str, tuple[str, Callable[[np.random.Generator], list[Sample]], set[str]]] = {
    "segments as drawn": ("grounding/mirror", lambda rng: draw_grounding_samples(rng, 400), set()),
    "lengths skewed": (
        "grounding/mirror",
        lambda rng: [
            s
            for s in draw_grounding_samples(rng, 600)
            if s.integer("last") - s.integer("first") < 12 or rng.random() < 0.3
        ],
        {"distribution of lengths"},
    ),
    "positions early": (
        "grounding/mirror",
        lambda rng: [s for s in draw_grounding_samples(rng, 600) if s.integer("first") < 20],
        {"distribution of positions"},
    ),
    "long clips are altered late": (
        "grounding/mirror",
        lambda rng: [
            grounding_sample(s.integer("first"), s.integer("last"), s.integer("first") + int(rng.integers(50)))
            for s in draw_grounding_samples(rng, 300)
        ],
        {"duration tells the place"},
    ),
    "long clips are altered for long": (
        "grounding/mirror",
        lambda rng: [
            grounding_sample(
                s.integer("first"),
                s.integer("last"),
                3 * (s.integer("last") - s.integer("first")) + int(rng.integers(20)),
            )
            for s in draw_grounding_samples(rng, 300)
        ],
        {"duration tells the length"},
    ),
    "counts as drawn": (
        "counting/easy",
        lambda rng: [counting_sample(rng, row) for row in draw_counts(rng, 3, 300)],
        set(),
    ),
    "squares of the hard setting": (
        "counting/easy",
        lambda rng: [
            counting_sample(rng, [a, min(b, 9), c])
            for (a, _, c), (_, b, _) in zip(draw_counts(rng, 3, 300), draw_counts(rng, 4, 300), strict=True)
        ],
        {"distribution of counts, square"},
    ),
    "many are large": (
        "counting/easy",
        lambda rng: [counting_sample(rng, row, size=lambda count: 0.5 * count) for row in draw_counts(rng, 3, 300)],
        {"size tells the count"},
    ),
    "many are dark": (
        "counting/easy",
        lambda rng: [counting_sample(rng, row, color=lambda count: -6 * count) for row in draw_counts(rng, 3, 300)],
        {"color tells the count"},
    ),
    "permutations as drawn": ("jigsaw/6", lambda rng: [jigsaw_sample(draw_order(rng, 6)) for _ in range(400)], set()),
    "pieces stay": (
        "jigsaw/6",
        lambda rng: [
            jigsaw_sample(order)
            for order in (draw_order(rng, 6) for _ in range(600))
            if any(piece == place for place, piece in enumerate(order)) or rng.random() < 0.3
        ],
        {"distribution of permutations"},
    ),
}


@pytest.mark.parametrize("name", FILLED_CATEGORIES)
def test_validate_notices_a_skewed_distribution(altered: Alter, name: str) -> None:
    """One category is filled with hundreds of samples that are never rendered."""
    category, draw, wrong = FILLED_CATEGORIES[name]
    samples = draw(np.random.default_rng(7))

    def change(rows: list[Row]) -> None:
        row = first_row(rows, category)
        source = schema.to_sample(row).sources
        rows[:] = [row for row in rows if row["category"] != category]
        for number, sample in enumerate(samples):
            filled = replace(sample, category=category, sources=source, slots=((0, number),))
            question = TASKS.get(filled.task)().question(filled, TEMPLATES)
            rows.append(schema.to_row(filled, question, "", 0, 0))

    edited = altered(change)
    manifest = read_manifest(edited.path)
    manifest["recipe"]["categories"][category]["count"] = len(samples)
    manifest["hash"] = dataset_hash(edited.path, manifest)
    write_manifest(edited.path, manifest)
    edited = VideoSSRDataset(edited.path, corpus=edited.corpus.path)
    assert failing_checks(validate(edited, renders=0)) == {(check, category) for check in wrong}


def test_marker_errors_are_at_most_0_05_seconds() -> None:
    sample = replace(grounding_sample(8, 19), clock=uniform_clock(47, 33333))
    errors = marker_errors(sample)
    assert len(errors) == 24
    assert max(errors) <= 0.0505
    assert max(errors) > 0.03


def test_label_error_compares_the_answer_with_the_slots() -> None:
    sample = grounding_sample(8, 19)
    start, end = sample.clock.span(8, 19)
    assert label_error(sample) <= 0.0505
    assert label_error(replace(sample, answer=f"{start + 0.3:.3f}-{end:.3f}")) == pytest.approx(0.3, abs=0.001)
    assert label_error(replace(sample, answer="soon")) == float("inf")
    assert label_error(jigsaw_sample([1, 0, 2])) == 0


def test_true_answer_follows_from_the_truth() -> None:
    assert true_answer(jigsaw_sample([2, 0, 1])) == "231"
    assert true_answer(grounding_sample(8, 19)) is None
    assert true_answer(counting_sample(np.random.default_rng(0), [1, 2, 3])) == "1,2,3"
