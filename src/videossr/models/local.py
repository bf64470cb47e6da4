"""A checkpoint on this machine's own device, through transformers: `--model hf:FOLDER` or `hf:ORGANIZATION/NAME`.

    videossr bench run BENCH --model hf:CHECKPOINT --set batch=16 --out RUN

Several questions are answered at once, while threads render the next ones. Each prompt is read once, however many
answers are sampled. `speed/bench.py` measures it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.clock import even
from videossr.models.ahead import Ahead
from videossr.models.base import Ask, Decoding, Reply
from videossr.prompt import builder, checkpoint_config
from videossr.prompt.base import Prompt
from videossr.question import VIDEO, Clip, Question
from videossr.questions import Questions
from videossr.sample import JSON

try:
    import torch
    import transformers
except ImportError as missing:
    raise ValueError(f"--model hf: {missing}: pip install 'videossr[hf]'") from missing

FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
"""What is fetched of a checkpoint that is named by its place on the Hub."""

PROBE = Question("probe", "", "Look.", f"{VIDEO}\nWhen?", "", (even(2, 2000),))
"""Asked of every prompt builder when it is made: a chat template that cannot do it is told before any other work."""


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Settings:
    """How a local checkpoint is run."""

    batch: Annotated[int, Field(ge=1, description="answers that are written at once; halved where memory ends")] = 8
    device: Annotated[str, Field(description="as torch names it; auto: an accelerator if there is one")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Field(description="of weights and arithmetic; auto: the checkpoint's, on a CPU float32"),
    ] = "auto"
    attention: Annotated[str, Field(description="attn_implementation of transformers")] = "sdpa"
    layout: Annotated[str | None, Field(description="of the video's tokens; by default the released weights'")] = None
    threads: Annotated[int, Field(ge=1, le=256, description="that render frames ahead of the model")] = 4
    ahead_mb: Annotated[int, Field(ge=1, description="MiB that frames made ready for the model may take")] = 2048


class Local:
    """A checkpoint that transformers runs. `Model` of the kind `hf`.

    Attributes:
        waited: seconds in which it stood still for frames.
    """

    Settings = Settings

    def __init__(self, target: str, settings: Settings, questions: Questions) -> None:
        """Raises ValueError or OSError that says what is wrong with the checkpoint."""
        folder = _folder(target)
        self._config = checkpoint_config(folder)
        self._tokenizer = _loaded(folder, transformers.AutoTokenizer.from_pretrained)
        self._build = builder(self._config, self._tokenizer, settings.layout)
        probe = self._build(PROBE, [Clip(np.zeros((2, 64, 64, 3), np.uint8), PROBE.clocks[0])])
        self._fingerprint = hashlib.sha256(probe.text.encode() + probe.ids.tobytes()).hexdigest()[:16]
        self._settings = settings
        self._device = _device(settings.device)
        self._model = _model(folder, self._device, settings)
        self._limit = int(self._model.config.get_text_config().max_position_embeddings)
        self._ends = _ends(self._model, self._tokenizer)
        self._batch = settings.batch
        self.waited = 0.0

    def describe(self) -> Mapping[str, JSON]:
        """The libraries, the device, the checkpoint's family and size, and a hash that tells prompts apart.

        `batch` is less than the setting where memory ended.
        """
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": _name(self._device),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attention": self._settings.attention,
            "family": str(self._config["model_type"]),
            "parameters": sum(each.numel() for each in self._model.parameters()),
            "layout": self._build.layout,
            "prompt": self._fingerprint,
            "batch": self._batch,
        }

    def answer(self, asks: Iterable[Ask], decoding: Decoding) -> Iterator[Reply]:
        """See `videossr.models.base.Model`. The order is that of the asks."""
        room = self._settings.ahead_mb * 2**20
        before = self.waited
        with Ahead(asks, self._prompt, threads=self._settings.threads, room=room, size=_bytes) as ahead:
            while taken := ahead.take(max(1, self._batch // decoding.n)):
                self.waited = before + ahead.waited
                yield from (Reply(ready.ask.index, error=ready.error) for ready in taken if ready.made is None)
                made = [(ready.ask.index, ready.made) for ready in taken if ready.made is not None]
                yield from self._answer(made, decoding)

    def _prompt(self, ask: Ask) -> Prompt:
        return self._build(ask.question, ask.clips())

    def _answer(self, asked: Sequence[tuple[int, Prompt]], decoding: Decoding, tries: int = 1) -> Iterator[Reply]:
        """Answers questions together, or by halves where that fails; one that fails alone has failed."""
        if not asked:
            return
        try:
            written = self._write([prompt for _, prompt in asked], [index for index, _ in asked], decoding)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, getattr(torch, "AcceleratorError", ())):
                raise  # the device is not to be used again by this process
            problem = f"{type(error).__name__}: {error}"
            short = _out_of_memory(error)
        else:
            for (index, prompt), answers in zip(asked, written, strict=True):
                texts = tuple(
                    self._tokenizer.decode(answer.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
                    for answer in answers
                )
                finish = tuple(answer.finish for answer in answers)
                yield Reply(index, texts, finish, tries=tries, prompt_tokens=len(prompt.ids))
            return
        if short:
            self._batch = max(1, self._batch // 2)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        if len(asked) == 1:
            yield Reply(asked[0][0], error=problem, tries=tries, prompt_tokens=len(asked[0][1].ids))
            return
        middle = len(asked) // 2
        for half in (asked[:middle], asked[middle:]):
            yield from self._answer(half, decoding, tries + 1)

    @torch.inference_mode()
    def _write(self, prompts: Sequence[Prompt], seeds: Sequence[int], decoding: Decoding) -> list[list[_Answer]]:
        """For each prompt its answers. Each prompt is read once; the cache of what was read is then repeated."""
        longest = max(len(prompt.ids) for prompt in prompts)
        if longest + decoding.max_tokens > self._limit:
            raise ValueError(
                f"a prompt of {longest} tokens and an answer of {decoding.max_tokens} are more than the model's "
                f"{self._limit} positions"
            )
        inputs = self._inputs(prompts, longest)
        out = self._model(**inputs, use_cache=True, logits_to_keep=1)
        cache, n = out.past_key_values, decoding.n
        if n > 1:
            cache.batch_repeat_interleave(n)
        logits = out.logits[:, -1].repeat_interleave(n, 0)
        mask = inputs["attention_mask"].repeat_interleave(n, 0)
        following = torch.tensor(
            [[len(prompt.ids)] + [len(prompt.ids) + prompt.delta] * 3 for prompt in prompts], device=self._device
        ).repeat_interleave(n, 0)

        answers = [_Answer([]) for _ in range(len(prompts) * n)]
        draws = [np.random.Generator(np.random.PCG64DXSM([decoding.seed, seed])) for seed in seeds]
        live = list(range(len(answers)))
        for step in range(decoding.max_tokens):
            chosen = self._choose(logits, np.concatenate([draw.random(n) for draw in draws])[live], decoding)
            going = []
            for row, (number, token) in enumerate(zip(live, chosen.tolist(), strict=True)):
                if token in self._ends:
                    answers[number].finish = "stop"
                else:
                    answers[number].ids.append(token)
                    going.append(row)
            if not going or step + 1 == decoding.max_tokens:
                break
            if len(going) < len(live):  # what has ended is not carried along
                rows = torch.tensor(going, device=self._device)
                cache.batch_select_indices(rows)
                chosen, mask, following = chosen[rows], mask[rows], following[rows]
                live = [live[row] for row in going]
            mask = torch.nn.functional.pad(mask, (0, 1), value=1)
            out = self._model(
                input_ids=chosen[:, None],
                attention_mask=mask,
                position_ids=(following + step).T[:, :, None],
                past_key_values=cache,
                use_cache=True,
            )
            logits = out.logits[:, -1]
        return [answers[first : first + n] for first in range(0, len(answers), n)]

    def _inputs(self, prompts: Sequence[Prompt], length: int) -> dict[str, torch.Tensor]:
        """Prompts side by side, padded on the left. The first row of positions counts tokens, for the mask alone."""
        ids = np.full((len(prompts), length), self._tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros_like(ids)
        positions = np.zeros((4, *ids.shape), np.int64)
        for row, prompt in enumerate(prompts):
            start = length - len(prompt.ids)
            ids[row, start:], mask[row, start:] = prompt.ids, 1
            positions[0, row, start:], positions[1:, row, start:] = np.arange(len(prompt.ids)), prompt.positions
        arrays = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        arrays["video_grid_thw"] = np.concatenate([prompt.grids for prompt in prompts])
        inputs = {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        inputs["pixel_values_videos"] = torch.cat([self._pixels(prompt) for prompt in prompts])
        return inputs

    def _pixels(self, prompt: Prompt) -> torch.Tensor:
        """`Prompt.pixels`, but bytes go to the device and are made numbers there."""
        mean, deviation = (
            torch.tensor(values, dtype=torch.float32, device=self._device)[:, None] * 255
            for values in (prompt.mean, prompt.deviation)
        )
        patches = torch.from_numpy(prompt.patches).to(self._device)
        channels = patches.view(len(patches), 3, -1).to(torch.float32).sub_(mean).div_(deviation)
        return channels.view(patches.shape).to(self._model.dtype)

    def _choose(self, logits: torch.Tensor, draws: NDArray[np.float64], decoding: Decoding) -> torch.Tensor:
        """One token a row. `draws` in [0, 1) are all the chance there is in it, one a row.

        Tokens are ordered by their probability, the most probable first; what `top_k` and then `top_p` leave is a
        beginning of that order, and the draw says how far into its mass to go.
        """
        scores = logits.float()
        scores[:, [self._config[f"{kind}_token_id"] for kind in ("image", "video")]] = -torch.inf
        best = scores.max(-1, keepdim=True)
        if not torch.isfinite(best.values).all():
            raise ValueError(f"the model's scores are no numbers in {self._model.dtype}: try another --set dtype")
        if decoding.temperature == 0:
            return best.indices[:, 0]
        shares, order = ((scores - best.values) / decoding.temperature).softmax(-1).sort(-1, descending=True, stable=True)
        shares = shares.double()
        mass = shares.cumsum(-1)
        kept = torch.ones_like(shares, dtype=torch.bool)
        if decoding.top_k:
            kept[:, decoding.top_k :] = False
        whole = (shares * kept).sum(-1, keepdim=True)
        kept &= mass - shares < decoding.top_p * whole
        target = torch.from_numpy(draws).to(self._device)[:, None] * (shares * kept).sum(-1, keepdim=True)
        place = ((mass <= target) & kept).sum(-1, keepdim=True).clamp(max=kept.sum(-1, keepdim=True) - 1)
        return order.gather(-1, place)[:, 0]


@dataclass(slots=True)
class _Answer:
    """An answer while it is written."""

    ids: list[int]
    finish: Literal["stop", "length"] = "length"


def _folder(target: str) -> Path:
    """Where a checkpoint lies: a folder, or what the Hub has under that name."""
    folder = Path(target).expanduser()
    if folder.is_dir() and target:
        if not (folder / "config.json").is_file():
            raise ValueError(f"hf:{target}: the folder has no config.json, so it is no checkpoint of transformers")
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", target):
        raise ValueError(f"hf:{target}: there is no such folder; give a checkpoint's, or ORGANIZATION/NAME on the Hub")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(target, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        raise OSError(f"hf:{target}: no such folder, and the Hub does not give it: {error}") from error


def _loaded(folder: Path, load: Any, **how: Any) -> Any:
    """What transformers loads from a folder; whatever goes wrong is told with its name."""
    try:
        return load(folder, local_files_only=True, **how)
    except Exception as error:  # readers of weights and of tokenizers have exceptions of their own
        raise ValueError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error


def _model(folder: Path, device: torch.device, settings: Settings) -> Any:
    dtype = "float32" if settings.dtype == "auto" and device.type == "cpu" else settings.dtype
    model, info = _loaded(
        folder,
        transformers.AutoModelForImageTextToText.from_pretrained,
        dtype=dtype,
        attn_implementation=settings.attention,
        output_loading_info=True,
    )
    wrong = [name for kind in ("missing_keys", "mismatched_keys") for name in sorted(map(str, info[kind]))]
    if wrong:
        raise ValueError(f"{folder}: its files lack {len(wrong)} of the model's weights, such as {wrong[0]}")
    return model.to(device).eval()


def _device(name: str) -> torch.device:
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        device = (found or torch.device("cpu")) if name == "auto" else torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--set device={name}: {str(error).splitlines()[0]}") from error
    return device


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: all that the checkpoint uses of its generation settings."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return frozenset(ends if isinstance(ends, list) else [ends])


def _bytes(prompt: Prompt) -> int:
    return prompt.patches.nbytes


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ended, on a device or here; a CPU's allocator only says so in words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
