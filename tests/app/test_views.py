"""What a page shows while results, runs and themes change under it; without a browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import pytest
import torch
from anndata import AnnData
from bokeh.models import BoxSelectTool, ImageRGBA, Segment
from sklearn.decomposition import PCA

from cellstream import events
from cellstream.errors import UserError
from cellstream.events import Event, Preview
from cellstream.fixes import NONFINITE
from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream, Member
from cellstream.traces import stream_columns
from cellstream.worker import work
from cellstream_app import embeddings, style, ui
from cellstream_app import session as app
from cellstream_app.colouring import DIRECTION_SPREAD, GENE, GROWTH, TIME, colouring
from cellstream_app.pages import data
from cellstream_app.pages.compare import ComparePage
from cellstream_app.pages.data import DataPage
from cellstream_app.pages.explore import ExplorePage
from cellstream_app.pages.genes import GenesPage
from cellstream_app.pages.train import TrainPage
from cellstream_app.parts import watching
from cellstream_app.parts.dynamics import Dynamics
from cellstream_app.parts.runlist import RunList
from cellstream_app.parts.saving import Saving, write_result
from cellstream_app.parts.stage import Stage
from cellstream_app.parts.watching import Watching
from cellstream_app.picking import LASSO, MOVE
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import Session
from cellstream_app.sources import Source
from tests.conftest import TINY


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLSTREAM_DATA_DIR", raising=False)
    style.use_defaults()


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Run, Run]:
    """Two finished runs: copies of the sample's."""
    made = []
    for name in ("a", "b"):
        shutil.copytree(sample_run().folder, tmp_path / name)
        made.append(Run(tmp_path / name))
        made[-1].poll()
    return made[0], made[1]


async def settled(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what a thread will have done at some time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        await asyncio.sleep(0.02)


def say(run: Run, *said: Event) -> None:
    """Events of a run, in its folder."""
    with open(run.folder / "events.jsonl", "a") as file:
        file.writelines(f"{events.to_line(event)}\n" for event in said)


def under_way(run: Run, *said: Event) -> Run:
    """The run as if it had come no further than this: it has a latest picture, and no result."""
    (run.folder / "model.safetensors").rename(run.folder / "preview.safetensors")
    for name in ("events.jsonl", "metrics.json"):
        (run.folder / name).unlink(missing_ok=True)
    say(run, *said)
    return Run(run.folder)


def dots(view: Watching) -> int:
    """Cells in the live picture; none where there is no figure."""
    figure = view.picture.object
    return 0 if figure is None else max(len(r.data_source.data.get("colour", ())) for r in figure.renderers)


def test_a_finished_run_keeps_its_picture_through_a_change_of_theme(runs: tuple[Run, Run]):
    async def story() -> None:
        session = Session(page="train")
        view = Watching(session)
        await session.select(runs[0])
        n = len(runs[0].preview()["index"])
        await until(lambda: dots(view) == n)
        light = view.picture.object
        session.dark = True
        await until(lambda: dots(view) == n and view.picture.object is not light)
        assert view.picture.object is not light
        assert view.legend.object

    asyncio.run(story())


def test_a_result_from_a_file_is_shown_with_all_that_the_file_knows_and_no_more(tmp_path: Path):
    async def story() -> None:
        session = Session(page="data")
        await session.restore()
        known = session.run.metrics()
        write_result(session.result, session.result_source, tmp_path / "result.h5ad")
        await session.open(str(tmp_path / "result.h5ad"))
        button = DataPage(session).found_result[1]
        button.clicks += 1
        await settled(0.02)
        assert button.loading  # and no second run can be asked for
        while button.loading:
            await settled(0.1)
        view = Watching(session)
        session.page = "train"
        await settled()
        assert not view.too_early.visible
        assert f">{known['vc']:.2f}<" in view.tiles.object
        assert list(view.match.object.x_range.factors) == list(known["match"])
        assert view.mass.object is not None
        assert view.explore.visible
        assert dots(view) == 2736
        # of how it was trained, a file does not tell
        assert "Read from result.h5ad" in view.said.object
        assert "steps" not in view.said.object
        assert view.losses.object is None
        assert "Appear" not in view.no_losses.object

    asyncio.run(story())


def test_a_run_chosen_while_another_ones_picture_is_made_is_shown(
    runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
):
    read, of = watching._read, []

    def slowly(run: Run, *rest: object) -> object:
        of.append(run)
        time.sleep(0.4)
        return read(run, *rest)

    monkeypatch.setattr(watching, "_read", slowly)

    async def story() -> None:
        session = Session(page="train")
        view = Watching(session)
        await session.select(runs[0])
        await settled(0.1)
        await session.select(runs[1])
        await settled(2)
        assert of == list(runs)
        assert dots(view) == len(runs[1].preview()["index"])

    asyncio.run(story())


def test_what_keeps_a_run_from_going_on_is_said_until_it_does(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch):
    run = under_way(runs[0], events.Failed(5, "It broke."))

    def lost(run: Run) -> None:
        raise UserError("The scheduler cannot be reached: start it.")

    async def story() -> None:
        session = Session(page="train")
        view = Watching(session)
        await session.select(run)
        monkeypatch.setattr(Run, "start", lost)
        await view._on_resume(None)
        assert "cannot be reached" in view.refusal.alert.object
        session.news += 1
        assert view.refusal.alert.visible
        assert view.message.alert.object.startswith("It broke")
        await session.select(runs[1])
        assert not view.refusal.alert.visible
        await session.select(run)
        await view._on_resume(None)
        assert view.refusal.alert.visible
        monkeypatch.setattr(Run, "start", lambda run: None)
        await view._on_resume(None)
        assert not view.refusal.alert.visible

    asyncio.run(story())


@pytest.fixture
def stage() -> Stage:
    """The stage with the sample on it, drawn."""
    session = Session(page="explore")
    session.run = sample_run()
    session.result = result = load_result(session.run)
    stage = Stage(session)
    stage.show(result, colouring(result, None, TIME), float(result.times[0]))
    hv.render(stage.pane.object)
    return stage


def drawn(stage: Stage, glyph: type) -> dict[str, np.ndarray]:
    """Columns of the last layer of a kind."""
    return [dict(r.data_source.data) for r in stage._figure.renderers if isinstance(r.glyph, glyph)][-1]


def test_the_stage_draws_the_layers_of_the_moment(stage: Stage):
    result, t = stage.result, float(stage.result.times[2])
    assert len(drawn(stage, ImageRGBA)["image"]) == 0
    stage.layers |= dict(moment=True, growth=True)
    asyncio.run(stage.at(t))
    f = result.field(t)
    expected = stream_columns(f.x, f.y, f.vx, f.vy, f.weight)["lines"]
    np.testing.assert_allclose(drawn(stage, Segment)["x0"], expected["x0"])
    assert len(drawn(stage, ImageRGBA)["image"]) == 1
    stage.layers |= dict(streams=False, growth=False)
    asyncio.run(stage.at(t))
    assert len(drawn(stage, Segment)["x0"]) == 0
    assert len(drawn(stage, ImageRGBA)["image"]) == 0


def test_other_colours_leave_the_tool_that_a_drag_is_under_way_with(stage: Stage):
    """Another tool, be it for a moment, and the browser forgets the lasso that is being drawn."""
    stage.picked = lambda cells: None
    stage.show(stage.result, colouring(stage.result, None, TIME), 0.0)
    plot = hv.renderer("bokeh").get_plot(stage.pane.object)
    stage.drag = LASSO
    toolbar, seen = plot.state.toolbar, []
    toolbar.active_drag = stage._tools[LASSO]
    toolbar.on_change("active_drag", lambda name, old, new: seen.append(new))
    stage.around.selection = np.arange(20)
    stage.recolour(colouring(stage.result, None, GROWTH))
    assert toolbar.active_drag is stage._tools[LASSO]
    assert seen == []


def test_an_embedding_without_dynamics_can_be_drawn_around_too(stage: Stage):
    plain = embeddings.embedded(stage.result, None, embeddings.PCA)
    stage.picked = lambda cells: None
    stage.layers |= dict(streams=False, particles=False)
    stage.show(plain, colouring(stage.result, None, TIME), 0.0)
    plot = hv.renderer("bokeh").get_plot(stage.pane.object)
    assert plot.state.select(BoxSelectTool)
    assert plot.state.toolbar.active_drag is stage._tools[MOVE]


def test_columns_of_an_old_figure_are_not_shown_on_a_new_one(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    late = []
    monkeypatch.setattr(ui, "in_turn", late.append)
    stage.layers |= dict(moment=True)
    asyncio.run(stage.at(float(stage.result.times[1])))
    stage.layers |= dict(moment=False)
    result = stage.result
    stage.show(result, colouring(result, None, TIME), float(result.times[0]))
    hv.render(stage.pane.object)
    before = drawn(stage, Segment)["x0"]
    (show,) = late
    show()
    np.testing.assert_array_equal(drawn(stage, Segment)["x0"], before)


def test_a_result_that_cannot_be_read_is_a_sentence_and_the_page_waits_no_longer(
    runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
):
    def gone(run: Run) -> None:
        raise FileNotFoundError("the folder is gone")

    monkeypatch.setattr("cellstream_app.session.load_result", gone)
    session = Session()
    asyncio.run(session.select(runs[0]))
    assert "could not be loaded" in session.result_problem
    assert not session.loading
    assert pn.state.curdoc is None


def test_a_picture_shows_a_flow_once_its_own_stage_has_learned_one(runs: tuple[Run, Run]):
    """Also where the run itself has gone on meanwhile, and the page still shows an earlier picture."""
    run = under_way(runs[0], events.Stage("embedding", "", 0, 90), Preview(50, "preview.npz"))
    say(run, events.Stage("rounds", "", 60, 90), Preview(60, "preview.npz"))

    async def story() -> None:
        session = Session(page="explore")
        page = ExplorePage(session)
        genes, compare = GenesPage(session), ComparePage(session)
        await session.select(run)
        assert session.status.stage == "rounds"
        page.when.value = "this moment"
        assert page.streams.disabled
        assert not page.stage.layers["streams"]
        assert "have not been learned" in page.title.object
        session.page = "genes"
        await settled(0.3)
        assert "have not been learned" in genes.note.alert.object
        session.page = "compare"
        while compare.pair.left.shown is None:
            await settled(0.1)
        assert not compare.pair.left.learned
        assert not compare.time_bar.view.visible
        say(run, Preview(61, "preview.npz"))
        session.page = "explore"
        while not session.result.learned:
            await settled(0.1)
        assert page.stage.layers["streams"]
        assert not page.streams.disabled

    asyncio.run(story())


@pytest.mark.parametrize(("name", "page"), [("genes", GenesPage), ("compare", ComparePage)])
def test_a_run_under_way_shows_its_latest_picture_on_every_page(runs: tuple[Run, Run], name: str, page: type):
    """Also of one that had none when it was chosen, and of which Explore was not asked."""
    run = under_way(runs[0], events.Stage("rounds", "", 0, 90), Preview(50, "preview.npz"))

    async def story() -> None:
        session = Session(page="train")
        view = page(session)
        await session.select(run, new=True)
        assert session.result is None
        session.page = name
        await settled(0.2)
        while session.loading:
            await settled(0.1)
        await settled(0.2)
        assert session.result is not None
        assert not view.empty.visible
        # and the next one, once the page is left and comes again
        session.page = "train"
        first = session.result
        os.utime(run.folder / "preview.safetensors", (0, 0))
        session.page = name
        while session.result is first:
            await settled(0.1)
        shown = (lambda: view.genes.result) if name == "genes" else (lambda: view.pair.left.shown)
        while shown() is not session.result:
            await settled(0.1)

    asyncio.run(story())


def test_the_explore_page_offers_the_uncertainty_of_a_result_that_has_one(runs: tuple[Run, Run]):
    """And goes back to time where the next result has none."""
    plain = replace(CellStream.load(runs[0].folder / "model.safetensors"), members=())
    plain.save(runs[1].folder / "model.safetensors", overwrite=True)
    members = [Member(*map(deepcopy, (plain.velocity_net, plain.growth_net))) for _ in range(2)]
    replace(plain, members=tuple(members)).save(runs[0].folder / "model.safetensors", overwrite=True)

    async def story() -> None:
        session = Session(page="explore")
        page = ExplorePage(session)
        await session.select(runs[0])
        assert "Uncertainty of direction" in page.colours.choice.by.options
        page.colours.choice.by.value = DIRECTION_SPREAD
        assert "arrows of 3 models" in page.colours.legend.bar.object
        await session.select(runs[1])
        assert "Uncertainty of direction" not in page.colours.choice.by.options
        assert page.colours.choice.by.value == TIME

    asyncio.run(story())


@pytest.mark.parametrize("d", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_more_dimensions_are_shown_in_their_leading_plane(moving_cloud: Snapshots, tmp_path: Path, d: int):
    """On both pages, in every colour, with every layer; in words, how much of the spread one sees."""
    settings = {**TINY, "latent_dim": d, "embedding_steps": 10, "warm_steps": 10, "rounds": 1, "ensemble": 2}
    rng = np.random.default_rng(0)
    x = torch.cat([moving_cloud.x, torch.tensor(rng.normal(size=(190, 10)), dtype=torch.float32)], 1)
    cells = replace(moving_cloud, x=x, features=tuple(f"g{i}" for i in range(15)))
    run = Run.create(tmp_path / "run", cells, preset("quick", **settings), {"name": "many"})
    work(run.folder)
    assert run.status().state == "finished", run.status().reason

    async def story() -> None:
        session = Session(page="explore")
        page, view = ExplorePage(session), Watching(session)
        await session.select(run)
        result = session.result
        assert result.z.shape == (190, d)
        ratio = PCA(3).fit(result.z).explained_variance_ratio_
        said = "Shown: principal components {} of {} dimensions, with {:.0%} of the spread"
        assert said.format("1 and 2", d, ratio[:2].sum()) in page.title.object
        page.axes.value = (1, 2)
        assert said.format("2 and 3", d, ratio[1:].sum()) in page.title.object
        page.axes.value = (0, 1)
        hv.render(page.stage.pane.object)
        page.stage.layers |= dict(moment=True, growth=True, arrows=True)
        await page.stage.at(float(result.times[1]))
        assert len(drawn(page.stage, Segment)["x0"]) > 0
        assert np.isfinite(drawn(page.stage, Segment)["x0"]).all()
        for key in set(page.colours.choice.by.options.values()) - {GENE}:
            page.colours.choice.by.value = key
            assert page.message.alert.severity != "error"
        session.page = "train"
        await settled(2)
        assert dots(view) == 190
        assert "nan" not in view.tiles.object

    asyncio.run(story())


def test_the_kin_of_cells_of_one_result_are_not_drawn_on_another(
    runs: tuple[Run, Run], moving_cloud: Snapshots, tmp_path: Path
):
    """One of other dimensions, in which their ways mean nothing, chosen while the page is out of sight."""
    settings = {**TINY, "latent_dim": 5, "embedding_steps": 10, "warm_steps": 10, "rounds": 1}
    other = Run.create(tmp_path / "other", moving_cloud, preset("quick", **settings), {"name": "other"})
    work(other.folder)

    async def story() -> None:
        wrong = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: wrong.append(context))
        session = Session(page="explore")
        page = ExplorePage(session)
        await session.select(runs[0])
        session.selection = np.arange(20)
        await settled()
        assert page.stage.kin is not None
        assert page.selecting.view.visible
        session.page = "compare"
        await session.select(other)
        session.page = "explore"
        await settled()
        assert page.stage.result.run.folder == other.folder
        assert page.stage.kin is None
        assert not page.selecting.view.visible
        assert wrong == []

    asyncio.run(story())


def test_cells_picked_while_another_result_is_read_are_none_of_its(
    runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
):
    """The picture of the one before is there to be clicked on until then; of the same one they stay."""

    def slowly(run: Run) -> Result:
        time.sleep(0.2)
        return load_result(run)

    monkeypatch.setattr(app, "load_result", slowly)

    async def story() -> None:
        session = Session(page="explore")
        for run, kept in ((runs[0], False), (runs[1], False), (runs[1], True)):
            loading = asyncio.ensure_future(session.load() if kept else session.select(run))
            await asyncio.sleep(0.1)
            session.selection = np.arange(5)
            await loading
            assert (session.selection is not None) == kept

    asyncio.run(story())


def test_a_name_painted_anew_has_its_colour_everywhere():
    async def story() -> None:
        session = Session(page="explore")
        page, beside = ExplorePage(session), ComparePage(session)
        await session.restore()
        session.page = "compare"
        await settled(0.1)
        while beside.pair.right.shown is None:
            await asyncio.sleep(0.05)
        session.page = "explore"
        page.colours.choice.by.value = beside.choosing.colour.by.value = "obs:lineage"
        session.selection = np.arange(50)
        while page.selecting.found is None:
            await asyncio.sleep(0.05)
        page.colours._paint("erythroid", "#123456")
        while "#123456" not in page.selecting.found.colours:
            await asyncio.sleep(0.05)
        assert "#123456" in page.selecting.shares.object
        assert page.stage.kin is page.selecting.found
        session.page = "compare"
        while "#123456" not in beside.pair.left._colours.colour.colours:
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize("make", [ExplorePage, GenesPage, ComparePage])
def test_a_page_that_is_made_by_the_click_that_turns_to_it_shows_the_result(make: type):
    async def story() -> None:
        session = Session(page="train")
        await session.restore()
        session.page = make.__name__.removesuffix("Page").lower()
        page = make(session)
        shows = {
            ExplorePage: lambda: page.stage.result,
            GenesPage: lambda: page.genes and page.genes.result,
            ComparePage: lambda: page.pair.right.shown and page.pair.left.shown,
        }
        while shows[make]() is not session.result:
            await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_one_time_goes_on_from_page_to_page():
    async def story() -> None:
        session = Session(page="explore")
        explore, compare = ExplorePage(session), ComparePage(session)
        await session.restore()
        assert explore.stage.canvas.playing
        explore.time_bar.go_to(2.0)
        session.page = "compare"
        while compare.pair.right.shown is None:
            await asyncio.sleep(0.05)
        assert (compare.time_bar.time, compare.canvas.playing) == (2.0, False)
        compare.time_bar.go_to(5.0)
        compare.time_bar.toggle()
        session.page = "explore"
        await settled(0.1)
        assert explore.time_bar.time == explore.stage.canvas.time == 5.0
        assert explore.stage.canvas.playing
        assert not compare.canvas.playing  # unseen
        for plays in (False, True):
            explore.time_bar.toggle()
            session.page = "compare"
            await settled(0.1)
            assert compare.canvas.playing == plays
            session.page = "explore"
            await settled(0.1)

    asyncio.run(asyncio.wait_for(story(), 60))


def test_the_data_page_says_which_cells_and_gaps_are_counted_and_keeps_the_users_own_file_ready(tmp_path: Path):
    file, days = tmp_path / "cells.h5ad", np.repeat(["day 0", "day 1", "day 5"], [30, 40, 50])
    x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    x[7] = np.nan
    AnnData(x, pd.DataFrame({"day": days}, index=[f"c{i}" for i in range(120)])).write_h5ad(file)

    async def story() -> None:
        session = Session(page="data")
        page = DataPage(session)
        assert page.opening.examples.visible
        session.own_data += 1
        assert page.opening.by_path.visible
        assert not page.opening.examples.visible
        await session.open(str(file))
        await session.prepare(replace(session.reading, fixes=(NONFINITE,)))
        await asyncio.sleep(0)
        assert ">120</div>" in page.facts.object
        assert ">119</div>" in page.facts.object
        assert "from 1 to 4 d; they count as equal" in page.uneven.object
        await session.prepare(replace(session.reading, real_times=True))
        await asyncio.sleep(0)
        assert not page.uneven.visible
        session.own_data += 1
        assert page.opening.by_path.visible
        (tmp_path / "more").mkdir()
        page.opening.path.value_input = f"{tmp_path}/"
        shown = {button.label: button for button in page.opening.suggested if button.visible}
        assert set(shown) == {"cells.h5ad", "more/"}
        assert shown["more/"].icon == "folder"
        page.opening.path.value_input = str(file)  # whole: nothing to suggest
        assert not any(button.visible for button in page.opening.suggested)

    asyncio.run(story())


def test_what_is_said_of_one_file_is_not_said_of_the_next(tmp_path: Path):
    for name, labels in (("gaps", [0.0, 1.0, 5.0]), ("words", ["late", "early", "mid"])):
        obs = pd.DataFrame({"day": np.repeat(labels, 20)}, index=[f"c{i}" for i in range(60)])
        AnnData(np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32), obs).write_h5ad(tmp_path / name)
    session = Session(page="data")
    page = DataPage(session)

    async def story() -> None:
        await session.open(str(tmp_path / "gaps"))
        while page.picture.object is None:
            await asyncio.sleep(0.01)
        assert page.uneven.visible
        await session.open(str(tmp_path / "words"))
        await session.prepare(replace(session.reading, time_key="day"))
        await settled(0.1)
        assert not page.uneven.visible
        assert page.problem.alert.object.endswith(ui.plain(data.TYPE_THEM))
        await session.prepare(replace(session.reading, time_map={"late": 3.0, "early": np.nan, "mid": np.nan}))
        await settled(0.1)
        assert page.problem.alert.object == ui.plain(data.TYPE_OTHERS)

    asyncio.run(story())


def test_a_click_on_a_run_is_heard_also_where_the_browser_has_sent_its_items_back(runs: tuple[Run, Run]):
    session = Session(page="train")
    runs_shown = RunList(session)
    sent_back = [{key: item[key] for key in ("label", "secondary")} for item in runs_shown.list.items]
    runs_shown.list.items = sent_back
    for item in sent_back:
        asyncio.run(runs_shown._show(item))
        assert session.run.name == item["label"]
    runs_shown.refresh()
    assert all("folder" in item for item in runs_shown.list.items)


def test_no_training_is_started_on_data_that_are_being_prepared(moving_cloud: Snapshots):
    session = Session(source=Source("cells.h5ad", "cells.h5ad", AnnData(moving_cloud.x.numpy()), ()))
    page = TrainPage(session)
    for preparing, disabled, said in (
        (True, True, "being prepared"),
        (False, False, "190 cells"),
        (True, True, "being prepared"),  # in another way: the snapshots are still those of the first
        (False, False, "190 cells"),
    ):
        session.param.update(preparing=preparing, snapshots=session.snapshots if preparing else moving_cloud)
        assert page.start.disabled == disabled
        assert said in page.data.object


def test_a_button_whose_work_has_failed_can_be_pressed_again(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch):
    async def fail(*given: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Session, "start", fail)
    page, dynamics = TrainPage(Session()), Dynamics(Session(), fail)
    dynamics.fitted = runs[0]
    for press, button in ((page._on_start, page.start), (dynamics._on_fit, dynamics.fit)):
        with pytest.raises(RuntimeError, match="of ours"):
            asyncio.run(press(None))
        assert not button.loading


def test_a_button_that_is_clicked_twice_is_at_work_once(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch):
    """The second click may be on its way before the browser hears that the button waits."""
    begun = []

    async def story() -> None:
        done = asyncio.Event()

        async def work(*given: object) -> None:
            begun.append(given)
            await done.wait()

        monkeypatch.setattr(Session, "start", work)
        page, dynamics, saving = TrainPage(Session()), Dynamics(Session(), work), Saving(Session())
        monkeypatch.setattr(saving, "_work", work)
        dynamics.fitted, saving.path.value = runs[0], str(runs[0].folder / "out.h5ad")
        for press, button in (
            (page._on_start, page.start),
            (dynamics._on_fit, dynamics.fit),
            (saving._on_save, saving.save),
        ):
            begun.clear()
            done.clear()
            first = asyncio.create_task(press(None))
            await asyncio.sleep(0)
            await asyncio.wait_for(press(None), 1)
            assert len(begun) == 1
            assert button.loading
            done.set()
            await first
            assert not button.loading

    asyncio.run(story())


def test_another_name_is_said_wherever_the_old_one_stood(tmp_path: Path):
    """Also in another window, which shares the result."""
    folder = shutil.copytree(sample_run().folder, tmp_path / "home" / "runs" / "a")
    Run(folder).rename("old")

    async def story() -> None:
        here, there = Session(page="explore"), Session(page="explore")
        explore, genes, compare = ExplorePage(here), GenesPage(here), ComparePage(here)
        other, listed, view = ExplorePage(there), RunList(there), Watching(here)
        for session in (here, there):
            await session.select(session.runs()[0])
        assert here.result is there.result
        here.page = "genes"
        await settled(0.2)
        here.page = "compare"
        while not compare.scores.right:
            await settled(0.1)
        said = {
            "explore": lambda: explore.title.object,
            "genes": lambda: genes.cells.object,
            "compare": lambda: compare.pair.left.title.object,
            "scores": lambda: compare.scores.table.object,
            "train": lambda: view.title.object,
        }
        here.page = there.page = "train"
        assert all("old" in words() for words in said.values())
        assert listed.list.items[0]["label"] == "old"
        here.rename(here.run, "anew")
        assert {name for name, words in said.items() if "anew" in words() and "old<" not in words()} == {*said}
        listed.refresh()
        assert listed.list.items[0]["label"] == "anew"
        there.page = "explore"
        await settled(0.2)
        assert "anew" in other.title.object

    asyncio.run(story())


def test_what_was_found_of_one_result_is_not_shown_under_another(
    runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
):
    """What has been worked out is shown when its turn comes, and until then another result may have been chosen."""
    late: list = []
    monkeypatch.setattr(ui, "in_turn", late.append)

    async def story() -> None:
        session = Session(page="genes")
        page = GenesPage(session)
        await session.select(runs[0])
        while page._working:
            await settled(0.1)
        assert late
        old = late.copy()
        await session.select(runs[1])
        assert page.genes.result.run.folder == runs[1].folder
        for show in old:
            show()
        assert page.drivers.full is None
        assert page.picker.names == []
        assert page.map.title.object == ""
        while page._working:
            await settled(0.1)
        for show in late[len(old) :]:
            show()
        assert len(page.drivers.full) > 0

    asyncio.run(story())


def test_a_ranking_names_the_time_that_it_is_of(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch):
    """And the cells; while it is made the slider is dragged on, and others are selected."""
    late: list = []
    monkeypatch.setattr(ui, "in_turn", late.append)

    async def story() -> None:
        session = Session(page="genes")
        page = GenesPage(session)
        await session.select(runs[0])
        while page._working:
            await settled(0.1)
            while late:
                late.pop(0)()
        page._ask("ranking", "courses")
        while page._working:
            await settled(0.1)
        page.drivers.slider.value = 6.0  # not let go of yet, so nothing is asked for
        monkeypatch.setattr(page, "_ask", lambda *stages: None)
        session.selection = np.arange(9)
        for show in late:
            show()
        assert "at 3.5 d" in page.drivers.meaning.object
        assert "first time point" in page.drivers.meaning.object
        assert page.drivers.download.filename.endswith("at-3.5.csv")
        assert "first time point" in page.courses.what.object

    asyncio.run(story())
