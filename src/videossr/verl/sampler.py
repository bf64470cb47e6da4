"""verl's queue of groups of answers, with the figures of our own trainer for those that it hands to a step.

verl logs means over all answers of a step. This class takes the same groups as verl's own one and adds how each task
and category did, and in how many groups all rewards are equal; `videossr.verl.steps` reads them from verl's log.

`trainer.v1.sampler.custom_sampler` names it. It can be imported only where verl is installed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import transfer_queue as tq
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from videossr.training.metrics import GroupMetrics, summarize
from videossr.verl.steps import metrics_of


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer of a group, and what its row says of the question."""

    tokens: list[int]
    source: str
    category: str
    scores: Mapping[str, Any]


class GroupSampler(ReplayBuffer):  # type: ignore[misc]  # verl is not there when types are checked
    """Takes groups from the queue as verl's own class does, and reports on them."""

    def __init__(self, *, sampler_kwargs: Mapping[str, Any], **named: Any) -> None:
        self._reward = sampler_kwargs["reward"]
        self._most = int(sampler_kwargs["max_tokens"])
        if sampler_kwargs.get("filter_groups"):  # verl hands these to its own class alone
            named |= {
                "filter_groups_metric": "reward",
                "train_batch_size": int(sampler_kwargs["batch"]),
                "gen_batch_size": 1,
            }
        super().__init__(sampler_kwargs=sampler_kwargs, **named)

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[Any, dict[str, Any]]:
        """Take groups for a step; return them, and figures by their names in verl's log."""
        batch, figures = super().sample(global_steps, partition_id, batch_size)
        if partition_id == "train":
            groups = self._groups(batch)
            figures |= metrics_of(summarize(groups, self._reward), asked=batch_size)
        return batch, figures

    def _groups(self, batch: Any) -> list[GroupMetrics]:
        """Read the answers of a batch, group by group."""
        fields = ["responses", "data_source", "extra_info", "extra_fields"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=fields)
        answers: dict[str, list[_Answer]] = defaultdict(list)
        sources, rows, extras = (_plain(data[name]) for name in fields[1:])
        for key, tokens, source, row, extra in zip(batch.keys, data["responses"], sources, rows, extras, strict=True):
            answer = _Answer(tokens.tolist(), str(source), str(row["category"]), extra["reward_extra_info"])
            answers[key.rsplit("_", 2)[0]].append(answer)
        return [self._group(group) for group in answers.values()]

    def _group(self, answers: list[_Answer]) -> GroupMetrics:
        return GroupMetrics(
            category=answers[0].category,
            task=answers[0].source.removeprefix("videossr/"),
            smooth=tuple(float(answer.scores["smooth"]) for answer in answers),
            strict=tuple(float(answer.scores["strict"]) for answer in answers),
            parsed=tuple(bool(answer.scores["parsed"]) for answer in answers),
            texts=tuple(" ".join(map(str, answer.tokens)) for answer in answers),
            tokens=tuple(len(answer.tokens) for answer in answers),
            truncated=tuple(len(answer.tokens) >= self._most for answer in answers),
        )


def _plain(column: Iterable[Any]) -> list[Any]:
    """Return the values of a column that holds no tensors."""
    return [getattr(value, "data", value) for value in column]
