"""The Data page while the data set is prepared, has problems or is exchanged; without a browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellstream.fixes import NONFINITE
from cellstream_app import plots, style
from cellstream_app import session as app
from cellstream_app.pages.data import REAL, DataPage
from cellstream_app.session import Session
from cellstream_app.timetable import VALUE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLSTREAM_ROOT", raising=False)
    style.use_defaults()


def cells(path: Path, labels: list[str], column: str = "day") -> AnnData:
    """Twenty cells of each label, in a file."""
    x = np.random.default_rng(0).normal(size=(20 * len(labels), 4)).astype(np.float32)
    obs = pd.DataFrame({column: np.repeat(labels, 20)}, index=[f"c{i}" for i in range(len(x))])
    adata = AnnData(x, obs, obsm={"X_pca": x[:, :3]})
    adata.write_h5ad(path)
    return adata


def slowed(work: Callable, seconds: float) -> Callable:
    def slow(*given: Any, **named: Any) -> Any:
        time.sleep(seconds)
        return work(*given, **named)

    return slow


async def ready(session: Session) -> None:
    """Wait until what the widgets have asked for is there."""
    await asyncio.sleep(0.02)
    while session.preparing or session.checking:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.02)


async def opened(path: Path) -> tuple[Session, DataPage]:
    """A session whose page shows the file, prepared and looked through."""
    session = Session()
    page = DataPage(session)
    await session.open(str(path))
    await ready(session)
    return session, page


def told(story: Callable[[], Coroutine]) -> None:
    """Run a story; what goes wrong in a task of its own is a failure too."""

    async def watched() -> None:
        wrong: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        await story()
        assert wrong == []

    asyncio.run(watched())


def test_a_unit_chosen_while_the_last_one_is_prepared_converts_what_is_in_that_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2", "day 5"])

    async def story() -> None:
        session, page = await opened(tmp_path / "cells.h5ad")
        monkeypatch.setattr(app, "read_snapshots", slowed(app.read_snapshots, 0.2))
        page.unit.value = "h"
        await asyncio.sleep(0.05)
        assert session.preparing
        page.unit.value = "min"
        await ready(session)
        assert (session.snapshots.times.tolist(), session.snapshots.unit) == ([0, 2880, 7200], "min")

    told(story)


def test_a_unit_chosen_before_a_problem_is_mended_converts_the_days_of_the_labels(tmp_path: Path):
    """The problem leaves nothing prepared, but the labels say their unit all the same."""
    cells(tmp_path / "hours.h5ad", ["1 h", "3 h"])
    adata = cells(tmp_path / "cells.h5ad", ["day 0", "day 2", "day 5"])
    adata.X[3, 2] = np.nan
    adata.write_h5ad(tmp_path / "cells.h5ad")

    async def story() -> None:
        session, page = await opened(tmp_path / "hours.h5ad")
        assert page.unit.value == "h"
        await session.open(str(tmp_path / "cells.h5ad"))
        await ready(session)
        assert session.problem
        assert page.unit.value == "d"
        page.unit.value = "h"
        await ready(session)
        assert page.table.value[VALUE].tolist() == [0, 48, 120]
        mended = replace(session.reading, fixes=(NONFINITE,))
        await session.prepare(mended)
        assert (session.snapshots.times.tolist(), session.snapshots.unit) == ([0, 48, 120], "h")

    told(story)


def test_a_unit_is_given_to_values_that_were_typed_as_it_stands(tmp_path: Path):
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2"])

    async def story() -> None:
        session = Session()
        page = DataPage(session)
        await session.open(str(tmp_path / "cells.h5ad"))
        await session.prepare(replace(session.reading, time_map={"day 0": 1.0, "day 2": 3.0}))
        await ready(session)
        assert page.unit.value == ""
        page.unit.value = "h"
        await ready(session)
        assert (session.snapshots.times.tolist(), session.snapshots.unit) == ([1, 3], "h")

    told(story)


def test_a_unit_can_be_chosen_before_the_time_column(tmp_path: Path):
    cells(tmp_path / "cells.h5ad", ["a", "b"], column="kind")

    async def story() -> None:
        session, page = await opened(tmp_path / "cells.h5ad")
        assert session.reading.time_key == ""
        page.unit.value = "h"
        await ready(session)
        assert session.reading.unit == page.unit.value == "h"
        assert "choose the one" in page.problem.alert.object

    told(story)


def test_two_widgets_that_are_set_at_once_both_count(tmp_path: Path):
    """The page shows the reading of the first before the second is asked for."""
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2"])

    async def story() -> None:
        session, page = await opened(tmp_path / "cells.h5ad")
        page.input.value, page.gaps.value, page.unit.value = "obsm:X_pca", REAL, "h"
        page.form.widgets["n_pcs"].value = "7"
        await ready(session)
        reading = session.reading
        assert (reading.input, reading.real_times, reading.unit) == ("obsm:X_pca", True, "h")
        assert reading.preprocess.n_pcs == 7
        assert session.snapshots.times.tolist() == [0, 48]

    told(story)


def test_what_chooses_among_many_features_is_asked_only_of_many(tmp_path: Path):
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2"])

    async def story() -> None:
        session, page = await opened(tmp_path / "cells.h5ad")
        shown = lambda: [page.form.widgets[name].visible for name in ("n_top_genes", "n_pcs")]  # noqa: E731
        assert session.source.adata.n_vars <= 200
        assert shown() == [False, False]
        page.form.widgets["n_top_genes"].value = "3"
        await ready(session)
        assert shown() == [True, False]  # it chooses among the few

    told(story)


def test_a_setting_that_is_wrong_is_told_where_another_one_is_changed(tmp_path: Path):
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2"])

    async def story() -> None:
        session, page = await opened(tmp_path / "cells.h5ad")
        page.form.widgets["n_pcs"].value = "many"
        page.form.widgets["n_top_genes"].value = "2000"
        await ready(session)
        assert "many" in page.problem.alert.object
        assert session.reading.preprocess.n_top_genes == 3000

    told(story)


def test_a_picture_of_data_that_are_gone_meanwhile_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cells(tmp_path / "cells.h5ad", ["day 0", "day 2", "day 5"])
    cells(tmp_path / "others.h5ad", ["day 0", "day 1"])
    draw, waits = plots.embedding, [0.6, 0.0]
    monkeypatch.setattr(plots, "embedding", lambda *given, **named: slowed(draw, waits.pop(0))(*given, **named))

    async def story() -> None:
        session = Session()
        page = DataPage(session)
        await session.open(str(tmp_path / "cells.h5ad"))
        while len(waits) == 2:  # until its picture is being made
            await asyncio.sleep(0.02)
        await session.open(str(tmp_path / "others.h5ad"))
        while page.picture.object is None:
            await asyncio.sleep(0.02)
        shown = page.picture.object
        await asyncio.sleep(0.8)
        assert page.picture.object is shown

    told(story)
