"""Colours that everybody can tell apart and read, on both themes, and HTML that strangers' names cannot break."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cellstream.colours import (
    CATEGORY_PALETTE,
    MISSING,
    TIME_PALETTE,
    VALUE_PALETTE,
    Categories,
    category_colours,
    colour_array,
    time_colours,
)
from cellstream_app import style
from cellstream_app.parts import scoring, selecting
from cellstream_app.parts.picked import brief_html, counts_html
from cellstream_app.parts.tiles import legend_row


def linear_light(colours: list[str]) -> np.ndarray:
    c = colour_array(colours)[:, :3] / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def luminance(colours: list[str]) -> np.ndarray:
    return linear_light(colours) @ [0.2126, 0.7152, 0.0722]


# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009)
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


# Oklab: B. Ottosson, "A perceptual color space for image processing" (2020)
TO_LMS = np.array([[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]])
TO_OKLAB = np.array([[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]])


@pytest.mark.parametrize("kind", BLINDNESS)
def test_ten_categories_stay_apart_for_the_colour_blind(kind: str) -> None:
    seen = np.clip(linear_light(list(CATEGORY_PALETTE)) @ BLINDNESS[kind].T, 0, 1)
    # Oklab: B. Ottosson, "A perceptual color space for image processing" (2020)
    lab = np.cbrt(seen @ TO_LMS.T) @ TO_OKLAB.T
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[np.triu_indices(10, 1)]
    assert apart.min() > 0.04  # twice the just noticeable difference of Oklab, 0.02


@pytest.mark.parametrize("palette", [TIME_PALETTE, VALUE_PALETTE])
def test_sequential_palettes_rise_evenly_in_lightness_and_show_on_both_themes(palette: tuple[str, ...]) -> None:
    light = np.cbrt(luminance(list(palette)))
    assert (np.diff(light[::8]) > 0).all()
    steps = np.diff(light[::20])
    assert steps.max() < 2.5 * steps.min()
    least = 1.9 if palette is TIME_PALETTE else 1.3
    for theme in (style.LIGHT, style.DARK):
        a, b = luminance(list(palette)), luminance([theme.background])
        assert ((np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05)).min() > least


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
@pytest.mark.parametrize("role", ["ink", "muted", "accent"])
def test_text_has_the_contrast_that_wcag_asks(theme: style.Theme, role: str) -> None:
    for surface in (theme.background, theme.page):
        bright, dim = sorted(luminance([getattr(theme, role), surface]), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5


def test_a_files_own_colours_are_kept_and_what_is_no_colour_is_replaced() -> None:
    colours = category_colours(["a", "b", "c", "d"], ["#FF0000", "steelblue", (0.0, 1.0, 0.0), "url(javascript:1)"])
    assert colours == {"a": "#ff0000", "b": "#4682b4", "c": "#00ff00", "d": CATEGORY_PALETTE[3]}
    assert list(category_colours(["a", "b"], ["#ff0000"]).values()) == list(CATEGORY_PALETTE[:2])
    assert category_colours(["a", "b"], {"b": "#ff0000"})["b"] == "#ff0000"


@pytest.mark.parametrize("n", [0, 1, 10, 40, 100])
def test_every_category_has_its_own_colour(n: int) -> None:
    colours = category_colours([f"type {i}" for i in range(n)])
    assert len(colours) == n
    assert len(set(colours.values())) == n


def test_time_colours_run_through_the_whole_palette() -> None:
    assert time_colours(2) == [TIME_PALETTE[0], TIME_PALETTE[-1]]
    assert time_colours(5)[1:4] == time_colours(9)[2:8:2]
    assert len(time_colours(1)) == 1
    assert time_colours(0) == []


def test_a_colour_is_one_dot_wherever_it_is_explained() -> None:
    red, dot = "#d62728", style.dot("#d62728")
    kinds = Categories(np.array([0, 0]), ["a"], [red])
    kin = SimpleNamespace(shares=np.ones((1, 1)), names=["a"], colours=[red], labels=["day 0"])
    for shown in (
        style.legend_html({"a": red}),
        legend_row({"a": red}),
        scoring._correlations(["a"], [red], np.array([0.5, 0.5])),
        brief_html(np.array([0]), kinds),
        counts_html(np.array([0]), np.array([0, 0]), ["day 0"], kinds),
        selecting._table(kin, [0]),
    ):
        assert shown.count(dot) == 1
        assert red not in shown.replace(dot, "").replace(f"flex:1 0 0;background:{red}", "")  # the bar of shares
    assert style.dot("'><script>") == style.dot(MISSING)


def test_legends_escape_what_strangers_wrote() -> None:
    html = style.legend_html(
        {"<img src=x onerror=alert(1)>": "#ff0000", "it's": "red;background:url(//evil)"}, {"it's": 3}
    )
    assert "<img" not in html
    assert "evil" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "<script" not in style.colour_bar_html(VALUE_PALETTE, (0, 1), "<script>")
