"""The loss, as an equation in HTML. No script, no font from outside: italics, Greek letters and subscripts do."""

from __future__ import annotations

from cellstream.config import Config
from cellstream_app.forms import show
from cellstream_app.style import SMALL_SIZE

SERIF = "'STIX Two Text', 'Cambria Math', Georgia, 'Times New Roman', serif"

MEANINGS = (
    ("AE", "reconstruct the cells"),
    ("Nbr", "keep neighbours together"),
    ("Btw", "decode between time points"),
    ("WFR", "short, even paths and growth"),
    ("OT", "meet the observed cells"),
    ("Mass", "meet the population sizes"),
    ("Lin", "become what cells alike become"),
)


def _sub(letter: str, name: str, italic: bool = True) -> str:
    letter = f"<i>{letter}</i>" if italic else letter
    return f"{letter}<sub style='font-size:.68em'>{name}</sub>"


def _weighted(name: str, value: float) -> str:
    """λ_x L_x, faint where the weight is zero."""
    faint = "opacity:.35" if value == 0 else ""
    terms = _sub("λ", name) + _sub("L", name)
    return f"<span style='white-space:nowrap;{faint}' title='weight {show(value)}'>{terms}</span>"


def equation(config: Config) -> str:
    """The whole loss with its weights, terms without weight greyed, and beneath what each term asks for."""
    w = config.weights
    match = (
        f"<span style='white-space:nowrap'>{_sub('λ', 'Match')}&thinsp;(</span>{_weighted('OT', w.lambda_ot)} + "
        f"{_weighted('Mass', w.lambda_mass)})"
    )
    shape = (("AE", w.lambda_ae), ("Nbr", w.lambda_neighbours), ("Btw", w.lambda_between), ("WFR", w.lambda_wfr))
    parts = [_weighted(name, value) for name, value in shape]
    line = " + ".join([*parts, match, _weighted("Lin", w.lambda_lineages)])
    rows = "".join(
        f"<tr><td style='padding:1px 10px 1px 0;font-family:{SERIF}'>{_sub('L', name)}</td><td>{text}</td></tr>"
        for name, text in MEANINGS
    )
    return (
        f'<div style="font:17px/1.7 {SERIF};overflow-wrap:anywhere"><i>L</i> = {line}</div>'
        f"<table style='border-collapse:collapse;font-size:{SMALL_SIZE};opacity:.75;margin-top:4px'>{rows}</table>"
    )
