"""Find the distribution of the gold answers of each category, from which expected scores of guesses follow.

Exercised by `videossr bench chance BENCH`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from videossr.answers.base import AnswerDistribution
from videossr.config import parse
from videossr.dataset.dataset import VideoSSRDataset
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.tasks.base import answer_type_of, open_task


def answer_distributions(questions: QuestionSet) -> dict[str, AnswerDistribution]:
    """Return the distribution of each category: by the config of a built dataset, else that of the gold answers."""
    exact: dict[str, AnswerDistribution] = {}
    if isinstance(questions, VideoSSRDataset):
        for category, table in questions.manifest["recipe"]["categories"].items():
            task = open_task(table["task"])
            config = parse(task.Config, table["config"], f"manifest: categories.{category}.config")
            distribution = task.answer_distribution(config)
            if distribution is not None:
                exact[category] = distribution
        if set(exact) == set(questions.manifest["categories"]):
            return exact
    asked: dict[str, list[Question]] = defaultdict(list)
    for index in range(len(questions)):
        try:
            category = questions.category(index)
            if category in exact:
                continue
            question = questions.question(index)
            answer_type_of(question.data_source).score(question.answer, question.answer)
        except Exception:  # a broken row is a failure of the run, and tells nothing of the distribution
            continue
        asked[category].append(question)
    return exact | {category: distribution_of(members) for category, members in asked.items()}


def distribution_of(questions: Sequence[Question]) -> AnswerDistribution:
    """Return the distribution of the answers of a category, as far as its gold answers tell it."""
    return answer_type_of(questions[0].data_source).distribution(questions)
