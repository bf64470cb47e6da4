"""Multiple choice: the letter of an option is parsed strictly from any text."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.rewards import compute_score, parse_choice

SOURCE = "videossr/choice"


@pytest.mark.parametrize(
    "text",
    [
        "B", "b", " B\n", "(B)", "[B]", "B.", "B)", "B:", "(B).", "**B**", "Answer: B", "answer:B", "The answer is B",
        "The correct answer is option **B**.", "Final answer: (B)", "B. The red car", "(B) the red car", "Option B: x",
        "<answer>B</answer>", "I see a car. <answer> (B) </answer> So B.", "<answer>A</answer> no: <answer>B", "is B",
        "\\boxed{B}", "The answer is \\boxed{B}.", "$\\boxed{\\text{B}}$", "So: $$\\boxed {\\mathrm{(B)}}$$",
        "\\boxed{B. The car}",
        "A car came. \\boxed{b}, that is \\boxed{B}", "<answer>\\boxed{B}</answer> not \\boxed{A}", "B. \\boxed{B}",
        "\\boxed{B}\nB", "\\boxed{B}\nA dog is no car.",
        "B\nBecause A dog is no car.", "B\n\nOption A shows a dog.", "\n **B**\nThe red car", "Answer: B\nIt is red.",
        "B\nB. The red car", "B.\r\nA car", "The answer is\nB", "B. The red car\nOr so I think", "B\nB\nIt is red.",
    ],
)  # fmt: skip
def test_compute_score_of_choice_reads_the_letter_b(text: str) -> None:
    assert compute_score(SOURCE, text, "B") == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}
    assert compute_score(SOURCE, text, "C") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 1}


@pytest.mark.parametrize(
    "text",
    ["", " ", "A dog", "A or B", "Both", "AB", "B, because", "No answer. B", "1", "B.the", "<answer></answer>B",
     "((B))", "It is B", "Answer:", "<answer>A dog</answer>", "\u0412", "B\x00",
     "\\boxed{A} or \\boxed{B}", "\\boxed{A or B}", "\\boxed{AB}", "\\boxed{}", "\\boxed B", "A\n\\boxed{B}",
     "\\boxed{3} \\boxed{B}", "\\boxed{B}\nA", "So it is \\boxed{B}.\nor A", "Well\nA\n\\boxed{B}",
     "\\boxed{B}\nThe answer is A",
     "A\nB", "A\nor B", "A\nOr B", "B\nand A", "A. a dog\nB. a car\nC. a cat", "A dog\nB", "I see\nB\nthere",
     "<answer>A\nB</answer>"],
)  # fmt: skip
def test_compute_score_of_choice_finds_no_letter(text: str) -> None:
    assert compute_score(SOURCE, text, "B") == {"score": 0, "smooth": 0, "strict": 0, "parsed": 0}


def test_compute_score_of_choice_parses_the_gold_answer_too() -> None:
    assert compute_score(SOURCE, "d", "<answer>D</answer>")["score"] == 1
    for gold in ("", "4", "A or B"):
        with pytest.raises(ValueError, match="is not the letter of an option"):
            compute_score(SOURCE, "A", gold)


@given(st.text(max_size=200) | st.text(st.sampled_from("AB().: *<answer>/\n"), max_size=60))
def test_compute_score_of_choice_accepts_any_text(text: str) -> None:
    scores = compute_score(SOURCE, text, "B")
    assert scores["score"] == scores["strict"] == float(parse_choice(text) == "B")


@pytest.mark.parametrize(
    "piece",
    ["<answer>", "(", "B.", "the ", "B:", "*", " ", ":", "is:", "\\boxed{", "\\boxed ", "}", "B\n", "\\boxed{{"],
)
def test_parse_choice_takes_linear_time(piece: str) -> None:
    """Linear time is about a second; quadratic time would be hours."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("parse_choice did not return within two minutes"))
    signal.alarm(120)
    try:
        assert parse_choice(piece * (2_000_000 // len(piece))) in {None, "B"}
    finally:
        signal.alarm(0)
