"""A rollout engine of verl that generates with transformers on a CPU, and reads prompts as vLLM does.

It writes what it read, one JSON object a request, to the file that VERL_CPU_LOG names.
"""

import asyncio
import json
import os
from itertools import cycle
from pathlib import Path

import ray
import torch
import torchvision_ops  # noqa: F401  (before transformers)
from transformers import AutoProcessor, Qwen3VLForConditionalGeneration
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput
from verl_vllm import vllm_reads

LENGTHS = (3, 8, 5, 2, 7, 4)
"""Tokens of answers in turn: verl 0.9.1 fails on a micro batch of equal lengths (verl#7899)."""

NAME = "verl_cpu_server"
NOTHING = (
    *("wake_up", "sleep", "clear_kv_cache", "release_kv_cache", "resume_kv_cache", "abort_all_requests"),
    *("resume_generation", "start_profile", "stop_profile", "wait_for_requests_to_drain"),
)


class Server:
    def __init__(self, path):
        torch.set_num_threads(1)
        self.model = Qwen3VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()
        self.processor = AutoProcessor.from_pretrained(path)
        self.lock = asyncio.Lock()
        self.lengths = cycle(LENGTHS)
        self.step = 0
        tokenizer = self.processor.tokenizer
        self.banned = sorted({*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder})
        self.banned.remove(tokenizer.eos_token_id)

    async def ready(self):
        return True

    async def load(self, weights):
        found = self.model.load_state_dict(weights, strict=False)
        assert not found.unexpected_keys
        self._log({"loaded": len(weights)})

    async def set_global_steps(self, step):
        self.step = step

    async def generate(self, request_id, *, prompt_ids, sampling_params, image_data=None, video_data=None, **named):
        async with self.lock:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self._generate, prompt_ids, sampling_params, video_data)

    @torch.no_grad()
    def _generate(self, prompt_ids, sampling, videos):
        read, outputs = vllm_reads(prompt_ids, videos, self.processor)
        ids = torch.tensor([read])
        made = self.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=2 * (ids == self.processor.video_token_id).long(),
            pixel_values_videos=torch.cat([output["pixel_values_videos"] for output in outputs]),
            video_grid_thw=torch.cat([output["video_grid_thw"] for output in outputs]),
            max_new_tokens=next(self.lengths),
            do_sample=True,
            temperature=float(sampling["temperature"]),
            top_k=0,
            suppress_tokens=self.banned,
            return_dict_in_generate=True,
            output_logits=True,
        )
        answer = made.sequences[0, len(read) :]
        self._log({"sent": len(prompt_ids), "clips": len(videos), "read": len(read), "answer": len(answer)})
        logs = torch.stack(made.logits, 1)[0].float().log_softmax(-1)
        return TokenOutput(
            token_ids=answer.tolist(),
            log_probs=logs.gather(1, answer[:, None])[:, 0].tolist(),
            stop_reason="completed",
            num_preempted=0,
            extra_fields={"global_steps": self.step},
        )

    def _log(self, entry):
        with Path(os.environ["VERL_CPU_LOG"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


async def _nothing(self, *args, **named):
    return None


for _name in NOTHING:
    setattr(Server, _name, _nothing)


class Replica(RolloutReplica):
    async def launch_servers(self):
        server = ray.remote(Server).options(name=NAME, num_cpus=0, max_concurrency=64).remote(self.model_config.path)
        await server.ready.remote()
        self.servers, self._server_handle, self._server_address = [server], server, "127.0.0.1:0"


class Adapter(BaseRollout):
    """What gives the server the weights that the trainer has."""

    def __init__(self, config, model_config, device_mesh, replica_rank=-1):
        super().__init__(config, model_config, device_mesh)
        self.sleep_level = 2

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, wire_format="named_tensors", **named):
        pairs = [pair async for pair in weights] if hasattr(weights, "__aiter__") else list(weights)
        server = ray.get_actor(NAME)
        await server.load.remote({name: weight.detach().float().cpu().clone() for name, weight in pairs})
        if named.get("global_steps") is not None:
            await server.set_global_steps.remote(named["global_steps"])
