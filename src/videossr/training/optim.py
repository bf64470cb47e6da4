"""Step bfloat16 weights by AdamW although they move by less than bfloat16 can tell, and measure each step.

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
"""Weights that are stepped at once: beside its state, a step needs some 100 bytes for each of them."""

MOMENTS = "--optim.moments=8bit needs torchao: pip install 'videossr[8bit]'"

State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OptimizerFacts:
    """The figures of one step.

    Attributes:
        lr: its learning rate.
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
    """Up to `PIECE` consecutive weights of a parameter: `adam` steps `stand`, which borrows their values for a step."""

    stand: Parameter
    adam: torch.optim.Optimizer
    master: Tensor | None


@dataclass
class _Slot:
    """A parameter and its pieces. `gradient` is None where the parameter's own is float32 and sums up by itself."""

    parameter: Parameter
    pieces: list[_Piece] = field(default_factory=list)
    gradient: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """The weights that this process holds, flat, in the same memory."""
        return _local(self.parameter.detach()).view(-1)

    def state(self) -> list[State]:
        """Return what a checkpoint keeps of each piece."""
        return [{"master": piece.master, "adam": piece.adam.state_dict()["state"]} for piece in self.pieces]

    @property
    def total(self) -> Tensor | None:
        """The float32 gradient so far, as this process holds it."""
        if self.gradient is not None or self.parameter.grad is None:
            return self.gradient
        return _local(self.parameter.grad)


class Optimizer:
    """Sum gradients in float32, clip them by the norm of all, and step by AdamW (Loshchilov and Hutter 2019).

    Weight decay acts on all weights, as in verl. Parameters may be sharded (FSDP2): each process then steps its part,
    and norms are those of the whole. Where every process holds all weights, sum `gradients()` over them before `step`.
    A wrapper that does that in the backward pass, as DistributedDataParallel, does not go with bfloat16 weights here.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, Parameter]], settings: OptimConfig, *, steps: int = 0, seed: int = 0
    ) -> None:
        """Take the parameters that require a gradient.

        Args:
            parameters: of the model, with their names.
            settings: rates, moments, precision and schedule.
            steps: of the whole run; a schedule that ends needs them.
            seed: of stochastic rounding.

        Raises:
            ConfigError: no parameter requires a gradient, one is neither float32 nor bfloat16, or `steps` are needed.
            MissingExtraError: the moments need a library that is not installed.
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
        """Yield the float32 gradients so far, by name, of what this process holds; they may be changed in place.

        Gradients of the names in `also` begin as 0 where there are none.
        """
        for name, slot in self._slots.items():
            if slot.total is None and name in also:
                slot.gradient = torch.zeros_like(slot.weights, dtype=torch.float32).view_as(_local(slot.parameter))
            if slot.total is not None:
                yield name, slot.total

    def zero(self) -> None:
        """Forget the gradients and free their memory."""
        for slot in self._slots.values():
            slot.gradient = slot.parameter.grad = None

    @torch.no_grad()
    def step(self, number: int, scale: float = 1.0) -> OptimizerFacts:
        """Step with the gradients times `scale`, and forget them. A gradient that is not finite changes nothing.

        Args:
            number: of the step, from 1; it decides the rate and the draws of stochastic rounding, so that a resumed run
                goes on as it would have.
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
        """Step one parameter and count the weights whose value changed."""
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
        """Return all that a resumed run needs beside the weights, for `torch.save`.

        Sharded parameters are gathered over their processes, which must all call it; only the first gets the result.
        """
        return {
            "weights": self._settings.weights,
            "moments": self._settings.moments,
            "slots": {name: _whole(slot.parameter, slot.state()) for name, slot in self._slots.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; of sharded parameters each process takes its shard.

        Raises:
            DataError: the state is of another model or other settings.
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
    """Return the learning rate of step `number`, from 1, of `steps`.

    It is warmed up linearly, then kept, or lowered so that it would be 0 one step after the last.
    """
    if number <= settings.warmup:
        return settings.lr * number / (settings.warmup + 1)
    if settings.schedule == "constant":
        return settings.lr
    done = min(1.0, (number - 1 - settings.warmup) / max(1, steps - settings.warmup))
    return settings.lr * (1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2)


def round_by_chance(values: Tensor, generator: torch.Generator) -> Tensor:
    """Round float32 values to one of their two neighbors in bfloat16, the nearer the likelier; the mean is kept."""
    noise = torch.randint(0, 2**16, values.shape, dtype=torch.int32, device=values.device, generator=generator)
    # The lower half of the bits is what bfloat16 lacks: noise carries into the upper one as often as it is large.
    return ((values.view(torch.int32) + noise) & -(2**16)).view(torch.float32).to(torch.bfloat16)


class _Chance:
    """The random generators of one step, one a device."""

    def __init__(self, seed: int, number: int) -> None:
        self._seed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
        self._made: dict[torch.device, torch.Generator] = {}

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator of a device."""
        if device not in self._made:
            self._made[device] = torch.Generator(device).manual_seed(self._seed)
        return self._made[device]


def _summing(slot: _Slot) -> Callable[[Tensor], None]:
    """Return a hook that moves each gradient, as soon as it is there, into the float32 sum."""

    def hook(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient, parameter.grad = _local(parameter.grad), None
        slot.gradient = gradient.float() if slot.gradient is None else slot.gradient.add_(gradient)

    return hook


def has_torchao() -> bool:
    """Tell whether moments of 8 bits can be had."""
    return importlib.util.find_spec("torchao") is not None


def _maker(settings: OptimConfig) -> Callable[[list[Parameter]], torch.optim.Optimizer]:
    """Return a function that makes the AdamW of a piece."""
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
    """Set the learning rate of a piece."""
    group = adam.param_groups[0]
    if isinstance(group["lr"], Tensor):  # torchao's way
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _present(slot: _Slot) -> Tensor:
    """Return the gradient of a parameter that has one."""
    if slot.total is None:
        raise RuntimeError("a parameter without a gradient is not stepped")
    return slot.total


def _local(tensor: Tensor) -> Tensor:
    """Return this process's shard of a tensor; of one that is not sharded, all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _whole(parameter: Parameter, pieces: list[State]) -> list[State]:
    """Gather the pieces of a whole parameter, in this machine's memory, from those of its shards."""
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
    """Take the pieces of this process's shard of a parameter from those of the whole."""
    if not isinstance(parameter, DTensor):
        return pieces

    def taken(parts: list[Tensor]) -> list[Tensor]:
        whole = torch.cat(parts).view(parameter.shape).to(parameter.to_local().device)
        part = distribute_tensor(whole, parameter.device_mesh, parameter.placements)
        return list(torch.split(part.to_local().reshape(-1), PIECE))

    return _rows(pieces, taken, len(torch.split(parameter.to_local().reshape(-1), PIECE)))


def _rows(pieces: list[State], change: Callable[[list[Tensor]], list[Tensor]], empty: int) -> list[State]:
    """Change the tensors of pieces, which may change their number; a single number is the same for all pieces."""
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
    """Sum one number a parameter, also over the processes that hold shards of it."""
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
