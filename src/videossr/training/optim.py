"""AdamW for weights in bfloat16 that move by less than bfloat16 can tell, and the figures of each of its steps.

At a rate of 1e-6 a step is below half a unit in the last place of most weights, so rounding to the nearest leaves them
where they were. Float32 masters keep what is lost, or rounding by chance keeps it on average. Gradients are summed in
float32, whatever the weights are. Exercised by `videossr train`.
"""

from __future__ import annotations

import importlib.util
import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Parameter

from videossr.errors import ConfigError, DataError, MissingExtraError
from videossr.training.config import OptimConfig

PIECE = 2**24
"""Weights that are stepped at once: what a step needs beside its state is some 100 bytes for each of so many."""

MOMENTS = "--optim.moments=8bit needs torchao: pip install 'videossr[8bit]'"

State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OptimizerFacts:
    """What one step did.

    Attributes:
        lr: its rate.
        grad_norm: of the scaled gradient of all weights, before it was clipped.
        clipped: whether it was.
        changed: share of the weights whose stored value is another now.
        refused: the gradient was not finite, so nothing was changed, neither weights nor moments.
    """

    lr: float
    grad_norm: float
    clipped: bool
    changed: float
    refused: bool


@dataclass
class _Piece:
    """Up to `PIECE` weights in a row of one parameter: `adam` steps `stand`, which borrows their values for a step."""

    stand: Parameter
    adam: torch.optim.Optimizer
    master: Tensor | None


@dataclass
class _Slot:
    """One parameter. `gradient` is None where the parameter's own is float32 and sums up by itself."""

    parameter: Parameter
    pieces: list[_Piece] = field(default_factory=list)
    gradient: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """What this process holds of it, in a row. Shares its memory."""
        return _local(self.parameter.detach()).view(-1)

    def state(self) -> list[State]:
        """What a checkpoint keeps of each piece."""
        return [{"master": piece.master, "adam": piece.adam.state_dict()["state"]} for piece in self.pieces]

    @property
    def total(self) -> Tensor | None:
        """The float32 gradient so far, as this process holds it."""
        if self.gradient is not None or self.parameter.grad is None:
            return self.gradient
        return _local(self.parameter.grad)


class Optimizer:
    """Sums gradients in float32, clips them by the norm of all, and steps by AdamW (Loshchilov and Hutter 2019).

    Weight decay acts on all weights, as in verl. Parameters may be sharded (FSDP2): each process then steps its part,
    and norms are those of the whole. Where every process holds all weights, sum `gradients()` over them before `step`.
    A wrapper that does that in the backward pass, as DistributedDataParallel, does not go with bfloat16 weights here.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, Parameter]], settings: OptimConfig, *, steps: int = 0, seed: int = 0
    ) -> None:
        """Takes those of the named `parameters` that require a gradient; `steps` are those of the whole run.

        Raises ValueError where there are none, where one is neither float32 nor bfloat16, where a schedule that ends
        has no number of steps, and where a library is missing.
        """
        if settings.schedule != "constant" and not steps:
            raise ConfigError(f"--optim.schedule={settings.schedule} needs to know the number of steps of the run")
        self._settings = settings
        self._steps, self._seed = steps, seed
        make = _maker(settings)
        self._slots: dict[str, _Slot] = {}
        for name, parameter in parameters:
            if not parameter.requires_grad:
                continue
            if parameter.dtype not in (torch.float32, torch.bfloat16):
                raise ConfigError(f"{name} is {parameter.dtype}: weights are trained in float32 or bfloat16")
            slot = self._slots[name] = _Slot(parameter)
            keep = parameter.dtype == torch.bfloat16 and settings.weights == "master"
            for weights in torch.split(slot.weights, PIECE):
                home = torch.device("cpu") if settings.moments == "offload" else weights.device
                stand = Parameter(torch.empty(0, device=home))
                master = weights.to(home, torch.float32) if keep else None
                slot.pieces.append(_Piece(stand, make([stand]), master))
            if parameter.dtype == torch.bfloat16:
                parameter.register_post_accumulate_grad_hook(_summing(slot))  # type: ignore[no-untyped-call]
        if not self._slots:
            raise ConfigError("nothing to train: no weight of the model requires a gradient")

    def gradients(self, also: Container[str] = ()) -> Iterator[tuple[str, Tensor]]:
        """The float32 gradients so far, by name, of what this process holds: to be changed in place, if at all.

        Those of the names in `also` begin as 0 where there are none.
        """
        for name, slot in self._slots.items():
            if slot.total is None and name in also:
                slot.gradient = torch.zeros_like(slot.weights, dtype=torch.float32).view_as(_local(slot.parameter))
            if slot.total is not None:
                yield name, slot.total

    def zero(self) -> None:
        """Forgets the gradients and frees their memory."""
        for slot in self._slots.values():
            slot.gradient = slot.parameter.grad = None

    @torch.no_grad()
    def step(self, number: int, scale: float = 1.0) -> OptimizerFacts:
        """Makes step `number`, from 1, with the gradients times `scale`, and forgets them.

        Args:
            number: decides the rate and what rounding by chance draws, so that a run goes on as it would have.
            scale: 1 over the batch's normalizer, applied to the sums, once.
        """
        rate = learning_rate(number, self._settings, self._steps)
        slots = [slot for slot in self._slots.values() if slot.total is not None]
        squares = _over_all((slot.parameter, torch.linalg.vector_norm(_present(slot)).double() ** 2) for slot in slots)
        norm = scale * math.sqrt(squares)
        if not math.isfinite(norm):
            self.zero()
            return OptimizerFacts(rate, norm, clipped=False, changed=0.0, refused=True)
        clip = min(1.0, self._settings.clip_norm / (norm + 1e-6))
        chance = _Chance(self._seed, number)
        # torchao would compile its step once for every shape; pieces are small enough to do without.
        eager = torch.compiler.set_stance("force_eager") if self._settings.moments == "8bit" else nullcontext()
        with eager:
            changed = _over_all([(slot.parameter, self._update(slot, rate, scale * clip, chance)) for slot in slots])
        self.zero()
        weights = sum(slot.parameter.numel() for slot in self._slots.values())
        return OptimizerFacts(rate, norm, clipped=clip < 1, changed=changed / weights, refused=False)

    def _update(self, slot: _Slot, rate: float, factor: float, chance: _Chance) -> Tensor:
        """Steps one parameter and counts the weights that are others now."""
        total = _present(slot)
        changed = torch.zeros((), dtype=torch.int64, device=total.device)
        for piece, stored, gradient in zip(
            slot.pieces, torch.split(slot.weights, PIECE), torch.split(total.reshape(-1), PIECE), strict=True
        ):
            before = stored.clone()
            home = piece.stand.device
            weights = stored.to(home, torch.float32) if piece.master is None else piece.master
            piece.stand.data, piece.stand.grad = weights, (gradient * factor).to(home)
            _set_rate(piece.adam, rate)
            piece.adam.step()
            piece.stand.data, piece.stand.grad = torch.empty(0, device=home), None
            if stored.dtype == torch.bfloat16 and self._settings.weights == "stochastic":
                weights = round_by_chance(weights.to(stored.device), chance.on(stored.device))
            stored.copy_(weights)
            changed += torch.count_nonzero(stored != before)
        return changed

    def state_dict(self) -> State:
        """All that a resumed run needs beside the weights, for `torch.save`.

        Of sharded parameters the whole, gathered over their processes, which must all call it; on all but the first of
        them nothing is left of it.
        """
        return {
            "weights": self._settings.weights,
            "moments": self._settings.moments,
            "slots": {name: _whole(slot.parameter, slot.state()) for name, slot in self._slots.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state; of sharded parameters each process takes its part.

        Raises ValueError where it is that of another model or other settings.
        """
        for setting in ("weights", "moments"):
            mine = getattr(self._settings, setting)
            if state[setting] != mine:
                raise DataError(f"the checkpoint was made with --optim.{setting}={state[setting]}, this run has {mine}")
        saved = state["slots"]
        if strange := sorted(saved.keys() ^ self._slots.keys()):
            raise DataError(f"the checkpoint trains other weights, {len(strange)} in all, such as {strange[0]}")
        for name, slot in self._slots.items():
            pieces = _part(slot.parameter, saved[name])
            if len(pieces) != len(slot.pieces):
                raise DataError(f"the checkpoint's {name} has another size")
            for piece, kept in zip(slot.pieces, pieces, strict=True):
                if (piece.master is None) != (kept["master"] is None):
                    raise DataError(f"the checkpoint's {name} is of another dtype")
                if piece.master is not None:
                    piece.master.copy_(kept["master"])
                piece.adam.load_state_dict(piece.adam.state_dict() | {"state": kept["adam"]})


def learning_rate(number: int, settings: OptimConfig, steps: int = 0) -> float:
    """The rate of step `number`, from 1, of `steps`: warmed up in a line, then kept, or lowered so that it would be 0
    one step after the last.
    """
    if number <= settings.warmup:
        return settings.lr * number / (settings.warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    done = min(1.0, (number - 1 - settings.warmup) / max(1, steps - settings.warmup))
    return settings.lr * (1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)


def round_by_chance(values: Tensor, generator: torch.Generator) -> Tensor:
    """Float32 values as one of their two neighbors in bfloat16, the nearer the likelier: on average they are kept."""
    noise = torch.randint(0, 2**16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    # The lower half of the bits is what bfloat16 lacks: noise carries into the upper one as often as it is large.
    return ((values.view(torch.int32) + noise) & -(2**16)).view(torch.float32).to(torch.bfloat16)


class _Chance:
    """Generators for one step, one a device."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
        self._made: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        if device not in self._made:
            self._made[device] = torch.Generator(device).manual_seed(self._seed)
        return self._made[device]


def _summing(slot: _Slot) -> Callable[[Tensor], None]:
    """A hook that moves each gradient, as soon as it is there, into the float32 sum."""

    def hook(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient, parameter.grad = _local(parameter.grad), None
        slot.gradient = gradient.float() if slot.gradient is None else slot.gradient.add_(gradient)

    return hook


def has_torchao() -> bool:
    """Whether moments of 8 bits can be had."""
    return importlib.util.find_spec("torchao") is not None


def _maker(settings: OptimConfig) -> Callable[[list[Parameter]], torch.optim.Optimizer]:
    how: dict[str, Any] = {"betas": settings.betas, "eps": settings.eps, "weight_decay": settings.weight_decay}
    if settings.moments != "8bit":
        return lambda stands: torch.optim.AdamW(stands, lr=settings.lr, fused=True, **how)
    try:
        library = importlib.import_module("torchao.optim")
    except ImportError as missing:
        raise MissingExtraError(MOMENTS) from missing

    def eight_bit(stands: list[Parameter]) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = library.AdamW8bit(stands, lr=settings.lr, **how)
        return made

    return eight_bit


def _set_rate(adam: torch.optim.Optimizer, rate: float) -> None:
    group = adam.param_groups[0]
    if isinstance(group["lr"], Tensor):  # torchao's way
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _present(slot: _Slot) -> Tensor:
    if slot.total is None:
        raise RuntimeError("a parameter without a gradient is not stepped")
    return slot.total


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(parameter: Parameter, pieces: list[State]) -> list[State]:
    """The pieces of a whole parameter, in this machine's memory, from those of its parts."""
    if not isinstance(parameter, DTensor):
        return pieces
    local = parameter.to_local()

    def gathered(parts: list[Tensor]) -> list[Tensor]:
        part = DTensor.from_local(
            torch.cat(parts).to(local.device).view_as(local),
            parameter.device_mesh,
            parameter.placements,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
        whole = part.full_tensor()
        return list(torch.split(whole.cpu().reshape(-1), PIECE)) if dist.get_rank() == 0 else []

    return _rows(pieces, gathered, len(pieces))


def _part(parameter: Parameter, pieces: list[State]) -> list[State]:
    """The pieces of this process's part of a parameter, from those of the whole."""
    if not isinstance(parameter, DTensor):
        return pieces

    def taken(parts: list[Tensor]) -> list[Tensor]:
        whole = torch.cat(parts).view(parameter.shape).to(parameter.to_local().device)
        part = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
        return list(torch.split(part.to_local().reshape(-1), PIECE))

    return _rows(pieces, taken, len(torch.split(parameter.to_local().reshape(-1), PIECE)))


def _rows(pieces: list[State], change: Callable[[list[Tensor]], list[Tensor]], empty: int) -> list[State]:
    """Pieces whose tensors are others, so many where there are none; what is one number is the same for all pieces."""
    adams = [state for piece in pieces for state in piece["adam"].values()]
    masters = change([piece["master"] for piece in pieces]) if pieces[0]["master"] is not None else None
    moments: dict[str, list[Tensor]] = {}
    shared: dict[str, Any] = {}
    for name, value in (adams[0] if adams else {}).items():
        if isinstance(value, Tensor) and value.dim():
            moments[name] = change([state[name] for state in adams])
        else:
            shared[name] = value
    tensors = [*([] if masters is None else [masters]), *moments.values()]
    count = len(tensors[0]) if tensors else empty
    return [
        {
            "master": None if masters is None else masters[k],
            "adam": {0: {**shared, **{name: rows[k] for name, rows in moments.items()}}} if adams else {},
        }
        for k in range(count)
    ]


def _over_all(numbers: Iterable[tuple[Parameter, Tensor]]) -> float:
    """The sum of one number a parameter, also over the processes that hold parts of it."""
    groups: dict[Any, list[Tensor]] = defaultdict(list)
    for parameter, number in numbers:
        where = (parameter.device_mesh, parameter.placements) if isinstance(parameter, DTensor) else (None, ())
        groups[where].append(number.double())
    total = 0.0
    for (mesh, placements), parts in groups.items():
        summed = torch.stack(parts).sum()
        for dimension, placement in enumerate(placements):
            if placement.is_shard():
                dist.all_reduce(summed, group=mesh.get_group(dimension))
        total += summed.item()
    return total
