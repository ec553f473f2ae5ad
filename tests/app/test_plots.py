"""Plots: what is drawn is where the arrays say, in the colours they say, in both themes."""

from __future__ import annotations

import datashader as ds
import datashader.transfer_functions as tf
import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from bokeh.models import Scatter, VBar
from bokeh.plotting import figure as Figure
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from cellstream import traces
from cellstream.colours import GAIN, LOSS, MISSING, Categories, Values, colour_array
from cellstream.streamlines import streamlines
from cellstream_app import charts, overlays, plots, style

LEVELS = np.linspace(-1, 1, 41)
X, Y = np.meshgrid(LEVELS, LEVELS)
EVERYWHERE = np.ones_like(X)
RGB = ["#ff0000", "#00ff00", "#0000ff"]


@pytest.fixture(autouse=True)
def defaults() -> None:
    style.use_defaults()


# -------------------------------------------------------------------------------------------------------- embedding


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1),
    st.integers(50, 2000),
    st.integers(50, 2000),
)
def test_the_first_view_holds_all_points_at_equal_scale(points: list, width: int, height: int) -> None:
    z = np.array(points)
    x0, x1, y0, y1 = plots.view_of(z, (width, height))
    assert ((z > [x0, y0]) & (z < [x1, y1])).all()
    assert (x1 - x0) / width == pytest.approx((y1 - y0) / height)


def test_a_view_of_nothing_is_still_a_view() -> None:
    x0, x1, y0, y1 = plots.view_of(np.full((3, 2), np.nan))
    assert x0 < x1
    assert y0 < y1


def drawn(overlay: hv.Overlay, glyph: type = Scatter) -> list[dict]:
    """The data of all glyphs of a kind, as Bokeh got them."""
    figure = hv.render(overlay)
    return [dict(r.data_source.data) | {"glyph": r.glyph} for r in figure.renderers if isinstance(r.glyph, glyph)]


def test_few_cells_are_dots_that_know_their_name_and_colour() -> None:
    rng = np.random.default_rng(1)
    z, codes = rng.normal(size=(50, 2)), np.arange(50) % 3
    codes[7] = -1
    labels = [f"cell {i}" for i in range(50)]
    palette = ["#ff0000", "#00ff00", "#0000ff"]
    cells = plots.Cells(z, Categories(codes, list("abc"), palette), labels)
    (dots,) = drawn(plots.embedding(cells))
    order = [labels.index(name) for name in dots["label"]]
    assert sorted(order) == list(range(50))
    np.testing.assert_allclose(np.column_stack([dots["x"], dots["y"]]), z[order])
    np.testing.assert_array_equal(dots["cell"], order)
    mapper = dots["glyph"].fill_color.transform
    assert list(mapper.palette) == palette
    place = np.floor((dots["value"] - mapper.low) / (mapper.high - mapper.low) * len(palette))
    for i, cell in zip(place, order, strict=True):
        if cell == 7:
            assert np.isnan(i)
            assert mapper.nan_color == MISSING
        else:
            assert int(i) == codes[cell]
    assert list(dots["read"])[order.index(7)] == "–"


def test_high_values_lie_on_top_and_missing_ones_below() -> None:
    values = np.array([0.3, np.nan, 5.0, -1.0])
    (dots,) = drawn(plots.embedding(plots.Cells(np.zeros((4, 2)), Values(values))))
    np.testing.assert_array_equal(dots["cell"], [1, 3, 0, 2])
    assert (dots["glyph"].fill_color.transform.low, dots["glyph"].fill_color.transform.high) == (-1.0, 5.0)


def test_cells_of_no_known_kind_lie_below() -> None:
    codes = np.tile([0, 1, -1, 2], 25)
    colour = Categories(codes, ["a", "unknown", "b"], ["#ff0000", MISSING, "#00ff00"], below=(1,))
    (dots,) = drawn(plots.embedding(plots.Cells(np.zeros((100, 2)), colour)))
    assert set(codes[dots["cell"][:50]]) == {-1, 1}
    assert set(codes[dots["cell"][50:]]) == {0, 2}
    assert set(dots["read"][:50]) == {"–", "unknown"}


def many(colour_of: np.ndarray) -> np.ndarray:
    """More cells than are drawn as dots: group 0 near (-0.5, -0.5), group 1 near (0.5, 0.5)."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.02, (len(colour_of), 2)) + np.where(colour_of[:, None] == 0, -0.5, 0.5)


def pixel(image: hv.RGB, x: float, y: float) -> np.ndarray:
    """Red, green, blue, opacity of an image at a place, computed from its bounds."""
    x0, y0, x1, y1 = image.bounds.lbrt()
    table = np.dstack([image.dimension_values(d, flat=False) for d in image.vdims])  # bottom row first
    rows, columns = table.shape[:2]
    return table[int((y - y0) / (y1 - y0) * rows), int((x - x0) / (x1 - x0) * columns)]


def test_many_cells_are_shaded_in_their_colours_at_their_places() -> None:
    group = np.arange(plots.SHADE_ABOVE + 1) % 2
    cells = plots.Cells(many(group), Categories(group, ["a", "b"], ["#ff0000", "#0000ff"]))
    image, dots = plots.embedding(cells, view=(-1, 1, -1, 1), size=(200, 200))
    assert len(dots) == 0
    np.testing.assert_array_equal(pixel(image, -0.5, -0.5)[:3], [255, 0, 0])
    np.testing.assert_array_equal(pixel(image, 0.5, 0.5)[:3], [0, 0, 255])
    assert pixel(image, 0.5, -0.5)[3] == pixel(image, -0.5, 0.5)[3] == 0
    assert pixel(image, 0.5, 0.5)[3] > 150


def test_mixed_colours_are_those_of_datashader() -> None:
    """Single cells and crowds, with cells of no category and of no place, and on the edges of the view."""
    rng = np.random.default_rng(0)
    colours = ["#3f90da", "#ffa90e", "#bd1f01"]
    for n in (1, 50, 30_000):
        points, codes = rng.normal(size=(n, 2)).astype(np.float32), rng.integers(-1, 3, n)
        points[n // 2 :: 10] = np.nan
        points[n // 3 :: 11] = [2, -2]
        names = ["0", "1", "2", "missing"]
        table = pd.DataFrame(points, columns=["x", "y"]).assign(c=pd.Categorical.from_codes(codes % 4, names))
        counts = ds.Canvas(120, 80, x_range=(-2, 2), y_range=(-2, 2)).points(table, "x", "y", ds.by("c", ds.count()))
        key = dict(zip(names, [*colours, MISSING], strict=True))
        theirs = tf.shade(counts, color_key=key, how="eq_hist", min_alpha=140).values.view(np.uint8).reshape(-1, 4)
        shown = plots._mixed(points, Categories(codes, list("abc"), colours), (-2, 2, -2, 2), (120, 80))
        ours = shown.values.view(np.uint8).reshape(-1, 4)
        seen = theirs[:, 3] > 0
        np.testing.assert_array_equal(ours[:, 3] > 0, seen)
        np.testing.assert_allclose(ours[seen].astype(int), theirs[seen].astype(int), atol=1)  # of 255, by rounding


def test_many_values_are_shaded_by_the_palette_between_the_limits() -> None:
    group = np.arange(plots.SHADE_ABOVE + 1) % 2
    values = np.where(group == 0, 2.0, 9.0)
    cells = plots.Cells(many(group), Values(values, ["#000000", "#ffffff"], limits=(2.0, 16.0)), alpha=1.0)
    image, _ = plots.embedding(cells, view=(-1, 1, -1, 1), size=(200, 200))
    np.testing.assert_array_equal(pixel(image, -0.5, -0.5), [0, 0, 0, 255])
    np.testing.assert_allclose(pixel(image, 0.5, 0.5), [127, 127, 127, 255], atol=2)


def test_moving_the_view_shades_anew_only_where_there_is_a_shade() -> None:
    group = np.arange(plots.SHADE_ABOVE + 1) % 2
    colour = Categories(group, ["a", "b"], ["#ff0000", "#0000ff"])
    pipe = hv.streams.Pipe(data=plots.Cells(many(group), colour))
    shown = plots.embedding_map(pipe, (-1, 1, -1, 1))
    moved = next(s for s in shown.streams if isinstance(s, hv.streams.RangeXY))
    assert shown[()].get(0).bounds.lbrt() == (-1, -1, 1, 1)
    moved.event(x_range=(0, 1), y_range=(0.0, 0.7))
    assert shown[()].get(0).bounds.lbrt() == (0, 0, 1, 0.7)
    pipe.send(plots.Cells(many(group[:10]), Values(np.arange(10.0))))
    first = shown[()]
    moved.event(x_range=(0, 0.5), y_range=(0.0, 0.5))
    assert shown[()] is first


# ------------------------------------------------------------------------------------------------ fields on the plane


def test_streamlines_of_a_rotation_are_circles_and_end_before_they_close() -> None:
    lines = streamlines(LEVELS, LEVELS, -Y, X, EVERYWHERE)
    assert len(lines) > 10
    for line in lines:
        radius = np.hypot(*line.xy.T)
        assert np.ptp(radius) < 0.01
        turn = np.unwrap(np.arctan2(*line.xy.T[::-1]))
        assert (np.diff(turn) > 0).all()  # tail to head along the velocity
        assert np.ptp(turn) < 2 * np.pi


def test_streamlines_of_a_saddle_keep_the_product_of_their_coordinates() -> None:
    for line in streamlines(LEVELS, LEVELS, X, -Y, EVERYWHERE):
        assert np.ptp(line.xy.prod(axis=1)) < 0.01


def test_streamlines_keep_their_distance_and_leave_no_large_hole() -> None:
    separation = 0.05
    lines = streamlines(LEVELS, LEVELS, np.ones_like(X), 0.5 * np.sin(3 * X), EVERYWHERE, separation)
    for i, line in enumerate(lines):
        others = np.concatenate([other.xy for j, other in enumerate(lines) if j != i])
        distance, _ = cKDTree(others).query(line.xy)
        assert distance.min() > 0.4 * separation * 2  # the box is two units wide
    inner = np.random.default_rng(0).uniform(-0.8, 0.8, (500, 2))
    distance, _ = cKDTree(np.concatenate([line.xy for line in lines])).query(inner)
    assert distance.max() < 1.5 * separation * 2


def test_streamlines_stay_among_the_cells_whatever_the_scale_of_space_and_speed() -> None:
    cells = (np.hypot(X, Y) < 0.6).astype(float)
    small = streamlines(LEVELS, LEVELS, np.ones_like(X), np.zeros_like(X), cells)
    assert small
    for line in small:
        assert np.hypot(*line.xy.T).max() < 0.6 + LEVELS[1] - LEVELS[0]
    large = streamlines(1e4 * LEVELS + 7, 1e4 * LEVELS - 3, 1e-6 * np.ones_like(X), np.zeros_like(X), cells)
    assert len(large) == len(small)
    np.testing.assert_allclose(large[0].xy, 1e4 * small[0].xy + [7, -3], rtol=1e-6)


def test_no_cells_no_velocity_or_no_numbers_give_no_streamlines() -> None:
    assert streamlines(LEVELS, LEVELS, X, Y, np.zeros_like(X)) == []
    assert streamlines(LEVELS, LEVELS, 0 * X, 0 * Y, EVERYWHERE) == []
    assert streamlines(LEVELS, LEVELS, X * np.nan, Y, EVERYWHERE) == []
    nothing = traces.stream_columns(LEVELS, LEVELS, 0 * X, 0 * Y, EVERYWHERE)
    assert {len(column) for columns in nothing.values() for column in columns.values()} == {0}


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
def test_arrow_heads_point_along_the_velocity(degrees: float) -> None:
    a = np.deg2rad(degrees)
    v = np.cos(a) * EVERYWHERE, np.sin(a) * EVERYWHERE
    streams = traces.stream_columns(LEVELS, LEVELS, *v, EVERYWHERE)
    arrows = traces.arrow_columns(np.zeros((1, 2)), np.array([[np.cos(a), np.sin(a)]]), 0.5)
    for found in (streams, arrows):
        angle = found["heads"]["angle"]  # of a triangle that points upwards
        assert len(angle)
        np.testing.assert_allclose(np.sin(angle - (a - np.pi / 2)), 0, atol=1e-3)
        np.testing.assert_allclose(np.cos(angle - (a - np.pi / 2)), 1, atol=1e-3)


def test_the_longest_arrow_has_the_length_asked_for() -> None:
    vectors = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [np.nan, 1.0]])
    shafts = traces.arrow_columns(np.ones((4, 2)), vectors, 0.2)["lines"]
    length = np.hypot(shafts["x1"] - shafts["x0"], shafts["y1"] - shafts["y0"])
    np.testing.assert_allclose(length, [0.2, 0.02], rtol=1e-4)


def test_dots_do_not_hang_on_a_context_that_a_browser_may_take_away() -> None:
    cells = plots.Cells(np.zeros((3, 2)), Values(np.arange(3.0)))
    assert hv.render(plots.embedding(cells)).output_backend == "canvas"


def test_layers_show_what_they_are_told_and_nothing_when_cleared() -> None:
    figure = Figure()
    lines, image = overlays.Lines(figure, style.LIGHT, head_size=6), overlays.Image(figure)
    lines.show(traces.arrow_columns(np.zeros((3, 2)), np.ones((3, 2)), 1.0))
    image.show(traces.growth_columns(LEVELS, LEVELS, X, EVERYWHERE, 1.0))
    drawn = {type(r.glyph).__name__: len(next(iter(r.data_source.data.values()))) for r in figure.renderers}
    assert drawn == {"Segment": 3, "Scatter": 3, "ImageRGBA": 1}
    for renderer in figure.renderers:  # a column that a glyph asks for is there
        used = {value["field"] for value in renderer.glyph.properties_with_values().values() if _is_field(value)}
        assert used <= set(renderer.data_source.data)
    lines.clear()
    image.clear()
    assert {len(column) for r in figure.renderers for column in r.data_source.data.values()} == {0}


def _is_field(value: object) -> bool:
    return isinstance(value, dict) and "field" in value


def test_growth_is_red_where_mass_grows_blue_where_it_shrinks_and_clear_where_no_cells_are() -> None:
    cells = np.where(Y > -0.5, 1.0, 0.0)
    found = traces.growth_columns(LEVELS, LEVELS, X, cells, 1.0)["image"]

    def pixel(x: float, y: float) -> np.ndarray:
        rows = found["image"][0].view(np.uint8).reshape(*found["image"][0].shape, 4)
        row, column = (
            round((v - v0) / d * (n - 1))
            for v, v0, d, n in zip(
                (y, x), (found["y"][0], found["x"][0]), (found["dh"][0], found["dw"][0]), rows.shape[:2], strict=True
            )
        )
        return rows[row, column]

    red, blue = colour_array([GAIN, LOSS])[:, :3]
    np.testing.assert_array_equal(pixel(0.9, 0.5)[:3], red)
    np.testing.assert_array_equal(pixel(-0.9, 0.5)[:3], blue)
    strong, weak = pixel(0.9, 0.5)[3], pixel(0.0, 0.5)[3]
    assert strong > 150
    assert weak < 25
    assert pixel(0.9, -0.8)[3] == 0
    assert [found[side][0] for side in ("x", "y", "dw", "dh")] == pytest.approx([-1.025, -1.025, 2.05, 2.05])
    unknown = traces.growth_columns(LEVELS, LEVELS, X * np.nan, cells, 1.0)["image"]["image"][0]
    assert unknown.view(np.uint8)[:, 3::4].max() == 0


# ------------------------------------------------------------------------------------------------------------ charts


def test_losses_are_logarithmic_only_where_a_logarithm_serves() -> None:
    steps = np.arange(5)
    wide = {"a": (steps, 10.0**-steps), "b": (steps, np.array([1, np.nan, 0, 1, 1]))}
    figure = charts.losses(wide, style.LIGHT)
    assert type(figure.y_scale).__name__ == "LogScale"
    assert [len(r.data_source.data["value"]) for r in figure.renderers] == [5, 3]
    narrow = charts.losses({"a": (steps, 1.0 + steps)}, style.LIGHT)
    assert type(narrow.y_scale).__name__ == "LinearScale"
    negative = charts.losses({"a": (steps, np.array([-1e-3, 1, 10, 100, 1000]))}, style.LIGHT)
    assert type(negative.y_scale).__name__ == "LinearScale"
    assert charts.losses({}, style.DARK).renderers == []


def test_bars_have_their_time_points_colours_and_yardsticks() -> None:
    labels, w2 = ["d0", "d1", "d2"], np.array([0.1, 0.4, 0.3])
    figure = charts.match_bars(labels, w2, np.array([0.1, 0.2, 0.2]), np.array([np.nan, 0.6, 0.9]), RGB, style.LIGHT)
    bars, stays, floor = figure.renderers
    assert isinstance(bars.glyph, VBar)
    data = bars.data_source.data
    assert dict(zip(data["time_point"], data["value"], strict=True)) == dict(zip(labels, w2, strict=True))
    assert list(data["colour"]) == RGB
    np.testing.assert_array_equal(stays.data_source.data["value"], [np.nan, 0.6, 0.9])
    np.testing.assert_array_equal(floor.data_source.data["value"], [0.1, 0.2, 0.2])
    assert [item.label.value for item in figure.legend[0].items] == [
        "matching error",
        "first snapshot stays",
        "noise floor",
    ]
    assert figure.y_range.start == 0
    assert figure.y_range.end == pytest.approx(1.15 * 0.9)
    assert figure.toolbar.logo is None


def test_a_chart_shows_new_data_as_one_made_with_them_would() -> None:
    labels, steps = ["d0", "d1"], np.arange(3)
    old, new = [np.array([[1.0, 2.0], [0.5, 0.5], [3.0, 4.0]]) * k for k in (1, 7)]
    chart, fresh = (charts.match_bars(labels, *values, RGB[:2], style.LIGHT) for values in (old, new))
    charts.show_bars(chart, new[0], new[2], new[1])
    assert contents(chart) == contents(fresh)
    assert chart.y_range.end == fresh.y_range.end
    before, after = ({"a": (steps, 1.0 + k * steps), "b": (steps, 2.0 + steps)} for k in (1, 2))
    chart, fresh = charts.losses(before, style.LIGHT), charts.losses(after, style.LIGHT)
    charts.show_losses(chart, after)
    assert contents(chart) == contents(fresh)


def contents(figure: Figure) -> list[dict]:
    return [{k: list(v) for k, v in r.data_source.data.items()} for r in figure.renderers]


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
def test_other_charts_hold_one_time_point_and_many(theme: style.Theme) -> None:
    for n in (1, 12):
        labels = [f"<t{i}>" for i in range(n)]
        figure = charts.cells_per_time(labels, [1000 * i for i in range(n)], theme)
        assert list(figure.x_range.factors) == labels
        assert list(figure.renderers[1].data_source.data["text"])[-1] == f"{1000 * (n - 1):,}"
        assert figure.xaxis[0].major_label_text_color == theme.muted
        figure = charts.mass_bars(labels, np.ones(n), np.ones(n), n * RGB[:1], theme)
        assert figure.background_fill_alpha == 0
