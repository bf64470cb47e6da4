"""verl's single-turn agent loop, with one placeholder a clip for vLLM.

verl 0.9.1 gives vLLM a prompt in which the processor has expanded the clips, and vLLM expands the first pair of frames
once more, to the whole clip (https://github.com/verl-project/verl/issues/5024): the model answers another prompt than
the one that it is trained on. Here vLLM gets what the chat template writes, and the ids that it makes of that are what
is trained on.

`agent_loop.yaml` of `videossr export verl` names the class. It can be imported only where verl is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from videossr.clock import Clock
from videossr.errors import ConfigError
from videossr.prompt.chat import END, PAD, START
from videossr.verl.tokens import VideoTokens, check_same_text, expand
from videossr.verl.versions import check_environment

FAMILIES = ("qwen3_vl", "qwen3_vl_moe")


class SampleAgentLoop(SingleTurnAgentLoop):  # type: ignore[misc]  # verl is not there when types are checked
    """Asks the engine one question about the clips of a sample; one object a rollout.

    Raises:
        ConfigError: the engine, the model's family or a version is not one that the rows are made for.
    """

    def __init__(self, *args: Any, hf_model_type: str | None = None, **named: Any) -> None:
        super().__init__(*args, hf_model_type=hf_model_type, **named)
        check_environment(str(self.rollout_config.name))
        if hf_model_type not in FAMILIES:
            raise ConfigError(f"the rows are made for {' and '.join(FAMILIES)}, and the model is a {hf_model_type}")

    async def ct_build_initial_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Any = None,
        images: Any = None,
        videos: Any = None,
        audios: Any = None,
        mm_inputs_out: dict[str, Any] | None = None,
    ) -> list[int]:
        """Make the prompt that is trained on, and see to it that the engine gets the one that it makes this of.

        Raises:
            DataError: the engine would read another text than the processor writes.
            ValueError: the prompt is too long.
        """
        made: dict[str, Any] = {} if mm_inputs_out is None else mm_inputs_out
        trained: list[int] = await super().ct_build_initial_tokens(
            messages, tools=tools, images=images, videos=videos, audios=audios, mm_inputs_out=made
        )
        if not videos:
            return trained
        text = self.processor.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **self.apply_chat_template_kwargs
        )
        prompt = self._encode(text)
        clocks = [Clock(tuple(times["frames_indices"]), times["total_num_frames"]) for _, times in videos]
        merge = self.processor.video_processor.merge_size**2
        counts = [rows * columns // merge for _, rows, columns in made["video_grid_thw"].tolist()]
        video = VideoTokens(*self.tokenizer.convert_tokens_to_ids([START, PAD, END]))
        ids = expand(prompt, clocks, counts, video, self._encode)
        check_same_text(self.tokenizer.decode(ids), self.tokenizer.decode(trained))
        if len(ids) > self.prompt_length:
            raise ValueError(f"a prompt has {len(ids)} tokens, and data.max_prompt_length is {self.prompt_length}")
        self.server_manager: Any = _PromptServer(self.server_manager, prompt)
        return ids

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids


class _PromptServer:
    """A client of verl's servers that always sends the same prompt."""

    def __init__(self, client: Any, prompt: list[int]) -> None:
        self._client = client
        self._prompt = prompt

    async def generate(self, request_id: str, *, prompt_ids: Sequence[int], **named: Any) -> Any:
        """Ask for an answer, see verl's `LLMServerClient.generate`; the prompt is the one given before."""
        return await self._client.generate(request_id, prompt_ids=self._prompt, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
