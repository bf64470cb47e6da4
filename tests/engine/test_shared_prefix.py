"""A shared prefix gives the log-probabilities and gradients of separate full forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any, get_args

import peft
import pytest
import torch
from torch.overrides import TorchFunctionMode

from tests.helpers.training import Inputs
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine import shared_prefix
from videossr.engine.checkpoint import Checkpoint, prompt_inputs
from videossr.engine.kv_cache import cache_arguments, empty_cache
from videossr.engine.model import as_module
from videossr.engine.recomputation import HostMemory, gradient_checkpointing
from videossr.engine.shared_prefix import (
    SharedPrefix,
    TokenScores,
    answer_scores,
    can_share,
    following,
    full_scores,
    read_prefix,
)
from videossr.engine.split_backward import split_backward
from videossr.errors import DataError
from videossr.models.tiny import Family
from videossr.training.config import GrpoConfig
from videossr.training.grpo import group_loss

UNEQUAL = ([20], [21, 22, 23, 24, 25, 26], [30, 31, 32], [20], [40, 41], [33, 34, 35, 36])
EQUAL = ([20, 21, 22], [23, 24, 25], [26, 27, 28])
SINGLE = ([20], [21], [22])
GAINS = (1.0, -0.5, 0.25, -1.5, 0.75, 0.1)

Tiny = Callable[[Family], Checkpoint]
Make = Callable[..., Any]


@pytest.fixture
def make(tiny: Tiny) -> Make:
    def build_model(family: Family = "qwen3_vl", *, lora: bool = False, vision: bool = True) -> Any:
        model = tiny(family).load(torch.device("cpu"), "float32", "sdpa")
        model.model.visual.requires_grad_(vision)
        if not lora:
            return model
        torch.manual_seed(0)
        targets = r".*language_model.*(q_proj|v_proj|down_proj)" + (r"|.*visual.*(qkv|linear_fc1)" if vision else "")
        adapted = peft.get_peft_model(as_module(model), peft.LoraConfig(r=4, target_modules=targets))
        with torch.no_grad():  # as they begin, one factor is 0 and the other has no gradient
            for name, weight in adapted.named_parameters():
                if "lora_B" in name:
                    weight.normal_(0, 0.02)
        return adapted

    return build_model


def loss(scores: TokenScores, gains: Sequence[float], reference: torch.Tensor) -> torch.Tensor:
    """The group's loss with a KL that is not small."""
    width = scores.mask.shape[1]
    config = GrpoConfig(kl=0.3)
    return group_loss(scores, torch.tensor(gains), config, reference=reference[:, :width]).total


def take_gradients(model: Any) -> dict[str, torch.Tensor]:
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    return gradients


def run_separately(
    model: Any, inputs: Inputs, answers: Sequence[Sequence[int]], reference: torch.Tensor
) -> tuple[list[torch.Tensor], float, dict[str, torch.Tensor]]:
    """Compute log-probabilities of each answer, loss and gradients by one full forward pass for each answer."""
    rows, total = [], 0.0
    for number, scores in enumerate(full_scores(model, inputs, answers)):
        part = loss(scores, GAINS[number : number + 1], reference[number : number + 1])
        torch.autograd.backward(part)
        rows.append(scores.logprobs.detach()[0])
        total += float(part.detach())
    return rows, total, take_gradients(model)


def run_shared(
    model: Any, inputs: Inputs, answers: Sequence[Sequence[int]], reference: torch.Tensor
) -> tuple[list[torch.Tensor], float, dict[str, torch.Tensor]]:
    """Compute the same by one shared prefix, and a backward pass in two parts."""
    with split_backward(read_prefix(model, inputs)) as leaves:
        scores = answer_scores(model, leaves, answers)
        total = loss(scores, GAINS[: len(answers)], reference)
        torch.autograd.backward(total)
    rows = [row[mask].detach() for row, mask in zip(scores.logprobs, scores.mask, strict=True)]
    return rows, float(total.detach()), take_gradients(model)


def rounding(model: Any) -> float:
    """Return the relative error that is allowed: the decay of Gated DeltaNet rounds more than attention does."""
    return 3e-5 if "qwen3_5" in model.config.model_type else 1e-5


def is_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return bool((actual - expected).norm() <= tolerance * expected.norm().clamp(min=1e-6))


def assert_equal_gradients(
    model: Any, inputs: Inputs, answers: Sequence[Sequence[int]], *, recompute: bool = False, offload: bool = False
) -> dict[str, torch.Tensor]:
    """Check that both ways agree, and return the gradients."""
    torch.manual_seed(1)
    reference = -3 * torch.rand(len(answers), max(map(len, answers)))
    rows, total, grads = run_separately(model, inputs, answers, reference)
    with gradient_checkpointing(model, offload=offload) if recompute else nullcontext():
        actual = run_shared(model, inputs, answers, reference)
    tolerance = rounding(model)
    assert all(is_close(*pair, tolerance) for pair in zip(actual[0], rows, strict=True))
    assert actual[1] == pytest.approx(total, rel=tolerance, abs=1e-6)
    assert actual[2].keys() == grads.keys()
    # Relative to the largest gradient, for one that is 0 up to rounding has no relative error.
    scale = 1e-3 * max(float(parameter_gradient.norm()) for parameter_gradient in grads.values())
    for name, gradient in grads.items():
        # The decay is a sum over all tokens, whose terms nearly cancel.
        allowed = 3 * tolerance if name.endswith(("A_log", "dt_bias")) else tolerance
        assert (actual[2][name] - gradient).norm() <= allowed * max(float(gradient.norm()), scale), name
    return grads


@pytest.mark.parametrize("family", get_args(Family))
@pytest.mark.parametrize("answers", [UNEQUAL, EQUAL, SINGLE])
@pytest.mark.parametrize("lora", [False, True])
def test_answer_scores_have_the_gradients_of_full_passes(
    make: Make, asked: Callable[..., Inputs], family: Family, answers: Sequence[Sequence[int]], lora: bool
) -> None:
    model = make(family, lora=lora)
    grads = assert_equal_gradients(model, asked(family), answers)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not lora:
        assert set(grads) == set(trainable)
    assert any("visual" in name for name in grads)
    assert all(float(grad.norm()) > 0 for name, grad in grads.items() if "layers.0" in name or "patch_embed" in name)


@pytest.mark.parametrize("family", get_args(Family))
@pytest.mark.parametrize("vision", [True, False])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_answer_scores_agree_for_several_clips_frozen_vision_and_recomputation(
    make: Make, asked: Callable[..., Inputs], family: Family, vision: bool, lora: bool, recompute: bool
) -> None:
    grads = assert_equal_gradients(
        make(family, lora=lora, vision=vision), asked(family, clips=4, frames=4), UNEQUAL, recompute=recompute
    )
    assert any("visual" in name for name in grads) == vision


class InDouble(TorchFunctionMode):
    """Compute in float64 what a model computes in float32 whatever the type of its weights."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        def double(value: object) -> object:
            return torch.float64 if value is torch.float32 else value

        if func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*map(double, args), **{name: double(value) for name, value in (kwargs or {}).items()})


@pytest.fixture
def in_double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with InDouble():
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("family", get_args(Family))
def test_answer_scores_are_those_of_full_passes_to_1e_9_in_float64(
    make: Make, asked: Callable[..., Inputs], in_double: None, family: Family
) -> None:
    """So what they differ by in float32 is rounding."""
    model = make(family).double()
    if family.endswith("_moe"):
        model.set_experts_implementation("eager")  # the other one has no float64
    inputs = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in asked(family).items()}
    reference = torch.zeros(len(UNEQUAL), 6)
    rows, total, grads = run_separately(model, inputs, UNEQUAL, reference)
    assert all(gradient.dtype == torch.float64 for gradient in grads.values())
    shared_rows, shared_total, shared_grads = run_shared(model, inputs, UNEQUAL, reference)
    assert all(is_close(*pair, 1e-9) for pair in zip(shared_rows, rows, strict=True))
    assert shared_total == pytest.approx(total, rel=1e-9)
    for name, gradient in grads.items():
        assert (shared_grads[name] - gradient).norm() <= 1e-9 * gradient.norm().clamp(min=1e-3), name


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("vision", [True, False])
def test_split_backward_has_the_gradients_of_a_single_backward_pass(
    make: Make, asked: Callable[..., Inputs], family: Family, vision: bool
) -> None:
    model, inputs, reference = make(family, vision=vision), asked(family), torch.zeros(len(UNEQUAL), 6)
    _, total, grads = run_shared(model, inputs, UNEQUAL, reference)
    scores = answer_scores(model, read_prefix(model, inputs), UNEQUAL)
    at_once = loss(scores, GAINS, reference)
    torch.autograd.backward(at_once)
    assert float(at_once.detach()) == total
    single = take_gradients(model)
    assert single.keys() == grads.keys()
    assert all(is_close(grads[name], gradient, rounding(model)) for name, gradient in single.items())


def test_split_backward_without_a_backward_pass_leaves_no_gradient(make: Make, asked: Callable[..., Inputs]) -> None:
    model = make()
    with split_backward(read_prefix(model, asked())) as leaves:
        answer_scores(model, leaves, UNEQUAL)
    assert not take_gradients(model)


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
def test_answer_scores_agree_with_offloaded_activations(
    make: Make, asked: Callable[..., Inputs], family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What layers keep is copied, and weights are not."""
    model = make(family)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    copied: list[torch.Size] = []
    pack = HostMemory._pack

    def record(memory: HostMemory, tensor: torch.Tensor) -> tuple[torch.device, torch.Tensor]:
        device, kept = pack(memory, tensor)
        is_copy = kept.data_ptr() != tensor.data_ptr()
        assert is_copy != (tensor.untyped_storage().data_ptr() in weights)
        if is_copy:
            copied.append(tensor.shape)
        return device, kept

    monkeypatch.setattr(HostMemory, "_pack", record)
    inputs = asked(family, clips=2)
    assert_equal_gradients(model, inputs, UNEQUAL, recompute=True, offload=True)
    text = model.config.get_text_config()
    prompt = torch.Size((1, inputs["input_ids"].shape[1], text.hidden_size))
    assert copied.count(prompt) >= text.num_hidden_layers


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("recompute", [False, True])
def test_answer_scores_agree_where_answers_are_scored_in_parts(
    make: Make, asked: Callable[..., Inputs], family: Family, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is longer than a pack is one of its own, which the head reads in two."""
    monkeypatch.setattr(shared_prefix, "SCORED_AT_ONCE", 4)
    model = make(family)
    packs: list[int] = []
    scored: list[int] = []
    allowed_scores = shared_prefix.allowed_scores

    def record(logits: torch.Tensor, banned: Sequence[int]) -> torch.Tensor:
        scored.append(len(logits))
        return allowed_scores(logits, banned)

    monkeypatch.setattr(shared_prefix, "allowed_scores", record)
    model.get_input_embeddings().register_forward_hook(lambda *args: packs.append(args[1][0].shape[1]))
    inputs = asked(family)
    answer_scores(model, read_prefix(model, inputs), UNEQUAL)
    assert packs == [inputs["input_ids"].shape[1], 5, 3, 3]
    assert scored == [6, 4, 1, 3, 3]  # the first token of each answer, and what follows
    assert_equal_gradients(model, inputs, UNEQUAL, recompute=recompute)


def test_answer_scores_agree_for_a_jigsaw_of_real_clips(make: Make, tiny: Tiny, dataset: Any) -> None:
    questions = VideoSSRDataset(dataset)
    index = next(number for number in range(len(questions)) if questions.category(number) == "jigsaw/6")
    prompt = tiny("qwen3_vl").build(questions.question(index), questions.clips(index))
    assert len(prompt.grids) == 6
    assert_equal_gradients(
        make(), prompt_inputs(prompt, torch.device("cpu"), torch.float32), UNEQUAL[:3], recompute=True
    )


def test_full_scores_of_several_rows_at_once_are_those_of_each_row(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked(clips=2)
    alone = [scores.logprobs[0] for scores in full_scores(model, inputs, UNEQUAL)]
    for rows in (2, 4, 6):
        batches = full_scores(model, inputs, UNEQUAL, rows=rows)
        together = list(chain.from_iterable(masked_rows(batch) for batch in batches))
        assert all(is_close(*pair) for pair in zip(together, alone, strict=True))


def masked_rows(scores: TokenScores) -> Iterator[torch.Tensor]:
    for row, mask in zip(scores.logprobs, scores.mask, strict=True):
        yield row[mask]


def test_answer_scores_renormalize_without_banned_tokens(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked()
    prefix = read_prefix(model, inputs)
    banned = [int(prefix.logits.argmax()), 5]
    free = answer_scores(model, prefix, EQUAL)
    restricted = answer_scores(model, prefix, EQUAL, banned=banned)
    logs = prefix.logits[0].log_softmax(-1)
    allowed = torch.ones_like(logs, dtype=torch.bool)
    allowed[banned] = False
    expected = free.logprobs[:, 0] - logs[allowed].logsumexp(-1)
    assert torch.allclose(restricted.logprobs[:, 0], expected, atol=1e-5)
    hot = answer_scores(model, prefix, EQUAL, temperature=2.0)
    assert torch.allclose(hot.logprobs[0, 0], (prefix.logits[0] / 2).log_softmax(-1)[EQUAL[0][0]], atol=1e-5)
    probabilities = prefix.logits[0].detach().softmax(-1)
    assert free.entropies[0, 0].item() == pytest.approx(-float((probabilities * probabilities.log()).sum()), rel=1e-4)


def test_allowed_scores_can_learn_after_an_evaluation_banned_the_same_tokens() -> None:
    with torch.inference_mode():
        assert shared_prefix.allowed_scores(torch.zeros(1, 9), (3, 5))[0, 3] == -torch.inf
    logits = torch.zeros(1, 9, requires_grad=True)
    torch.autograd.backward(shared_prefix.allowed_scores(logits, (3, 5)).softmax(-1)[0, 0])
    assert logits.grad is not None
    assert (logits.grad[0, [3, 5]] == 0).all()


def test_full_scores_ban_the_same_tokens_as_answer_scores(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked()
    prefix = read_prefix(model, inputs)
    banned = [int(prefix.logits.argmax()), 5]
    for answers in (UNEQUAL, SINGLE):
        actual = list(masked_rows(answer_scores(model, prefix, answers, banned=banned)))
        batches = full_scores(model, inputs, answers, banned=banned)
        expected = list(chain.from_iterable(masked_rows(batch) for batch in batches))
        free = list(masked_rows(answer_scores(model, prefix, answers)))
        assert all(is_close(*pair) for pair in zip(actual, expected, strict=True))
        assert all((restricted_row > free_row).all() for restricted_row, free_row in zip(actual, free, strict=True))


def test_following_positions_continue_after_the_prompt(make: Make, tiny: Tiny, dataset: Any) -> None:
    assert following(torch.tensor([[0, 2]]), 10, -4).tolist() == [[[10, 12]]] + [[[6, 8]]] * 3
    questions = VideoSSRDataset(dataset)
    prompt = tiny("qwen3_vl").build(questions.question(0), questions.clips(0))
    assert prompt.delta < -1
    assert read_prefix(make(), prompt_inputs(prompt, torch.device("cpu"), torch.float32)).delta == prompt.delta


def test_read_prefix_of_several_rows_gives_equal_rows(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked(clips=2)
    alone = read_prefix(model, inputs)
    rows = read_prefix(model, inputs, rows=3).rows()
    assert len(rows) == 3
    for row in rows:
        assert is_close(row.logits, alone.logits)
        assert all(
            is_close(row_layer.first, layer.first) for row_layer, layer in zip(row.layers, alone.layers, strict=True)
        )


def test_read_prefix_computes_logits_of_the_last_token_only(make: Make, asked: Callable[..., Inputs]) -> None:
    model = make()
    lengths: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    read_prefix(model, asked())
    assert lengths == [1]


def test_answer_scores_can_use_a_prefix_again(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked()
    prefix = read_prefix(model, inputs)
    first = answer_scores(model, prefix, UNEQUAL).logprobs
    answer_scores(model, prefix.detached(), EQUAL)
    assert torch.equal(answer_scores(model, prefix, UNEQUAL).logprobs, first)
    detached = prefix.detached()
    states = [tensor for layer in detached.layers for tensor in (layer.first, layer.second)]
    assert not any(tensor.requires_grad for tensor in (detached.logits, *states))


def test_gradient_checkpointing_saves_memory_and_restores_the_model(make: Make, asked: Callable[..., Inputs]) -> None:
    model, inputs = make(), asked()

    def measure_saved_bytes() -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            prefix: SharedPrefix = read_prefix(model, inputs)
            assert prefix.logits.requires_grad
        return sum(sizes.values())

    def changed_modules() -> list[str]:
        return [name for name, module in model.named_modules() if "forward" in vars(module)]

    before = changed_modules()
    whole = measure_saved_bytes()
    with gradient_checkpointing(model):
        assert measure_saved_bytes() < whole / 2
    assert changed_modules() == before


@pytest.mark.parametrize("family", get_args(Family))
def test_gradient_checkpointing_fills_the_cache_once(make: Make, asked: Callable[..., Inputs], family: Family) -> None:
    model, inputs = make(family), asked(family)
    cache = empty_cache(model)
    with gradient_checkpointing(model):
        model(**inputs, **cache_arguments(model, cache), logits_to_keep=1).logits.sum().backward()
    assert cache.get_seq_length() == inputs["input_ids"].shape[1]


def test_can_share_explains_why_not(make: Make, tiny: Tiny) -> None:
    model = make()
    assert can_share(model) == ""
    model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2 does not take any mask" in can_share(model)
    model.config._attn_implementation = "sdpa"
    model.config.model_type = "other_vl"
    assert can_share(model).startswith("the model type other_vl is not one of qwen3_vl, qwen3_vl_moe, qwen2_5_vl, ")


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_packed_answers_run_into_each_other_in_layers_that_are_not_told(
    make: Make, asked: Callable[..., Inputs], family: Family
) -> None:
    """Gated DeltaNet takes no attention mask, so it must see each answer as a row."""
    model, inputs = make(family), asked(family)
    prefix = read_prefix(model, inputs)
    told = answer_scores(model, prefix, UNEQUAL).logprobs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_prefix, "_packed_cache", lambda model, prefix, lengths: prefix.cache())
        untold = answer_scores(model, prefix, UNEQUAL).logprobs
    assert (untold - told).abs().max() > 0.01


@pytest.mark.parametrize("lost", ["first", "second"])
def test_a_state_without_its_graph_gives_other_gradients(make: Make, asked: Callable[..., Inputs], lost: str) -> None:
    """The inputs of the convolution and the recurrent state both carry gradient to the prompt."""
    model, inputs = make("qwen3_5"), asked("qwen3_5")
    prefix = read_prefix(model, inputs)
    layers = tuple(
        replace(layer, **{lost: getattr(layer, lost).detach()}) if layer.recurrent else layer for layer in prefix.layers
    )
    grads = []
    for behind in (prefix, replace(prefix, layers=layers)):
        torch.autograd.backward(answer_scores(model, behind, UNEQUAL).logprobs.sum(), retain_graph=True)
        grads.append(take_gradients(model))
    gaps = {name: float((grads[1][name] - grad).norm() / (grad.norm() + 1e-9)) for name, grad in grads[0].items()}
    assert max(gaps.values()) > 0.05


def test_a_release_of_transformers_without_states_to_go_on_from_is_refused(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videossr.engine.checkpoint.transformers.__version__", "5.9.0")
    with pytest.raises(DataError, match=r"qwen3_5 needs transformers 5\.17\.0 or later, and this is 5\.9\.0: pip"):
        tiny("qwen3_5").load(torch.device("cpu"), "float32", "sdpa")
