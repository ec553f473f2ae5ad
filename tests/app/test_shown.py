"""What Explore shows, as choices: it comes back from plain values, and what is no choice does not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellstream_app.bundling import View
from cellstream_app.shown import Shown

NUMBERS = st.floats(-1e6, 1e6)
VIEWS = st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS).filter(lambda v: v[0] < v[1] and v[2] < v[3])
CHOICES = st.builds(
    Shown,
    colour=st.text(),
    gene=st.text(),
    layers=st.sampled_from([(), ("particles",), ("streams", "growth"), ("particles", "streams", "growth", "arrows")]),
    moment=st.booleans(),
    axes=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    view=VIEWS,
    particles=st.text(),
)


@given(CHOICES)
def test_it_comes_back_from_plain_values(shown):
    assert Shown.from_dict(json.loads(json.dumps(shown.to_dict()))) == shown


@given(st.dictionaries(st.sampled_from(sorted(Shown().to_dict())), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=6
)))  # fmt: skip
def test_whatever_is_found_is_a_choice_or_left_out(found):
    shown = Shown.from_dict(found)
    assert isinstance(shown.colour, str)
    assert isinstance(shown.moment, bool)
    assert set(shown.layers) <= {"particles", "streams", "growth", "arrows"}
    assert len(shown.axes) == 2
    assert shown.view is None or (shown.view[0] < shown.view[1] and shown.view[2] < shown.view[3])
    assert Shown.from_dict(shown.to_dict()) == shown


@pytest.mark.parametrize(
    "view", [[1, 0, 0, 1], [0, 1, 0], [0, 1, 0, float("nan")], [True, 2, 0, 1], "0101", [0, 10**400, 0, 1]]
)
def test_a_view_that_is_none_is_not_taken(view):
    assert Shown.from_dict({"view": view}).view is None


def test_a_figure_has_the_layers_that_paper_can_have():
    assert Shown(layers=("particles", "streams")).on_paper == ("cells", "streams")
    assert Shown(layers=("arrows", "growth")).on_paper == ("cells", "growth", "arrows")


def test_a_time_that_no_float_holds_is_none():
    assert View.from_dict({"time": 10**400}).time is None
    assert View.from_dict({"time": 3}).time == 3.0
