"""Samples: exact JSON, and ids that follow from the content."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.clock import uniform_clock
from videossr.sample import Sample, VideoKey

SAMPLE = Sample(
    task="grounding",
    category="grounding/mirror",
    sources=(VideoKey("a" * 64, "b" * 64),),
    slots=tuple((0, k) for k in range(4)),
    clock=uniform_clock(4, 1234.5),
    size=(192, 320),
    params={"first": 1, "strength": {"factor": 1.3}, "text": "é\u2028</script>"},
    answer="0.3-0.9",
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_from_json_gives_back_an_equal_sample_with_the_same_id(params):
    sample = replace(SAMPLE, params=params)
    restored = Sample.from_json(sample.to_json())
    assert restored == sample
    assert restored.id == sample.id


@pytest.mark.parametrize(
    "change",
    [
        {"task": "jigsaw"},
        {"category": "x"},
        {"sources": (VideoKey("a" * 64, "c" * 64),)},
        {"slots": ((0, 0),) * 4},
        {"clock": uniform_clock(4, 1235.5)},
        {"size": (320, 192)},
        {"params": {}},
        {"answer": "0.3-0.8"},
    ],
)
def test_sample_id_depends_on_every_field(change):
    assert replace(SAMPLE, **change).id != SAMPLE.id


def test_sample_id_does_not_depend_on_the_order_of_params():
    reversed_params = replace(SAMPLE, params=dict(list(SAMPLE.params.items())[::-1]))
    assert reversed_params.id == SAMPLE.id


def test_to_json_is_standard_json():
    assert json.loads(SAMPLE.to_json())["params"]["strength"]["factor"] == 1.3
    with pytest.raises(ValueError, match="not JSON compliant"):
        _ = replace(SAMPLE, params={"x": float("nan")}).id


def test_integer_and_integers_name_params_of_another_type():
    with pytest.raises(ValueError, match="'text' must be a whole number"):
        SAMPLE.integer("text")
    with pytest.raises(ValueError, match="'absent' must be whole numbers"):
        SAMPLE.integers("absent")
    assert SAMPLE.integer("first") == 1


def test_integers_accepts_lists_of_whole_numbers_only():
    assert replace(SAMPLE, params={"order": [3, 1, 2]}).integers("order") == [3, 1, 2]
    invalid: list[Any] = [[1, True], [1, 2.0], (1, 2), 3, "12"]
    for values in invalid:
        with pytest.raises(ValueError, match=r"'order' must be whole numbers, got .*[123]"):
            replace(SAMPLE, params={"order": values}).integers("order")


def test_to_json_and_id_never_change():
    """Samples of published datasets are named by the hash of these bytes."""
    keys = f'[["{"a" * 64}","{"b" * 64}"]]'
    assert SAMPLE.to_json() == (
        '{"answer":"0.3-0.9","category":"grounding/mirror","end_ms":1234,'
        '"params":{"first":1,"strength":{"factor":1.3},"text":"\\u00e9\\u2028</script>"},"size":[192,320],'
        f'"slots":[[0,0],[0,1],[0,2],[0,3]],"sources":{keys},"task":"grounding","times_ms":[0,309,617,926]}}'
    )
    assert SAMPLE.id == "34b1231ff1992345f664"
