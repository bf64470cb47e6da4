"""A platform of verl 0.9.1 for machines without an accelerator, so that its real trainer runs in a test.

verl imports it where VERL_USE_EXTERNAL_MODULES names it, in every process. Stock verl trains on accelerators alone;
here a CPU takes the place of a GPU, gloo that of NCCL, FSDP2 runs on it, and `verl_cpu_rollout` is the engine.
"""

import cpu_platform  # noqa: F401  (before the engines)
import torch
import torch.distributed
import torchvision_ops  # noqa: F401  (before torchvision)
import verl.workers.engine.fsdp.transformer_impl as fsdp
import verl.workers.rollout.base as rollouts
from verl.workers.engine import EngineRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry

_init_process_group = torch.distributed.init_process_group


def _on_gloo(backend=None, *args, **named):
    """Start a process group; "cpu:gloo,cpu:gloo", as verl would have it here, names a device twice."""
    return _init_process_group("gloo" if backend and "cpu" in backend else backend, *args, **named)


def _replica():
    from verl_cpu_rollout import Replica

    return Replica


torch.distributed.init_process_group = _on_gloo
EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device="cpu")(
    type("FSDPEngineOnCPU", (fsdp.FSDPEngineWithLMHead,), {})
)
fsdp.CPUOffloadPolicy = lambda *args, **named: None  # it pins memory for an accelerator
rollouts._ROLLOUT_REGISTRY["cpu", "async"] = "verl_cpu_rollout.Adapter"
RolloutReplicaRegistry.register("cpu", _replica)
