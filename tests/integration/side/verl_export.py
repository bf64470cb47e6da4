"""Read exported rows with verl: its configuration, its dataset, the agent loop as a rollout worker starts it.

Question: {"overrides": of the script that `videossr export verl` wrote, "model": path of a checkpoint, "stock": whether
verl's own agent loop is used, "slower_ms": how much slower the clocks of all clips become}. Answer: "settings": those
of the optimizer; for each row "sent": the ids that the engine got, "read": the ids that vLLM makes of them, "metadata"
of the clips that it got, "trained": the ids of the loop's prompt, "text" that they spell, and "features": how many
tokens the pixels make that the trainer gives the model.
"""

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torchvision_ops  # noqa: F401  (before verl)
import verl
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from transformers import AutoProcessor
from verl.experimental.agent_loop.agent_loop import AgentLoopWorker, DictConfigWrap, ToolListWrap
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config
from verl.utils.dataset.rl_dataset import get_dataset_class
from verl.workers.rollout.replica import TokenOutput
from verl_vllm import vllm_reads

from videossr import references
from videossr.clock import Clock
from videossr.question import Clip
from videossr.verl import versions

CONFIG = Path(verl.__file__).parent / "trainer" / "config"
ANSWER = "1-2"


class Engine:
    """A server that answers without a model, and remembers what it was asked."""

    def __init__(self, processor):
        self.processor = processor
        self.sent, self.read, self.metadata = [], [], []

    async def generate(self, request_id, *, prompt_ids, video_data, **named):
        assert named["mm_processor_kwargs"] == {"do_resize": False, "do_sample_frames": False}
        self.sent.append(list(prompt_ids))
        self.metadata.append([metadata for _, metadata in video_data])
        self.read.append(vllm_reads(prompt_ids, video_data, self.processor)[0])
        answer = self.processor.tokenizer.encode(ANSWER, add_special_tokens=False)
        return TokenOutput(token_ids=answer, log_probs=[-1.0] * len(answer), stop_reason="completed")


async def ask(config, row, dataset_class, processor, engine, stock):
    """Let the agent loop answer one row, as `AgentLoopWorker._run_agent_loop` starts it."""
    named = OmegaConf.load(config.actor_rollout_ref.rollout.agent.agent_loop_config_path)[0]
    assert row["agent_name"] == named["name"]
    if stock:
        named = {"_target_": "verl.experimental.agent_loop.single_turn_agent_loop.SingleTurnAgentLoop"}
    agent = instantiate(
        config=named,
        trainer_config=DictConfigWrap(config=config),
        server_manager=engine,
        tokenizer=processor.tokenizer,
        processor=processor,
        hf_model_type="qwen3_vl",
        dataset_cls=dataset_class,
        data_config=DictConfigWrap(config.data),
        tools=ToolListWrap([]),
    )
    return await agent.run({"temperature": 1.0}, **row)


def slow_down(step):
    """Let slot k of every rendered clip start `step` k² ms later."""
    render = references.render

    def slower(reference):
        return [
            Clip(
                clip.frames, Clock(tuple(time + step * slot**2 for slot, time in enumerate(clip.clock.times_ms)), 10**6)
            )
            for clip in render(reference)
        ]

    references.render = slower


def features(processor, output):
    """Count the tokens that the pixels make which the worker gives the trainer."""
    worker = SimpleNamespace(processor=processor, tokenizer=processor.tokenizer)
    ids = torch.tensor([output.prompt_ids + output.response_ids])
    inputs = AgentLoopWorker._compute_multi_modal_inputs(worker, output, ids)
    return int(inputs["video_grid_thw"].prod(1).sum()) // 4


async def main():
    question = json.load(sys.stdin)
    with initialize_config_dir(str(CONFIG), version_base=None):
        config = compose("ppo_trainer", question["overrides"])
    versions.MADE_FOR = {name: version for name, version in versions.MADE_FOR.items() if name != "vllm"}  # needs a GPU
    if question.get("slower_ms"):
        slow_down(question["slower_ms"])
    validate_config(config, need_reference_policy(config), need_critic(config))
    processor = AutoProcessor.from_pretrained(question["model"])
    dataset_class = get_dataset_class(config.data)
    dataset = dataset_class(
        data_files=config.data.train_files, tokenizer=processor.tokenizer, processor=processor, config=config.data
    )
    engine = Engine(processor)
    rows = [dataset[index] for index in range(len(dataset))]
    outputs = [await ask(config, row, dataset_class, processor, engine, question.get("stock", False)) for row in rows]
    answer = {
        "settings": OmegaConf.to_container(config.actor_rollout_ref.actor.optim),
        "sent": engine.sent,
        "read": engine.read,
        "metadata": engine.metadata,
        "trained": [output.prompt_ids for output in outputs],
        "text": [processor.tokenizer.decode(output.prompt_ids) for output in outputs],
        "features": [features(processor, output) for output in outputs],
    }
    Path(sys.argv[1]).write_text(json.dumps(answer), "utf-8")


asyncio.run(main())
