"""A config dataclass <-> its widgets. Labels, help, units, bounds and choices come from the field metadata alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import panel_material_ui as pmui

from cellstream import config as settings
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.setting import checked

SECTIONS = {
    "preprocess": "Preprocessing",
    "networks": "Networks",
    "integration": "Solver",
    "weights": "Loss weights",
    "schedule": "Schedule",
    "compute": "Computation",
}
"""The sections of :class:`cellstream.config.Config`, as people call them."""

Widget = pmui.TextInput | pmui.Select | pmui.Switch


def label_of(item: dataclasses.Field) -> str:
    """What stands beside the widget of a setting: its label or its name in words, its symbol, its unit.

    >>> label_of(settings.find("encoder_width")[1])
    'Encoder width, f_enc'
    """
    meta = item.metadata
    head, colon, _ = meta["doc"].partition(":")
    words = meta["label"] or (head if colon and meta["symbol"] else item.name.replace("_", " ").capitalize())
    parts = [words, meta["symbol"]]
    # a unit that the words say already ("start steps", steps) is not said twice
    if meta["unit"] and meta["unit"].lower() not in words.lower():
        parts.append(meta["unit"])
    return ", ".join(part for part in parts if part)


def help_of(item: dataclasses.Field) -> str:
    """The tooltip of a setting: what it means, what is allowed, and its name on the command line."""
    meta = item.metadata
    text = meta["doc"]
    if meta["bounds"]:
        low, high = meta["bounds"]
        span = f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"
        text += f" Allowed: {span}."
    return f"{text} Name: {item.name}."


def show(value: Any) -> str:
    """A number as text that reads back to the same number: 10.0 -> "10", 0.0003 -> "0.0003"."""
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return str(value)


def widget_for(item: dataclasses.Field, value: Any) -> Widget:
    """The widget of a setting: a switch, a choice, or a field to type into that says what is wrong."""
    common = dict(label=label_of(item), description=help_of(item), size="small", sizing_mode="stretch_width")
    if isinstance(item.default, bool):
        return pmui.Switch(value=value, label=common["label"], description=common["description"])
    if item.metadata["choices"]:
        return pmui.Select(options=list(item.metadata["choices"]), value=value, **common)
    return pmui.TextInput(value=show(value), **common)


class Form:
    """Widgets for the settings of a :class:`Config`, or of some of its sections.

    ``widgets`` maps a setting's name to its widget; ``config`` reads them all and raises :class:`UserError` for the
    first that is wrong; ``on_change`` is called with no arguments after a valid change by the user.
    """

    def __init__(
        self, config: Config | None = None, sections: Iterable[str] = SECTIONS, on_change: Callable | None = None
    ):
        self.base = config or Config()
        self.on_change = on_change
        wanted = set(sections)
        self.items = {item.name: (section, item) for section, item in settings.settings() if section in wanted}
        self.widgets: dict[str, Widget] = {
            name: widget_for(item, getattr(getattr(self.base, section), name))
            for name, (section, item) in self.items.items()
        }
        self._showing = False
        for name, widget in self.widgets.items():
            widget.param.watch(lambda event, name=name: self._changed(name), "value")

    @property
    def config(self) -> Config:
        """The settings as they stand in the widgets; those without a widget are as in ``base``."""
        values = {}
        for name, widget in self.widgets.items():
            item = self.items[name][1]
            try:
                values[name] = checked(item, widget.value)
            except UserError as error:
                raise UserError(str(error).replace(name, f"'{label_of(item)}'", 1)) from None
        return self.base.with_settings(**values)

    def show(self, config: Config) -> None:
        """Put the settings of ``config`` into the widgets."""
        self.base, self._showing = config, True
        try:
            for name, (section, _) in self.items.items():
                value = getattr(getattr(config, section), name)
                widget = self.widgets[name]
                value = show(value) if isinstance(widget, pmui.TextInput) else value
                # each change is a message to the browser
                if widget.value != value:
                    widget.value = value
        finally:
            self._showing = False

    def changed_from(self, config: Config) -> dict[str, Any]:
        """The settings in the widgets that differ from those of ``config``, by name."""
        mine = self.config
        return {
            name: value
            for name, (section, _) in self.items.items()
            if (value := getattr(getattr(mine, section), name)) != getattr(getattr(config, section), name)
        }

    def section(self, section: str) -> list[Widget]:
        """The widgets of a section."""
        return [self.widgets[name] for name, (of, _) in self.items.items() if of == section]

    def _changed(self, name: str) -> None:
        if self._mark(name) and not self._showing and self.on_change:
            self.on_change()

    def _mark(self, name: str) -> bool:
        """Say at the widget what is wrong with its value; whether it is right."""
        widget = self.widgets[name]
        if not isinstance(widget, pmui.TextInput):
            return True
        try:
            checked(self.items[name][1], widget.value)
        except UserError as error:
            # the label says the name already
            widget.param.update(error_state=True, helper_text=str(error).removeprefix(f"{name} ").capitalize())
            return False
        if widget.error_state:
            widget.param.update(error_state=False, helper_text="")
        return True
