"""TIGON's dynamics on an embedding that has none: start, watch, stop. The fit is a run like any other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import panel as pn
import panel_material_ui as pmui
from tqdm import tqdm

from cellstream.runs import Run
from cellstream_app import ui
from cellstream_app.embeddings import Plain, dynamics_of, start_dynamics
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

LOOK_BEATS = 3
FIT, SHOW = "Fit TIGON dynamics", "Show TIGON dynamics"
ABOUT = (
    "shows where cells lie, and nothing moves on it. TIGON (Sha et al. 2024) can be fitted on it: a velocity and a "
    "growth rate on a picture that stays as it is. It takes some minutes, in the background."
)

FITTED = "shows where cells lie, and nothing moves on it. TIGON's dynamics were fitted on it before."


class Dynamics(pn.viewable.Viewer):
    """For the embedding given by :meth:`show`; ``finished`` is called with the run whose result is there.

    Not where another result than that of these cells has been chosen meanwhile: then the fit is one more in the list.
    """

    def __init__(self, session: Session, finished: Callable[[Run], Coroutine[Any, Any, None]]):
        super().__init__()
        self.session, self.finished = session, finished
        self.plain: Plain | None = None
        self.of: Result | None = None
        self.run: Run | None = None
        """The fit under way."""
        self.fitted: Run | None = None
        """One that was made before."""
        self._looking = False
        self._first: tuple[float, int] | None = None
        self.said = ui.text("")
        self.bar = pmui.LinearProgress(value=0, variant="determinate", margin=0, visible=False, **WIDE)
        self.message = ui.Message()
        button = dict(size="small", variant="outlined", margin=0)
        self.fit = pmui.Button(label=FIT, icon="model_training", on_click=self._on_fit, **button)
        self.stop = pmui.Button(
            label="Stop", icon="stop", color="error", on_click=self._on_stop, visible=False, **button
        )  # fmt: skip
        self.view = ui.card(ui.row(self.said, self.fit, self.stop, gap=16), self.bar, self.message, visible=False)
        session.param.watch(self._on_beat, "beat")

    def __panel__(self) -> pn.viewable.Viewable:
        return self.view

    async def show(self, plain: Plain | None, of: Result | None) -> None:
        """Another embedding, of the cells of this result; None: nothing is asked."""
        self.plain, self.of, self.run, self.fitted, self._first = plain, of, None, None, None
        self.view.visible = plain is not None
        self.message.clear()
        self._tell()
        if plain is not None:
            run = await asyncio.to_thread(dynamics_of, plain, self.session.runs())
            if plain is self.plain and run is not None:
                self.run = run if run.status().live else None
                self.fitted = run if (run.folder / "model.safetensors").exists() else None
                self._tell()

    async def _on_fit(self, event: Any) -> None:
        async def fit() -> None:
            if self.fitted is not None:
                return await self.finished(self.fitted)
            plain = self.plain
            run = await asyncio.to_thread(start_dynamics, plain, self.of)
            self.session.runs_changed += 1
            if plain is self.plain:
                self.run, self._first = run, None
                self._tell()

        await ui.asks(self.message, self.fit)(fit)()

    def _on_stop(self, event: Any) -> None:
        if self.run is not None:
            self.run.cancel()
            self.stop.disabled = True

    async def _on_beat(self, event: Any) -> None:
        if self.run is None or self._looking or event.new % LOOK_BEATS:
            return
        self._looking, run = True, self.run
        try:
            status = await asyncio.to_thread(run.status)
            if run is not self.run:
                return
            self._tell()
            if status.live:
                return
            self.run = None
            self._tell()
            self.session.runs_changed += 1
            if status.state == "finished":
                if self._still_chosen:
                    await self.finished(run)
            elif status.state != "cancelled":
                self.message.say(status.reason)
        finally:
            self._looking = False

    @property
    def _still_chosen(self) -> bool:
        return self.of is not None and self.of.of_same_run(self.session.result)

    def _tell(self) -> None:
        if self.plain is None:
            return
        run, name = self.run, ui.escaped(self.plain.name)
        self.bar.visible = self.stop.visible = run is not None
        self.fit.visible = run is None
        if run is None:
            self.stop.disabled = False
            self.fit.label, about = (FIT, ABOUT) if self.fitted is None else (SHOW, FITTED)
            self.said.object = ui.styled(f"<b style='font-weight:600'>{name}</b> {about}")
            return
        status = run.status()
        share = 100 * status.step / status.total if status.total else 0
        self.bar.param.update(value=round(share, 1), variant="determinate" if share else "indeterminate")
        if status.state == "queued":
            said = status.reason or "Waits for its turn: another run is under way."
        else:
            said = (
                f"step {status.step:,} of {status.total:,}{self._left(status.step, status.total)}"
                if share
                else "starting …"
            )
        name = ui.escaped(self.plain.method)
        self.said.object = ui.styled(f"<b style='font-weight:600'>{name}</b> · {ui.escaped(said)}")

    def _left(self, step: int, total: int) -> str:
        """Time left at the pace since it was first seen."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, step
        began, first = self._first
        if step <= first or now - began < 3:
            return ""
        return f" · about {tqdm.format_interval((total - step) * (now - began) / (step - first))} left"
