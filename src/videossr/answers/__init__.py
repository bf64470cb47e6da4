"""The answer types: how one kind of answer is read, scored, summed up, guessed, checked and drawn."""

from videossr.answers.base import AnswerType
from videossr.answers.choice import CHOICE
from videossr.answers.counts import COUNTS
from videossr.answers.interval import INTERVAL
from videossr.answers.order import ORDER

__all__ = ["CHOICE", "COUNTS", "INTERVAL", "ORDER", "AnswerType"]
