"""Answers that are sampled in batches are those of the model alone, from its whole distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy import stats

from tests.helpers.training import Inputs
from videossr.engine.checkpoint import Checkpoint
from videossr.engine.generation import GeneratedAnswer, generate, generate_with_refill
from videossr.engine.sampling import Layout, Sampling, Seed, choose_tokens, truncate
from videossr.engine.shared_prefix import SharedPrefix, answer_scores, full_scores, read_prefix
from videossr.models.tiny import Family

Asked = Callable[..., Inputs]
NEVER = frozenset({10**6})


@pytest.fixture(scope="module", params=get_args(Family))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Checkpoint], family: str) -> Any:
    return tiny(family).load(torch.device("cpu"), "float32", "sdpa")


def draw_answers(model: Any, inputs: list[Inputs], n: int, **options: Any) -> list[list[GeneratedAnswer]]:
    with torch.no_grad():
        prefixes = [read_prefix(model, prompt) for prompt in inputs]
    settings: dict[str, Any] = {
        "max_tokens": 6,
        "ends": NEVER,
        "seeds": [(0, index) for index in range(len(inputs))],
    } | options
    return generate(model, prefixes, n, **settings)


def test_generate_log_probabilities_are_those_of_full_passes(model: Any, asked: Asked, family: str) -> None:
    """Prompts of unequal length share a batch, in which the shorter ones are padded."""
    inputs = [asked(family, clips=1), asked(family, clips=3, frames=4), asked(family, clips=1, frames=4)]
    assert len({prompt["input_ids"].shape[1] for prompt in inputs}) == 3
    for prompt, answers in zip(inputs, draw_answers(model, inputs, 5, temperature=0.8, banned=(7,)), strict=True):
        ids = [answer.ids for answer in answers]
        assert all(len(answer) == 6 and 7 not in answer for answer in ids)
        with torch.no_grad():
            expected = list(full_scores(model, prompt, ids, temperature=0.8, banned=(7,)))
        for answer, full in zip(answers, expected, strict=True):
            assert torch.tensor(answer.logprobs) == pytest.approx(full.logprobs[0].numpy(), abs=2e-5)


def test_generate_and_answer_scores_agree_on_log_probabilities(model: Any, asked: Asked, family: str) -> None:
    """Sampling and the loss compute the same log-probabilities."""
    inputs = asked(family, clips=2)
    prefix = read_prefix(model, inputs)
    (answers,) = generate(model, [prefix], 6, max_tokens=9, seeds=[(1,)], ends=NEVER)
    scores = answer_scores(model, prefix, [answer.ids for answer in answers])
    assert scores.logprobs.requires_grad
    assert torch.tensor([answer.logprobs for answer in answers]) == pytest.approx(
        scores.logprobs.detach().numpy(), abs=2e-5
    )


def test_generate_draws_the_same_by_a_seed_whatever_else_is_in_the_batch(model: Any, asked: Asked, family: str) -> None:
    inputs = [asked(family, seed=1), asked(family, seed=2, frames=4)]
    together = draw_answers(model, inputs, 4)
    alone = [draw_answers(model, [prompt], 4, seeds=[(0, index)])[0] for index, prompt in enumerate(inputs)]
    assert [[answer.ids for answer in group] for group in together] == [
        [answer.ids for answer in group] for group in alone
    ]
    reseeded = draw_answers(model, inputs, 4, seeds=[(0, 0), (1, 1)])
    assert [answer.ids for answer in reseeded[0]] == [answer.ids for answer in together[0]]
    assert [answer.ids for answer in reseeded[1]] != [answer.ids for answer in together[1]]


def test_generate_draws_the_first_token_by_its_distribution(model: Any, asked: Asked, family: str) -> None:
    inputs = asked(family)
    with torch.no_grad():
        prefix = read_prefix(model, inputs)
    shares = prefix.logits[0].double().softmax(-1)
    (answers,) = generate(model, [prefix], 4000, max_tokens=1, seeds=[(3,)], ends=NEVER)
    counts = np.bincount([answer.ids[0] for answer in answers], minlength=len(shares))
    frequent = (shares > 2e-3).numpy()
    expected = np.append(shares.numpy()[frequent], 1 - shares.numpy()[frequent].sum())
    observed = np.append(counts[frequent], counts[~frequent].sum())
    assert stats.chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > 1e-3


def test_generate_cuts_answers_at_their_end_token(model: Any, asked: Asked, family: str) -> None:
    """With many end tokens, each answer is the one without end tokens, cut behind its first end token."""
    inputs = [asked(family)]
    vocabulary = model.config.get_text_config().vocab_size
    ends = frozenset(range(0, vocabulary, 4))
    (free,) = draw_answers(model, inputs, 32)
    (bound,) = draw_answers(model, inputs, 32, ends=ends)
    for answer, uncut in zip(bound, free, strict=True):
        end = next((index for index, token in enumerate(uncut.ids) if token in ends), None)
        assert answer.ended == (end is not None)
        assert answer.ids == (uncut.ids if end is None else uncut.ids[: end + 1])
        assert len(answer.logprobs) == len(answer.ids)
    assert len({len(answer.ids) for answer in bound}) > 2


@pytest.mark.parametrize("layout", get_args(Layout))
def test_generate_with_refill_draws_the_same_answers_in_fewer_steps(
    model: Any, asked: Asked, family: str, layout: Layout
) -> None:
    """Prompts that end soon lie between others, and one that enters finds the rest at other columns of the cache."""
    vocabulary = model.config.get_text_config().vocab_size
    settings: dict[str, Any] = {"max_tokens": 12, "ends": frozenset(range(0, vocabulary, 5)), "layout": layout}
    inputs = [asked(family, clips=1 + seed // 4, frames=4 + seed % 2, seed=seed) for seed in range(6)]
    drawn = draw_answers(model, inputs, 3, **settings)
    lengths = [max(len(answer.ids) for answer in group) for group in drawn]
    by_length = sorted(range(6), key=lengths.__getitem__)
    order = [by_length[place] for place in (5, 0, 4, 1, 3, 2)]
    taken: list[int] = []
    done: dict[int, list[GeneratedAnswer]] = {}
    widths: list[int] = []

    def prompts() -> Iterator[tuple[Seed, SharedPrefix]]:
        for number in order:
            taken.append(number)
            yield (0, number), read_prefix(model, inputs[number])

    hook = model.get_input_embeddings().register_forward_hook(lambda *args: widths.append(args[1][0].shape[1]))
    for place, answers in generate_with_refill(model, prompts(), 3, Sampling(**settings), at_once=2):
        assert len(taken) - len(done) <= 2, "a prompt is taken before there is a place"
        done[order[place]] = answers
    hook.remove()
    for number, group in enumerate(drawn):
        assert [answer.ids for answer in done[number]] == [answer.ids for answer in group]
        for answer, alone in zip(done[number], group, strict=True):
            assert answer.logprobs == pytest.approx(alone.logprobs, abs=2e-5)
    assert list(done) != order, "they come as they end"
    steps = sum(width <= 3 for width in widths)  # a step reads a token of each of the three answers, or of one
    assert steps < sum(lengths[number] - 1 for number in order[::2])


def test_generate_makes_no_step_after_all_answers_have_ended(model: Any, asked: Asked, family: str) -> None:
    lengths: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda *arguments: lengths.append(arguments[1][0].shape[1])
    )
    everything = frozenset(range(model.config.get_text_config().vocab_size))
    (answers,) = draw_answers(model, [asked(family)], 3, ends=everything)
    hook.remove()
    assert all(len(answer.ids) == 1 and answer.ended for answer in answers)
    assert len(lengths) == 1  # the prompt alone


def test_generate_refuses_scores_that_are_no_numbers(model: Any, asked: Asked, family: str) -> None:
    with torch.no_grad():
        prefix = read_prefix(model, asked(family))
    prefix.logits[:] = torch.nan
    with pytest.raises(FloatingPointError, match="no numbers"):
        generate(model, [prefix], 2, max_tokens=2, seeds=[(0,)], ends=NEVER)


def draw_tokens(
    scores: torch.Tensor, waits: torch.Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> torch.Tensor:
    """Draw one token for each row of scores, as evaluation does."""
    return choose_tokens(truncate((scores.double() / temperature).log_softmax(-1), top_k, top_p), waits)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (2.0, 3, 1.0), (1.0, 0, 0.8), (1.0, 4, 0.9)]
)
def test_choose_tokens_draws_by_the_truncated_distribution(temperature: float, top_k: int, top_p: float) -> None:
    shares = np.array([0.02, 0.4, 0.08, 0.3, 0.15, 0.05])
    probabilities = shares ** (1 / temperature)
    order = np.argsort(-probabilities)
    if top_k:
        probabilities[order[top_k:]] = 0
    probabilities /= probabilities.sum()
    before = np.cumsum(probabilities[order]) - probabilities[order]
    probabilities[order[before >= top_p]] = 0
    probabilities /= probabilities.sum()
    rows = 20_000
    waits = torch.from_numpy(np.random.default_rng(0).standard_exponential((rows, 6)))
    scores = torch.from_numpy(np.log(shares)).float().repeat(rows, 1) + 30
    counts = np.bincount(draw_tokens(scores, waits, temperature, top_k, top_p).numpy(), minlength=6)
    assert counts[probabilities == 0].sum() == 0
    assert stats.chisquare(counts[probabilities > 0], rows * probabilities[probabilities > 0]).pvalue > 1e-3


def test_choose_tokens_draws_only_from_the_kept_tokens() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2, 0.0]]))
    early = torch.tensor([[9.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    for top_p, token in ((1.0, 2), (0.6, 1)):
        assert draw_tokens(scores, early, top_p=top_p).tolist() == [token]


def test_choose_tokens_is_stable_under_tiny_changes_of_scores() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(2000, 500))).float()
    waits = torch.from_numpy(rng.standard_exponential((2000, 500)))
    nudged = scores + 1e-6 * torch.from_numpy(rng.normal(size=(2000, 500))).float()
    assert (draw_tokens(scores, waits) != draw_tokens(nudged, waits)).sum() <= 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generate_gives_the_same_answers_in_both_layouts(
    model: Any, asked: Asked, family: str, temperature: float
) -> None:
    """Greedy answers are equal token for token; sampled ones have the log-probabilities of full passes in both."""
    inputs = [asked(family, seed=1), asked(family, seed=2, frames=4)]
    vocabulary = model.config.get_text_config().vocab_size
    ends = frozenset(range(0, vocabulary, 7))  # so that rows leave the batch at different times
    banned = [model.config.video_token_id, model.config.image_token_id]
    options = {"max_tokens": 9, "ends": ends, "temperature": temperature, "banned": banned}
    packed, rows = (draw_answers(model, inputs, 3, layout=layout, **options) for layout in ("packed", "rows"))
    if temperature == 0:
        assert [[answer.ids for answer in group] for group in packed] == [
            [answer.ids for answer in group] for group in rows
        ]
        assert all(len({tuple(answer.ids) for answer in group}) == 1 for group in rows)
    for prompt, group in zip(inputs, rows, strict=True):
        with torch.no_grad():
            ids = [answer.ids for answer in group]
            expected = list(full_scores(model, prompt, ids, temperature=temperature or 1.0, banned=banned))
        for answer, full in zip(group, expected, strict=True):
            assert torch.tensor(answer.logprobs) == pytest.approx(full.logprobs[0].numpy(), abs=2e-5)
            assert answer.ended == (answer.ids[-1] in ends)
    assert temperature == 0 or len({len(answer.ids) for group in rows for answer in group}) > 1
