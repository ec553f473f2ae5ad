"""A form shows every setting, gives back what it shows, and says what is wrong with what is typed."""

from __future__ import annotations

import panel_material_ui as pmui
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellstream import config as model
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.presets import PRESETS, preset
from cellstream_app.forms import SECTIONS, Form, help_of, label_of, show

ALL = model.settings()


def test_every_setting_of_every_section_has_a_widget_with_a_label_and_a_help():
    form = Form()
    assert list(form.widgets) == [item.name for _, item in ALL]
    assert {section for section, _ in ALL} == set(SECTIONS)
    for _, item in ALL:
        widget = form.widgets[item.name]
        assert widget.label == label_of(item) != ""
        assert item.metadata["doc"] in widget.description == help_of(item)


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_comes_back(name: str):
    config = preset(name)
    assert Form(config).config == config
    form = Form()
    form.show(config)
    assert form.config == config
    assert form.changed_from(config) == {}


def values_of(item):
    """Any value that a setting accepts."""
    low, high = item.metadata["bounds"] or (None, None)
    if item.metadata["choices"]:
        return st.sampled_from(item.metadata["choices"])
    if isinstance(item.default, bool):
        return st.booleans()
    if isinstance(item.default, int):
        return st.integers(low, high if high is not None else 2**40)
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_allowed_values_come_back_to_the_last_digit(data):
    changes = {item.name: data.draw(values_of(item), label=item.name) for _, item in ALL}
    config = Config().with_settings(**changes)
    form = Form()
    form.show(config)
    assert form.config == config


@given(st.floats(allow_nan=False))
def test_a_number_reads_back_to_itself(value: float):
    assert float(show(value)) == value


def test_a_change_by_the_user_reaches_the_config_and_the_listener():
    heard = []
    form = Form(on_change=lambda: heard.append(form.config))
    form.widgets["lambda_ae"].value = "8"
    form.widgets["decay"].value = True
    form.widgets["method"].value = "rk4"
    assert [c.weights.lambda_ae for c in heard] == [8.0, 8.0, 8.0]
    assert heard[-1].schedule.decay
    assert heard[-1].integration.method == "rk4"
    assert form.changed_from(Config()) == {"lambda_ae": 8.0, "decay": True, "method": "rk4"}


def test_showing_a_config_is_no_change_by_the_user():
    heard = []
    form = Form(on_change=lambda: heard.append(1))
    form.show(preset("best"))
    assert heard == []


@pytest.mark.parametrize(
    ("name", "typed", "expected"),
    [("lambda_ae", "-1", "at least 0"), ("lambda_ae", "much", "a number"), ("rounds", "2.5", "a whole number")],
)
def test_what_is_wrong_is_said_at_the_widget_and_refused(name: str, typed: str, expected: str):
    heard = []
    form = Form(on_change=lambda: heard.append(1))
    widget = form.widgets[name]
    widget.value = typed
    assert widget.error_state
    assert expected in widget.helper_text
    assert heard == []
    with pytest.raises(UserError, match=expected):
        _ = form.config
    widget.value = "3"
    assert not widget.error_state
    assert widget.helper_text == ""
    assert heard == [1]


def test_sections_are_those_that_were_asked_for():
    form = Form(sections=["weights", "schedule"])
    assert {form.items[name][0] for name in form.widgets} == {"weights", "schedule"}
    both = form.section("weights") + form.section("schedule")
    assert sorted(map(id, both)) == sorted(map(id, form.widgets.values()))
    assert form.section("networks") == []
    assert all(isinstance(w, pmui.TextInput) for w in form.section("weights"))
