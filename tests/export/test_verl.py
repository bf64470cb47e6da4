"""Exported rows and settings for verl, without verl: what is written and refused, and the way back to the clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.dataset.published.conftest import row as published_row
from tests.dataset.published.conftest import write_json
from tests.helpers.scripts import script_words
from videossr.cli import main
from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, DataError, OutputError
from videossr.export.trainer import Cluster, check_shares, check_text, prompt_tokens
from videossr.export.verl import OTHER_MEDIA, export_verl
from videossr.question import VIDEO, Question
from videossr.question_set import open_questions
from videossr.references import ClipCache, read_references, render
from videossr.training.batching import choose_questions
from videossr.training.config import load_config
from videossr.verl.settings import Rows, settings_of
from videossr.verl.tokens import VideoTokens, check_same_text, expand
from videossr.verl.translation import translate
from videossr.verl.versions import MADE_FOR, check_environment, check_versions

PAPER = load_config("train-paper")
SMALL = load_config("train-paper", {"run.batch": 4})


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verl") / "out"
    export_verl(VideoSSRDataset(dataset), out, SMALL, Cluster(1, 2))
    return out


def messages_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Put a row's references in the place of the markers, as verl's dataset does."""
    shown = iter(row["videos"])
    turns = []
    for turn in row["prompt"]:
        first, *rest = turn["content"].split(VIDEO)
        content: list[dict[str, Any]] = [{"type": "text", "text": first}]
        for text in rest:
            content += [{"type": "video", **next(shown)}, {"type": "text", "text": text}]
        turns.append({"role": turn["role"], "content": content})
    assert next(shown, None) is None
    return turns


def test_export_verl_rows_lead_back_to_every_clip_of_the_dataset(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    rows = pq.read_table(exported / "train.parquet").to_pylist()
    assert len(rows) == len(opened)
    cache = ClipCache()
    for index, row in enumerate(rows):
        item = opened[index]
        assert row["data_source"] == item.question.data_source
        assert row["reward_model"] == {"style": "rule", "ground_truth": item.question.answer}
        assert row["extra_info"] == {"index": index, "id": item.sample.id, "category": item.sample.category}
        assert [turn["content"] for turn in row["prompt"]] == [item.question.system, item.question.prompt]
        shown = cache.clips(read_references(messages_of(row)))
        assert [clip.clock for clip in shown] == [clip.clock for clip in item.clips]
        assert all(np.array_equal(one.frames, other.frames) for one, other in zip(shown, item.clips, strict=True))


def test_export_verl_rows_are_those_that_our_trainer_takes(dataset: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    settings = {"run.batch": 1, "data.categories": ["jigsaw/6"], "data.share": [0.0, 0.5], "data.corpus": "elsewhere"}
    config = load_config("train-paper", settings)
    export_verl(opened, tmp_path / "out", config, Cluster(1, 1))
    rows = pq.read_table(tmp_path / "out/train.parquet").to_pylist()
    categories = [opened.category(index) for index in range(len(opened))]
    assert [row["extra_info"]["index"] for row in rows] == choose_questions(categories, ["jigsaw/6"], (0.0, 0.5), 0)
    assert 0 < len(rows) < categories.count("jigsaw/6")
    assert {clip["corpus"] for row in rows for clip in row["videos"]} == {str(opened.corpus.path)}
    words = script_words(tmp_path / "out/train.sh", "model")
    assert f"trainer.total_training_steps={len(rows)}" in words


def test_export_verl_rows_of_others_lead_back_to_their_clips(videos: Path, tmp_path: Path) -> None:
    """Published rows refer to themselves; whether they may show files anywhere is in each reference."""
    item = {"video": str(videos / "real/bikes.mp4"), "fps": 2.0, "max_pixels": 65536, "min_pixels": 16384}
    table = [
        published_row("grounding", "<video> When?", [item], "1.0-2.0"),
        published_row("jigsaw", "<video><video>", [item] * 2, "21"),
    ]
    opened = open_questions(write_json(tmp_path / "rows.json", table), anywhere=True)
    config = load_config("train-paper", {"run.batch": 2, "data.anywhere": True})
    export_verl(opened, tmp_path / "out", config, Cluster(1, 1))
    written = pq.read_table(tmp_path / "out/train.parquet").to_pylist()
    assert [len(each["videos"]) for each in written] == [1, 2]
    for index, each in enumerate(written):
        shown = ClipCache().clips(read_references(messages_of(each)))
        for one, other in zip(shown, opened.clips(index), strict=True):
            assert one.clock == other.clock
            assert np.array_equal(one.frames, other.frames)
    (closed, *_) = read_references(messages_of(written[0]))
    closed["anywhere"] = False
    with pytest.raises(DataError, match="with --anywhere"):
        render(closed)


def test_export_verl_rows_hold_no_frames_and_no_nulls(exported: Path) -> None:
    table = pq.read_table(exported / "train.parquet")
    assert table.nbytes / table.num_rows < 5000
    for row in table.to_pylist():
        assert all(None not in reference.values() for reference in row["videos"])


def test_export_verl_completes_and_repeats_but_takes_no_foreign_folder(dataset: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    script = export_verl(opened, tmp_path / "out", SMALL, Cluster(1, 2))
    assert sorted(path.name for path in script.parent.iterdir()) == [
        "agent_loop.yaml",
        "requirements.txt",
        "train.parquet",
        "train.sh",
    ]
    sound = {path.name: path.read_bytes() for path in script.parent.iterdir()}
    (tmp_path / "out/train.parquet").unlink()
    (tmp_path / "out/agent_loop.yaml").write_text("- name: other\n")
    export_verl(opened, tmp_path / "out", SMALL, Cluster(1, 2))
    assert {path.name: path.read_bytes() for path in script.parent.iterdir()} == sound
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/train.sh").write_text("#!/bin/sh\n")
    with pytest.raises(OutputError, match="`videossr export verl` has not made"):
        export_verl(opened, tmp_path / "foreign", SMALL, Cluster(1, 2))


def test_script_gives_verl_the_settings_of_the_paper(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "a folder's = signs"
    known = str(out).replace("'", r"\'")
    script = export_verl(VideoSSRDataset(dataset), out, SMALL, Cluster(1, 2))
    words = script_words(script, "/models/a model's", "trainer.total_training_steps=2")
    assert words[-1] == "trainer.total_training_steps=2"
    settings = dict(word.split("=", 1) for word in words)
    actor = "actor_rollout_ref.actor"
    assert {
        "algorithm.adv_estimator": "grpo",
        "data.train_files": f"'{known}/train.parquet'",
        "data.train_batch_size": "4",
        "data.max_prompt_length": "8192",
        "data.max_response_length": "64",
        "data.image_patch_size": "16",
        "actor_rollout_ref.model.path": r"'/models/a model\'s'",
        "actor_rollout_ref.rollout.n": "8",
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": f"'{known}/agent_loop.yaml'",
        f"{actor}.optim.lr": "1e-06",
        f"{actor}.optim.betas": "[0.9,0.999]",
        f"{actor}.kl_loss_coef": "0.001",
        f"{actor}.ppo_mini_batch_size": "4",
        "reward.custom_reward_function.path": "pkg://videossr.rewards",
        "trainer.n_gpus_per_node": "2",
        "trainer.logger": "[console,file]",
    }.items() <= settings.items()


def test_overrides_take_the_batch_of_the_paper_for_any_even_share() -> None:
    for cards, micro in ((1, 4), (8, 4), (64, 4), (256, 2), (512, 1)):
        settings = settings_of(PAPER, translate(PAPER), Cluster(1, cards), Rows(64, 8192), "here")
        assert settings["data.train_batch_size"] == 64
        assert settings["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu"] == micro


@pytest.mark.parametrize(
    ("cluster", "samples", "reason"),
    [
        (Cluster(1, 3), 100, "64 x 8 answers, which verl cannot share evenly between 1 x 3"),
        (Cluster(3, 8), 100, "between 3 x 8"),
        (Cluster(0, 8), 100, "at least one of each"),
        (Cluster(1, 8), 63, "63 questions and a step takes 64"),
    ],
)
def test_check_shares_refuses_what_verl_would_fail_on(cluster: Cluster, samples: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        check_shares(PAPER, cluster, samples, "verl")


CLOCK = Clock((0, 500, 1250, 2000), 2500)
QUESTION = Question("q", "videossr/interval", "Be brief.", f"{VIDEO} When?", "0-1", (CLOCK,))


def test_prompt_tokens_is_a_bound() -> None:
    """Two pairs of 4 tokens and 2 of vision, two markers of 13 letters, 15 bytes of text, and what a template adds."""
    assert (
        prompt_tokens(QUESTION, [(64, 64)]) == 2 * (4 + 2 + len("<0.2 seconds>")) + len(f"Be brief.{VIDEO} When?") + 64
    )


def test_prompt_tokens_refuses_a_size_that_the_processor_scales() -> None:
    with pytest.raises(ConfigError, match="80 x 64, and a side that is no multiple of 32"):
        prompt_tokens(QUESTION, [(64, 80)])


@pytest.mark.parametrize(
    ("question", "found"),
    [
        (replace(QUESTION, prompt=f"{VIDEO} <image>"), "<image>"),
        (replace(QUESTION, system=VIDEO), VIDEO),
        (replace(QUESTION, answer=VIDEO), VIDEO),
    ],
)
def test_check_text_refuses_what_a_trainer_would_read_otherwise(question: Question, found: str) -> None:
    check_text(QUESTION, "verl", OTHER_MEDIA)
    with pytest.raises(ConfigError, match=f"question q: its text has {found}, which verl takes"):
        check_text(question, "verl", OTHER_MEDIA)


def test_check_versions_takes_the_versions_of_the_export_and_names_others() -> None:
    check_versions(MADE_FOR)
    check_versions(dict(MADE_FOR) | {"vllm": "0.24.0+cu130"})
    check_versions({name: version for name, version in MADE_FOR.items() if name != "vllm"}, vllm=False)
    with pytest.raises(ConfigError, match=r"transformers 5\.10\.4, made for 5\.9\.0: .*two more tokens"):
        check_versions(dict(MADE_FOR) | {"transformers": "5.10.4"})
    with pytest.raises(ConfigError, match="vllm is missing, made for") as raised:
        check_versions({name: version for name, version in MADE_FOR.items() if name != "vllm"})
    assert "verl 0.9.1" not in str(raised.value)


@pytest.mark.parametrize("engine", ["sglang", "trtllm"])
def test_check_environment_refuses_other_engines(engine: str) -> None:
    with pytest.raises(ConfigError, match=f"rollout.name={engine}: .* Take vllm"):
        check_environment(engine)


START, PAD, END = 90, 91, 92
VIDEO_TOKENS = VideoTokens(START, PAD, END)


def encode(text: str) -> list[int]:
    return [len(text), round(float(text[1:].partition(" ")[0]) * 10)]


def test_expand_puts_each_clip_in_its_place() -> None:
    other = Clock((0, 4000), 8000)
    ids = expand([1, START, PAD, END, 2, START, PAD, END, 3], [CLOCK, other], [1, 2], VIDEO_TOKENS, encode)
    first = [13, 2, START, PAD, END, 13, 16, START, PAD, END]  # 0.25 s and 1.625 s
    assert ids == [1, *first, 2, 13, 20, START, PAD, PAD, END, 3]


@pytest.mark.parametrize("prompt", [[1, 2], [START, PAD, END] * 2, [1, PAD, END], [START, PAD, PAD, END]])
def test_expand_refuses_other_placeholders_than_one_a_clip(prompt: list[int]) -> None:
    with pytest.raises(DataError, match="placeholders of a video for 1 clips"):
        expand(prompt, [CLOCK], [1], VIDEO_TOKENS, encode)


def test_check_same_text_shows_where_texts_part() -> None:
    check_same_text("same", "same")
    with pytest.raises(DataError, match=r"'the <0.2 seconds>' and 'the <0.3 seconds>'"):
        check_same_text("the <0.2 seconds>", "the <0.3 seconds>")
    with pytest.raises(DataError, match="another prompt"):
        check_same_text("longer", "long")


def test_command_exports_and_refuses_in_a_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "verl", str(dataset), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as refused:
        main(command)
    assert refused.value.code == 2
    assert "a step takes 64" in " ".join("".join(capsys.readouterr()).split())
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as done:
        main([*command, "--batch", "4", "--gpus", "2", "--nodes", "2"])
    assert done.value.code == 0
    assert "RAY_ADDRESS" in (tmp_path / "out/train.sh").read_text()
    with pytest.raises(SystemExit) as done:
        main([*command, "--batch", "4", "--gpus", "2", "--grpo.kl=0", "--grpo.rollouts=4"])
    assert done.value.code == 0
    words = script_words(tmp_path / "out/train.sh", "model")
    assert {"actor_rollout_ref.actor.use_kl_loss=False", "actor_rollout_ref.rollout.n=4"} <= set(words)


def test_command_opens_rows_as_the_settings_say(videos: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clips/bikes.mp4"
    clip.parent.mkdir()
    shutil.copyfile(videos / "real/bikes.mp4", clip)
    row = {
        "video": str(clip),
        "fps": 1,
        "max_pixels": 65536,
        "min_pixels": 16384,
        "prompt": "Is it day?",
        "answer": True,
        "answer_type": "yes_no",
    }
    rows = tmp_path / "rows/mine.jsonl"
    rows.parent.mkdir()
    rows.write_text(json.dumps(row) + "\n")
    command = ["export", "verl", str(rows), "--batch", "1", "--gpus", "1", "--out"]
    for place, words in (("anywhere", ["--data.anywhere=true"]), ("corpus", [f"--data.corpus={clip.parent}"])):
        with pytest.raises(SystemExit) as done:
            main([*command, str(tmp_path / place), *words])
        assert done.value.code == 0
