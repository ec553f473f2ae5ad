"""The file check: what is wrong with the opened data set, each in a sentence with a button that mends it, and the way
back."""

from __future__ import annotations

import dataclasses
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream import doctor
from cellstream.doctor import Diagnosis, Remedy
from cellstream.fixes import ordered
from cellstream.time_labels import counted
from cellstream_app import ui
from cellstream_app.reading import Reading
from cellstream_app.session import Session

TIGHT = {"whiteSpace": "nowrap", "flexShrink": 0, "py": "2px"}
MARKS = {
    doctor.STOP: ("#d32f2f", "Has to be mended before training", "M7 3h2v6H7zM7 11h2v2H7z"),
    doctor.CAUTION: ("#b26a00", "Better mended before training", "M7 3h2v6H7zM7 11h2v2H7z"),
    "well": ("#2e7d32", "Done", "M6.5 12 3 8.5l1.3-1.3 2.2 2.2 5.2-5.2L13 5.5z"),
}
"""By level: a colour, what the mark means, and a figure on a disc of 16 by 16."""


class FileCheck(pn.viewable.Viewer):
    """The card. It shows ``session.diagnosis``, and changes ``session.reading`` where a button is pressed."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self.lines = ui.column(gap=6)
        self.progress = ui.text("", muted=True, visible=False)
        self.buttons: list[pmui.Button] = []
        self._chosen: list[tuple[Remedy, Reading]] = []
        """Remedies that set other arguments, with the reading before; they cannot be told from what the user set."""
        session.param.watch(self._on_source, "source")
        session.param.watch(self._on_diagnosis, "diagnosis")
        session.param.watch(self._on_busy, ["preparing", "checking", "beat"])
        self._on_busy()

    def __panel__(self) -> pmui.Paper:
        return ui.card(self.message, self.lines, self.progress, title="File check")

    def _on_source(self, *events: Any) -> None:
        self._chosen = []
        self.lines[:] = []

    def _on_busy(self, *events: Any) -> None:
        session = self.session
        busy = session.preparing or session.checking
        if self.progress.visible or busy:
            share = session.source.progress.get(session.reading.input) if session.source is not None else None
            told = f" {share:.0%}" if share is not None else ""
            said = ui.styled(f"Checking every value …{told}", muted=True)
            self.progress.param.update(object=said, visible=busy)
        for button in self.buttons:
            if button.disabled != busy:
                button.disabled = busy

    def _on_diagnosis(self, *events: Any) -> None:
        found = self.session.diagnosis
        self.buttons = []
        self.lines[:] = [] if found is None else self._lines(found)
        self._on_busy()

    def _lines(self, found: Diagnosis) -> list[pn.viewable.Viewable]:
        bad, notes = found.of(doctor.STOP, doctor.CAUTION), found.of(doctor.NOTE)
        self._chosen = [(remedy, before) for remedy, before in self._chosen if _holds(self.session.reading, remedy)]
        lines = [self._line(finding.level, finding.sentence, finding.remedy) for finding in bad]
        lines += [self._done(sentence, self._without, name) for name, sentence in found.done.items()]
        lines += [
            self._done(f"Done: {r.label[0].lower()}{r.label[1:]}.", self._back, (r, before))
            for r, before in self._chosen
        ]
        if not bad:
            cells, features = found.shape
            more = " more" if lines else ""
            lines.append(self._line("well", f"No{more} problems found in {cells:,} cells × {features:,} features."))
        return [*lines, ui.text(remarks(notes))] if notes else lines

    def _line(self, level: str, sentence: str, remedy: Remedy | None = None) -> pn.Row:
        text = ui.text(marked(level, sentence), align="center")
        return ui.row(text, self._button(remedy.label, self._mend, remedy)) if remedy else ui.row(text)

    def _done(self, sentence: str, undo: Any, what: Any) -> pn.Row:
        return ui.row(
            ui.text(marked("well", sentence), align="center"), self._button("Undo", undo, what, variant="text")
        )

    def _button(self, label: str, change: Any, what: Any, **look: Any) -> pmui.Button:
        """A button that reads the data anew, as ``change(reading, what)`` says."""

        @ui.asks(self.message)
        async def press(event: Any) -> None:
            await self.session.prepare(change(self.session.reading, what))

        options = dict(size="small", variant="outlined", margin=0, align="center", sx=TIGHT)
        button = pmui.Button(label=label, on_click=press, **{**options, **look})
        self.buttons.append(button)
        return button

    # what the buttons do

    def _mend(self, reading: Reading, remedy: Remedy) -> Reading:
        if not remedy.sets:
            return dataclasses.replace(reading, fixes=ordered([*reading.fixes, remedy.name]))
        self._chosen.append((remedy, reading))
        return _with(reading, remedy.sets)

    def _without(self, reading: Reading, name: str) -> Reading:
        return dataclasses.replace(reading, fixes=tuple(fix for fix in reading.fixes if fix != name))

    def _back(self, reading: Reading, what: tuple[Remedy, Reading]) -> Reading:
        remedy, before = what
        return _with(reading, {name: _value(before, name) for name in remedy.sets})


def _value(reading: Reading, name: str) -> Any:
    return reading.preprocess.normalise if name == "normalise" else getattr(reading, name)


def _with(reading: Reading, sets: Any) -> Reading:
    """The reading with other arguments of ``from_anndata``."""
    others = {name: value for name, value in sets.items() if name != "normalise"}
    preprocess = dataclasses.replace(reading.preprocess, normalise=sets.get("normalise", reading.preprocess.normalise))
    return dataclasses.replace(reading, preprocess=preprocess, **others)


def _holds(reading: Reading, remedy: Remedy) -> bool:
    """Whether what the remedy has set is still so."""
    return all(_value(reading, name) == value for name, value in remedy.sets.items())


def marked(level: str, sentence: str) -> str:
    """A sentence, which may hold names from a file, behind the mark of its level, as HTML."""
    colour, meaning, figure = MARKS[level]
    disc = f"<title>{meaning}</title><circle cx='8' cy='8' r='8' fill='{colour}'/><path d='{figure}' fill='#fff'/>"
    box = "width='16' height='16' viewBox='0 0 16 16' style='flex:none;margin-top:2px'"
    mark = f"<svg role='img' aria-label='{meaning}' {box}>{disc}</svg>"
    return f"<div style='display:flex;gap:8px;align-items:flex-start'>{mark}<span>{ui.escaped(sentence)}</span></div>"


def remarks(notes: tuple[doctor.Finding, ...]) -> str:
    """What needs nothing to be done, folded away, as HTML."""
    title = f"{counted(len(notes), 'remark')}: dealt with, nothing to do"
    listed = ui.bullets(note.sentence for note in notes)
    return f"<details><summary style='cursor:pointer;opacity:.68'>{title}</summary>{listed}</details>"
