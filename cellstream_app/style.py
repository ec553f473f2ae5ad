"""How the screen looks, in one place: colours, type, spacing, the two themes and the HoloViews defaults.

Colours keep their meaning everywhere: time is always the same sequential palette, categories a colour-blind safe
set, growth blue for loss and vermilion for gain. Nothing here fetches a font or a style from outside.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import colorcet
import holoviews as hv
import numpy as np
from bokeh.colors import RGB, named
from bokeh.palettes import Plasma256, Viridis256
from bokeh.plotting import figure as Figure

# Both ends are cut off, so that the first colour is visible on dark and the last one on white.
TIME_PALETTE: tuple[str, ...] = Plasma256[60:230]
VALUE_PALETTE: tuple[str, ...] = Viridis256[30:240]

# Ten colours chosen for distinctness under the three kinds of colour blindness and for aesthetics:
# M. A. Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270; ours is the order.
CATEGORY_PALETTE: tuple[str, ...] = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd", "#a96b59", "#e76300", "#b9ac70", "#717581", "#94a4a2",
)  # fmt: skip
SMALLEST_DIFFERENCE = 14.0  # CIE76 units between two category colours of the extended set
MISSING = "#9aa0a6"  # cells without a value

LOSS, GAIN = "#2f7de1", "#e8553a"  # mass that shrinks, mass that grows
STILL = "#b4bac1"  # a cell that neither grows nor dies

FONT = "Inter, Roboto, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
TEXT_SIZE, SMALL_SIZE = "13px", "11px"
SPACE = 8  # pixels; gaps are multiples of it


@dataclass(frozen=True)
class Theme:
    """Colours of one of the two themes, as CSS hex strings."""

    dark: bool
    background: str  # under plots and cards
    page: str  # around them
    ink: str
    muted: str
    grid: str
    accent: str


LIGHT = Theme(False, "#ffffff", "#f6f7f9", "#1d2329", "#667079", "#e4e7ea", "#0b7a75")
DARK = Theme(True, "#14181f", "#0e1116", "#e8ecf0", "#98a2ad", "#2a313a", "#4fd1c5")


def theme(dark: bool) -> Theme:
    """The dark or the light theme."""
    return DARK if dark else LIGHT


def _mui_palette(of: Theme) -> dict:
    return {
        "primary": {"main": of.accent},
        "background": {"default": of.page, "paper": of.background},
        "text": {"primary": of.ink, "secondary": of.muted},
        "divider": of.grid,
    }


def theme_config() -> dict:
    """``theme_config`` for ``panel_material_ui.Page``, so that page and plots share their colours."""
    return {
        "chart_style": "classic",  # leaves hidden axes hidden
        "typography": {"fontFamily": FONT},
        "shape": {"borderRadius": SPACE},
        "light": {"palette": _mui_palette(LIGHT)},
        "dark": {"palette": _mui_palette(DARK)},
    }


def use_defaults() -> None:
    """Load HoloViews' Bokeh backend and set what holds for every plot. Call once per session."""
    if "bokeh" not in hv.Store.loaded_backends():
        hv.extension("bokeh", logo=False)
    hv.Store.set_current_backend("bokeh")
    plain = dict(toolbar=None, fontsize={"labels": 12, "ticks": 11, "legend": 11}, show_title=False)
    for element in (hv.opts.Points, hv.opts.RGB, hv.opts.Path, hv.opts.Curve, hv.opts.Bars, hv.opts.Overlay):
        hv.opts.defaults(element(**plain))


def quiet(figure: Figure) -> None:
    """No logo, no outline, no background of its own: the page's surface shows through in both themes."""
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.background_fill_alpha = figure.border_fill_alpha = 0
    figure.outline_line_color = None


# ---------------------------------------------------------------------------------------------------- colours


def rgba(colour: str) -> tuple[int, int, int, int]:
    """A colour ``#rgb``, ``#rrggbb`` or ``#rrggbbaa`` as four bytes. Raises ``ValueError`` for anything else."""
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(2 * d for d in digits)
    if not colour.startswith("#") or len(digits) not in (6, 8):
        raise ValueError(f"Expected a colour like '#3f90da', got {colour!r}.")
    values = tuple(int(digits[i : i + 2], 16) for i in range(0, len(digits), 2))
    return values if len(values) == 4 else (*values, 255)


def colour_array(colours: Sequence[str]) -> np.ndarray:
    """Colours as bytes, shape ``(len(colours), 4)``, dtype uint8."""
    return np.array([rgba(c) for c in colours], dtype=np.uint8).reshape(-1, 4)


def _css_colour(value: object) -> str | None:
    """``#rrggbb`` for a hex string, a CSS colour name or an RGB(A) tuple in 0..1; None where it is no colour."""
    if isinstance(value, str):
        name = value.strip().lower()
        if name in named.__all__:
            return getattr(named, name).to_hex()
        try:
            return RGB(*rgba(name)[:3]).to_hex()
        except ValueError:
            return None
    try:
        channels = [round(255 * float(c)) for c in value][:3]
    except (TypeError, ValueError):
        return None
    return RGB(*channels).to_hex() if len(channels) == 3 and all(0 <= c <= 255 for c in channels) else None


def time_colours(n: int) -> list[str]:
    """Colours of ``n`` time points, first to last, evenly spaced in the time palette."""
    places = np.linspace(0, len(TIME_PALETTE) - 1, n).tolist() if n != 1 else [len(TIME_PALETTE) // 2]
    return [TIME_PALETTE[round(i)] for i in places]


def _lab(colours: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB bytes, shape ``(n, 3)``."""
    c = colours[:, :3] / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.41246, 0.35758, 0.18044], [0.21267, 0.71515, 0.07217], [0.01933, 0.11919, 0.9503]])
    t = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def _extended(n: int) -> list[str]:
    """The ten category colours, then those of Glasbey's set that differ from all before; cycled beyond them."""
    chosen = list(CATEGORY_PALETTE)
    for colour in colorcet.b_glasbey_bw_minc_20_minl_30:
        if len(chosen) >= n:
            break
        lab = _lab(colour_array([*chosen, colour]))
        if np.linalg.norm(lab[:-1] - lab[-1], axis=1).min() >= SMALLEST_DIFFERENCE:
            chosen.append(colour)
    return [chosen[i % len(chosen)] for i in range(n)]


def category_colours(names: Sequence[str], given: Sequence | Mapping | None = None) -> dict[str, str]:
    """A colour for each category.

    ``given`` are the file's own, ``adata.uns["{key}_colors"]``: one per category in order (or a mapping by name). They
    are kept where they are colours; the rest, and all where the number does not fit, come from our palette.
    """
    ours = _extended(len(names))
    if isinstance(given, Mapping):
        theirs = [given.get(name) for name in names]
    else:
        theirs = list(given) if given is not None and len(given) == len(names) else [None] * len(names)
    return {name: _css_colour(t) or o for name, t, o in zip(names, theirs, ours, strict=True)}


# ------------------------------------------------------------------------------- legends, drawn by the page itself


def legend_html(colours: Mapping[str, str], counts: Mapping[str, int] | None = None) -> str:
    """A legend as HTML: a dot and a name per category. Names come from strangers' files and are escaped."""
    row = (
        "<div style='display:flex;align-items:center;gap:{gap}px;padding:2px 0'>"
        "<span style='flex:none;width:10px;height:10px;border-radius:50%;background:{colour}'></span>"
        "<span style='overflow:hidden;text-overflow:ellipsis;white-space:nowrap' title='{name}'>{name}</span>"
        "{count}</div>"
    )
    number = "<span style='margin-left:auto;opacity:.6;font-variant-numeric:tabular-nums'>{:,}</span>"
    rows = [
        row.format(
            gap=SPACE,
            colour=html.escape(_css_colour(colour) or MISSING),
            name=html.escape(str(name)),
            count=number.format(counts[name]) if counts and name in counts else "",
        )
        for name, colour in colours.items()
    ]
    return f"<div style='font:{TEXT_SIZE}/1.35 {html.escape(FONT)}'>{''.join(rows)}</div>"


def colour_bar_html(
    palette: Sequence[str], limits: tuple[float, float], label: str, middle: str = "", explained: str = ""
) -> str:
    """A horizontal colour bar as HTML: its ends, a text in the middle, a label with the unit, a sentence below."""
    stops = ",".join(palette[int(i)] for i in np.linspace(0, len(palette) - 1, 16))
    low, high = (f"{v:.3g}".replace("-", "−") for v in limits)
    note = f"<div style='margin-top:{SPACE // 2}px;opacity:.75'>{html.escape(explained)}</div>" if explained else ""
    bar = f"height:{SPACE}px;border-radius:{SPACE // 2}px;margin:3px 0;background:linear-gradient(90deg,{stops})"
    return (
        f"<div style='font:{SMALL_SIZE}/1.4 {html.escape(FONT)}'>"
        f"<div style='font-size:{TEXT_SIZE}'>{html.escape(label)}</div><div style='{bar}'></div>"
        "<div style='display:flex;justify-content:space-between;opacity:.75'>"
        f"<span>{low}</span><span>{html.escape(middle)}</span><span>{high}</span></div>"
        f"{note}</div>"
    )


def growth_palette(n: int = 256) -> list[str]:
    """Loss to gain as ``#rrggbbaa``. The middle is nearly transparent, so it is neutral on white and on black."""
    x = np.linspace(-1, 1, n)
    alpha = np.round(255 * (0.04 + 0.86 * np.abs(x) ** 0.9)).astype(int)
    return [f"{GAIN if value > 0 else LOSS}{a:02x}" for value, a in zip(x, alpha, strict=True)]


def growth_colours(n: int = 255) -> list[str]:
    """Loss to gain as ``#rrggbb``, for dots: over a grey that shows on white and on black."""
    ends = colour_array([LOSS, STILL, GAIN])[:, :3].astype(float)
    x = np.linspace(0, 2, n)
    rgb = np.stack([np.interp(x, [0, 1, 2], ends[:, channel]) for channel in range(3)], 1).round().astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb]
