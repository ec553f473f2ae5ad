"""What colours mean, on the screen and on paper: time is always the same sequential palette, categories a colour-blind
safe set, growth blue for loss and vermilion for gain; and cells coloured by a name or a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import colorcet
import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex


def _of(name: str, start: int, end: int) -> tuple[str, ...]:
    return tuple(to_hex(colormaps[name](i)) for i in range(start, end))


# Both ends are cut off, so that the first colour is visible on dark and the last one on white.
TIME_PALETTE = _of("plasma", 75, 205)  # its ends stand out from white and from the dark ground alike
VALUE_PALETTE = _of("viridis", 30, 240)

# Ten colours chosen for distinctness under the three kinds of colour blindness and for aesthetics:
# M. A. Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270; ours is the order.
CATEGORY_PALETTE: tuple[str, ...] = (
    "#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd", "#a96b59", "#e76300", "#b9ac70", "#717581", "#94a4a2",
)  # fmt: skip
SMALLEST_DIFFERENCE = 14.0  # CIE76 units between two category colours of the extended set
MISSING = "#9aa0a6"  # cells without a value

LOSS, GAIN = "#2f7de1", "#e8553a"  # mass that shrinks, mass that grows
STILL = "#b4bac1"  # a cell that neither grows nor dies


@dataclass(frozen=True)
class Categories:
    """Colour by category: ``codes (n,)`` index ``names``; -1 where a cell has none. ``colours`` as ``#rrggbb``."""

    codes: np.ndarray
    names: Sequence[str]
    colours: Sequence[str]
    below: tuple[int, ...] = ()
    """Codes that are drawn first, below the others, as cells without a category are."""

    @property
    def first(self) -> np.ndarray:
        """Which cells are drawn first, (n,)."""
        return (np.asarray(self.codes) < 0) | np.isin(self.codes, self.below)

    def only(self, chosen: np.ndarray) -> Categories:
        """Those of some cells."""
        return replace(self, codes=np.asarray(self.codes)[chosen])


@dataclass(frozen=True)
class Values:
    """Colour by number: ``values (n,)``, not-a-number where a cell has none. ``limits`` default to the data's."""

    values: np.ndarray
    palette: Sequence[str] = VALUE_PALETTE
    limits: tuple[float, float] | None = None

    def span(self) -> tuple[float, float]:
        """The limits in use; never empty, since a palette needs a width."""
        finite = self.values[np.isfinite(self.values)]
        low, high = self.limits or ((float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0))
        return (low, high) if high > low else (low - 0.5, low + 0.5)

    def only(self, chosen: np.ndarray) -> Values:
        """Those of some cells, in the same colours."""
        return replace(self, values=self.values[chosen], limits=self.span())


# colours


def rgba(colour: str) -> tuple[int, int, int, int]:
    """A colour ``#rgb``, ``#rrggbb`` or ``#rrggbbaa`` as four bytes. Raises ``ValueError`` for anything else."""
    digits = colour[1:]
    if len(digits) == 3:
        digits = "".join(2 * d for d in digits)
    if not colour.startswith("#") or len(digits) not in (6, 8):
        raise ValueError(f"Expected a colour like '#3f90da', got {colour!r}.")
    r, g, b, *a = (int(digits[i : i + 2], 16) for i in range(0, len(digits), 2))
    return r, g, b, a[0] if a else 255


def colour_array(colours: Sequence[str]) -> np.ndarray:
    """Colours as bytes, shape ``(len(colours), 4)``, dtype uint8."""
    return np.array([rgba(c) for c in colours], dtype=np.uint8).reshape(-1, 4)


def css_colour(value: object) -> str | None:
    """``#rrggbb`` for what scanpy and matplotlib take for a colour: hex digits, a name, an RGB(A) tuple in 0..1; None
    where it is none."""
    if isinstance(value, str):
        value = value.strip().lower()
    try:
        return None if value == "none" else to_hex(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


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
    return {name: css_colour(t) or o for name, t, o in zip(names, theirs, ours, strict=True)}


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
