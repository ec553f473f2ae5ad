"""The Explore page by itself, of a result in memory: in a cell of a notebook, or in a window of its own."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from importlib import import_module
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
from anndata import AnnData
from panel.io.notebook import push_notebook
from panel.io.state import state

import cellstream
from cellstream import scverse
from cellstream.errors import UserError
from cellstream.files import path_of
from cellstream.progress import in_notebook
from cellstream.runs import Run, Status
from cellstream.scverse import result_in
from cellstream.stream import CellStream
from cellstream_app import style
from cellstream_app.pages.explore import ExplorePage
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source

BEAT_MS = 100
HEIGHT = 640
"""Pixels, by default."""
LEAST = 420
"""Pixels on which controls and stage can be told apart."""


class Alone(Session):
    """The state of an explorer that shows one result, and knows of no other."""

    def runs(self) -> list[Run]:
        return []

    async def load_latest(self) -> bool:
        return False


class Explorer(pn.viewable.Viewer):
    """What :func:`explore` gives. The last line of a cell shows it; ``show()`` opens a window of the browser;
    ``servable()`` puts it on a page of ``panel serve``."""

    def __init__(self, result: CellStream, height: int = HEIGHT, dark: bool = False):
        super().__init__()
        known = result.known
        scverse.require_same_cells(known.adata, known.snapshots, known.recipe)
        self._folder = Path(tempfile.mkdtemp(prefix="cellstream-explore-"))
        self._gone = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        run = _as_run(result, self._folder)
        shown = Result(run, result, known.snapshots, final=True)
        key = str(known.path or known.recipe.get("source") or f"memory-{known.snapshots.fingerprint}")
        source = Source(key, run.name, known.adata, known.notes)
        self.session = Alone(
            page="explore", run=run, run_id=run.name, status=Status("finished"), dark=dark,
            result=shown, result_source=source, time=float(shown.times[0]),
        )  # fmt: skip
        self.page = ExplorePage(self.session, alone=True)
        # what is drawn around cells on a figure reaches a server, and no kernel
        self.page.drag.visible = not in_notebook()
        look = style.theme(dark)
        config = {key: value for key, value in style.theme_config().items() if key not in ("light", "dark")}
        config |= style.theme_config()["dark" if dark else "light"]
        # the page's parts have the theme of what they stand in, which in the app is the page of the browser
        self.layout = pmui.Paper(
            self.page, height=max(height, LEAST), margin=0, sizing_mode="stretch_width", dark_theme=dark, elevation=0,
            theme_config={**config, "components": style.BUTTONS},
            sx={"backgroundColor": look.page, "border": f"1px solid {look.grid}", "overflow": "hidden"},
        )  # fmt: skip
        self._clock = pn.io.PeriodicCallback(callback=_weak(self), period=BEAT_MS)

    def show(self, *words: Any, **more: Any) -> Any:
        """Open it in a window of the browser, where a box or a lasso can be drawn; the words are Panel's."""
        self.page.drag.visible = True
        return super().show(*words, **more)

    def __panel__(self) -> pmui.Paper:
        if not self._clock.running:
            self._clock.start()
        return self.layout

    async def _beat(self) -> None:
        views = list(self.layout._models)
        if not views:  # nobody looks: the cell was run again, or the window closed
            return
        self.session.beat += 1
        # what is changed on a figure itself, and not on something of Panel's, a notebook is to be told of
        if any(view in state._views and state._views[view][3] is not None for view in views):
            push_notebook(self.layout)


def explore(data: CellStream | AnnData | str | Path, *, height: int = HEIGHT, dark: bool = False) -> Explorer:
    """Explore a result: cells in motion, colours, layers, one time for all, and where selected cells come from and go.

    Parameters
    ----------
    data
        A result of :func:`cellstream.fit` or :func:`cellstream.load`, an AnnData with a result in it, or a file.
    height
        Pixels.
    dark
        On a dark ground.

    Returns
    -------
    Explorer
        As the last line of a cell it is shown there. ``explore(result).show()`` opens it in a window of the browser,
        and ``explore(result).servable()`` puts it on a page of ``panel serve``.

    Raises
    ------
    UserError
        There is no result, or its cells have changed.
    """
    style.use_defaults()
    if isinstance(data, AnnData):
        data = result_in(data)
    elif isinstance(data, str | Path):
        data = cellstream.load(data)
    elif not isinstance(data, CellStream):
        raise UserError(f"Expected a result, an AnnData or a file, but got {type(data).__name__}.")
    return Explorer(data, height, dark)


def _prepare_cells() -> None:
    """Let the notebook fetch what draws the explorer, which takes it seconds: as early as can be, since what is shown
    before it is there stays empty. HoloViews' own extension would fetch all of it once more."""
    pn.extension(respect_explicit_sizing=True)
    import_module("holoviews.plotting.bokeh")


if in_notebook():
    _prepare_cells()


def _as_run(result: CellStream, folder: Path) -> Run:
    """A run by name and recipe alone, for a page that asks a run for these."""
    recipe = {**dict(result.known.recipe), "unit": result.clock.unit}
    recipe["name"] = str(recipe.get("name") or (result.known.path.stem if result.known.path else "Result"))
    (folder / "config.json").write_text(result.config.to_json())
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return Run(path_of(folder))


def _weak(explorer: Explorer) -> Any:
    """The beat of an explorer, which does not keep it."""
    held = weakref.ref(explorer)

    async def beat() -> None:
        alive = held()
        if alive is not None:
            await alive._beat()

    return beat
