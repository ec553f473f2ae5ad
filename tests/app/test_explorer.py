"""``explore(result)``: the Explore page of a result in memory by itself, as a notebook gets it, and in a browser."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import panel as pn
import pytest

import cellstream as cs
from cellstream_app import explore
from cellstream_app.notebook import Explorer
from tests.app.browser import chromium, expect, served, watched

pytestmark = pytest.mark.browser

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "branching-result"


@pytest.fixture(scope="module")
def result() -> cs.CellStream:
    return cs.load(SAMPLE)


def test_an_explorer_shows_the_result_and_offers_no_other(result):
    explorer = explore(result, height=700)
    session, page = explorer.session, explorer.page
    assert explorer.layout.height == 700
    assert np.array_equal(session.result.z, result.encode())
    assert page.stage.result is session.result
    assert not page.result.visible
    assert session.runs() == []
    offered = page.colours.choice.by.options
    assert {"Time", "Growth rate", "lineage"} <= set(offered)
    page.colours.choice.by.value = offered["lineage"]
    assert page.colours.colouring().title == "" or page.colours.colouring().counts["erythroid"] == 892


def test_colours_follow_columns_that_are_added_later(result):
    adata = result.record.adata
    adata.obs["half"] = np.where(np.arange(adata.n_obs) % 2, "odd", "even")
    try:
        page = explore(result).page
        page.colours.choice.by.value = "obs:half"
        assert page.colours.colouring().counts == {"even": 1368, "odd": 1368}
    finally:
        del adata.obs["half"]


def test_a_file_and_an_annotated_table_are_explored_as_well(result, tmp_path):
    result.save(tmp_path / "result.h5ad")
    adata = result.record.adata.copy()
    result.annotate(adata)
    for given in (tmp_path / "result.h5ad", str(tmp_path / "result.h5ad"), adata):
        # components of the same cells, computed anew by another machine
        assert np.allclose(explore(given).session.result.z, result.encode(), atol=1e-2)
    with pytest.raises(cs.UserError, match="Expected a result of CellStream"):
        explore(result.record.adata)
    with pytest.raises(cs.UserError, match="an AnnData or a file, but got int"):
        explore(3)


def test_a_notebook_is_given_panels_own_form(result):
    """As JupyterLab's extension of Panel draws it: a document with the figure and the particles in it."""
    with patch.object(sys.modules["panel.io.notebook"], "get_comm_customizer", create=True):
        pn.extension()
        explorer = explore(result)
        shown, about = explorer._repr_mimebundle_()
    assert "application/vnd.holoviews_exec.v0+json" in shown
    assert about["application/vnd.holoviews_exec.v0+json"]["id"]
    for part in ("FlowCanvas", "Streamlines of the velocity v", "day 7"):
        assert part in shown["text/html"]


def test_an_explorer_that_nobody_holds_is_gone_with_its_folder(result):
    explorer = explore(result)
    folder = explorer._folder
    assert json.loads((folder / "recipe.json").read_text())["time_key"] == "day"
    explorer._gone()
    assert not folder.exists()
    asyncio.run(explorer._beat())  # nobody looks: nothing is drawn
    assert explorer.session.beat == 0
    del explorer
    gc.collect()


@pytest.mark.slow
def test_in_a_browser_cells_move_and_layers_answer(result):
    """On a page of ``panel serve``: the time runs, the growth map comes, a name in the legend picks its cells."""
    made: list[Explorer] = []

    def app() -> pn.viewable.Viewable:
        made.append(explore(result))
        return made[-1]

    with served(app) as address, chromium() as browser, watched(browser, (1300, 760)) as (page, wrong):
        page.goto(address)
        expect(page.locator(".clock .time")).not_to_have_text("0 d")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.get_by_label("Map of the growth rate g").click()
        expect(page.get_by_text("growth, doublings per d").first).to_be_visible()
        page.get_by_text("day 7", exact=True).first.click()
        expect(page.get_by_text("826").first).to_be_visible()
        page.wait_for_function("() => true")
        page.wait_for_timeout(3000)
        assert len(made[0].session.selection) == 826
        assert made[0].session.time > 0
        assert not wrong
