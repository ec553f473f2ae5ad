"""What can be done in the app with its bundled result, one by one. Each action begins on any page, says by what it sees
that it was heard, and leaves nothing chosen that another one could stumble over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
from playwright.sync_api import Locator, Page, expect

from cellstream.datasets import DATASETS
from cellstream.presets import PRESETS
from cellstream_app.forms import SECTIONS
from cellstream_app.pages.data import EVEN, REAL
from cellstream_app.pages.train import ADVANCED
from tests.app.browser import (
    ROOT,
    button,
    choose,
    drag_around,
    open_path,
    picture,
    shown_time,
    slider,
    start_training,
    turn_to,
    wait_for,
)

Action = Callable[[Page], None]
SECONDS = 60
CELLS = 2736
"""Of the bundled data set."""
GROWTH = re.compile("^growth, doublings per")
SELECTED = re.compile(r"^[\d,]+ cells? selected$")
"""What Explore says; Genes, where it has been drawn before, tells it within a sentence."""


# Data


def to_data(page: Page, way: str = "Examples") -> None:
    """The Data page with its ways in, this one chosen."""
    turn_to(page, "Data")
    again, ways = button(page, "Open something else"), button(page, way)
    expect(again.or_(ways)).to_be_visible()
    if again.is_visible():
        again.click()
    ways.click()


def open_example(page: Page, name: str) -> None:
    to_data(page)
    page.locator("b:visible", has_text=DATASETS[name].title).click()
    expect(page.get_by_text(f"{DATASETS[name].cells:,}", exact=True).locator("visible=true").first).to_be_visible()
    expect(button(page, "Continue to training")).to_be_enabled()


def open_file(page: Page) -> None:
    to_data(page, "This computer")
    open_path(page, ROOT / "sample_data" / "branching.h5ad")
    expect(page.get_by_text(f"{CELLS:,}", exact=True).locator("visible=true").first).to_be_visible()
    expect(button(page, "Continue to training")).to_be_enabled()


def with_data(page: Page) -> None:
    """The Data page with the bundled data set open."""
    turn_to(page, "Data")
    expect(button(page, "Open something else").or_(button(page, "Examples"))).to_be_visible()
    if not button(page, "Continue to training").is_visible():
        open_example(page, "branching")
    expect(button(page, "Continue to training")).to_be_enabled()


def read_the_check(page: Page) -> None:
    with_data(page)
    expect(page.get_by_text(re.compile("problems found|Leave out"))).to_be_visible()
    remarks = page.get_by_text(re.compile("remarks?: dealt with"))
    remarks.click()
    expect(remarks.locator("xpath=..").get_by_role("listitem").first).to_be_visible()
    remarks.click()


def change_the_reading(page: Page) -> None:
    """Other steps of time and fewer components; and back."""
    with_data(page)
    for steps in (REAL, EVEN):
        choose(page, "Time steps", steps)
        expect(page.get_by_role("combobox", name="Time steps")).to_have_text(steps)
        expect(button(page, "Continue to training")).to_be_enabled()


# Train


def to_train(page: Page) -> None:
    turn_to(page, "Train")
    expect(button(page, "Start training")).to_be_visible()


def press_presets(page: Page) -> None:
    """Each in turn; its sentence answers."""
    to_train(page)
    for name in ("paper", "best", "quick"):
        button(page, name.capitalize()).click()
        expect(page.get_by_text(PRESETS[name].text)).to_be_visible()


def change_advanced_settings(page: Page) -> None:
    """Every folded section, one number in the last but one; a preset takes it back."""
    to_train(page)
    title = lambda section: page.get_by_role("button", name=SECTIONS[section], exact=True)  # noqa: E731
    for section in ADVANCED:
        if title(section).get_attribute("aria-expanded") != "true":
            title(section).click()
        expect(title(section)).to_have_attribute("aria-expanded", "true")
        if section == "schedule":
            page.get_by_label("Rounds", exact=True).fill("7")
            page.get_by_label("Rounds", exact=True).press("Enter")
            expect(page.get_by_text("Changed from the preset: rounds")).to_be_visible()
    press_presets(page)
    expect(page.get_by_text("As in the preset.")).to_be_visible()


def train_a_little(page: Page) -> None:
    """Start, pause, resume, stop; and the run is deleted, so that the bundled result is shown again."""
    with_data(page)
    to_train(page)
    start_training(page, "a little", rounds=5000)
    button(page, "Pause").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    button(page, "Resume").click()
    expect(page.get_by_text("running", exact=True)).to_be_visible()
    expect(page.get_by_text("Joint rounds · step")).to_be_visible()
    button(page, "Stop").click()
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    button(page, "Delete").locator("visible=true").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(re.compile("run=sample"))


# Explore


def to_explore(page: Page) -> None:
    """The bundled result, drawn, with no cells selected."""
    turn_to(page, "Explore")
    expect(page.get_by_text("Each dot is a cell")).to_be_visible()
    clear(page)


def clear(page: Page) -> None:
    clears = button(page, re.compile("^Clear"))
    if clears.is_visible():
        clears.click()
    expect(clears).to_be_hidden()


def rest(page: Page) -> None:
    """Nothing plays; nor does what is drawn for the first time begin to, a moment after it is there."""
    expect(button(page, "Pause").or_(button(page, "Play"))).to_be_visible()
    if button(page, "Play").is_visible():
        page.wait_for_timeout(1500)
    until = time.monotonic() + SECONDS
    while button(page, "Pause").is_visible() and time.monotonic() < until:
        # pressed while the page is being turned to, it is still the button of before, and does the opposite
        button(page, "Pause").click()
        page.wait_for_timeout(1500)
    expect(button(page, "Play")).to_be_visible()


def play_and_pause(page: Page) -> None:
    to_explore(page)
    rest(page)
    at = shown_time(page)
    button(page, "Play").click()
    expect(button(page, "Pause")).to_be_visible()
    wait_for(lambda: shown_time(page) != at, SECONDS)
    rest(page)


def turn_layer(page: Page, name: str) -> None:
    """Off and on, or on and off."""
    to_explore(page)
    switch = page.get_by_role("switch", name=name)
    for _ in range(2):
        on = switch.is_checked()
        switch.click()
        expect(switch).to_be_checked(checked=not on)


def show_the_moment(page: Page) -> None:
    """Streamlines and growth of one moment, and of all."""
    to_explore(page)
    growth = page.get_by_role("switch", name="Map of the growth rate g")
    growth.click()
    expect(page.get_by_text(GROWTH)).to_be_visible()
    for name in ("this moment", "whole course"):
        button(page, name).click()
        expect(button(page, name)).to_have_attribute("aria-pressed", "true")
    growth.click()
    expect(page.get_by_text(GROWTH)).to_be_hidden()


def colour_cells(page: Page, by: str, told: str) -> None:
    """``told`` stands in the legend then."""
    to_explore(page)
    choose(page, "Colour cells by", by)
    expect(page.get_by_text(told).locator("visible=true").first).to_be_visible()


def colour_by_gene(page: Page) -> None:
    to_explore(page)
    choose(page, "Colour cells by", "Gene …")
    gene = page.get_by_role("combobox", name="Gene", exact=True)
    for name in ("Ery03", "Wave01"):
        gene.fill(name)
        gene.press("Enter")
        expect(page.get_by_text(name, exact=True).locator("visible=true").first).to_be_visible()
    choose(page, "Colour particles by", "Wave01 at the start")
    choose(page, "Colour particles by", "One colour")
    choose(page, "Colour cells by", "Time")
    expect(gene).to_be_hidden()


def colour_particles(page: Page, by: str) -> None:
    to_explore(page)
    for choice in (by, "One colour"):
        choose(page, "Colour particles by", choice)
        expect(page.get_by_role("combobox", name="Colour particles by")).to_have_text(choice)


def move_through_time(page: Page) -> None:
    """By keys: the slider's, and those of the page."""
    to_explore(page)
    rest(page)
    slider(page).focus()
    page.keyboard.press("End")
    wait_for(lambda: shown_time(page) == 7, SECONDS)
    page.keyboard.press("Home")
    wait_for(lambda: shown_time(page) == 0, SECONDS)
    slider(page).blur()
    page.keyboard.press("ArrowRight")
    wait_for(lambda: 0 < shown_time(page) < 0.5, SECONDS)


def zoom_and_fit(page: Page) -> None:
    to_explore(page)
    button(page, "Move").click()
    box = page.locator(".bk-Figure:visible").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -240)
    drag_around(page, (0.5, 0.5), (0.6, 0.6))
    button(page, re.compile("^Fit view")).click()


def select_by(page: Page, tool: str, *corners: tuple[float, float]) -> None:
    """Cells in a box or a lasso: a table of their kin, as a file too."""
    to_explore(page)
    rest(page)
    button(page, tool).click()
    drag_around(page, *corners)
    expect(page.get_by_text(SELECTED)).to_be_visible()
    expect(page.get_by_text("100%").locator("visible=true").first).to_be_visible()
    for _ in range(2):  # the same once more is a file, too
        with page.expect_download() as download:
            button(page, "Numbers (.csv)").click()
        assert pd.read_csv(download.value.path())["selected cells"].sum() > 0
    clear(page)
    button(page, "Move").click()


def select_in_the_legend(page: Page) -> None:
    """A name, one more, and none."""
    colour_cells(page, "lineage", "erythroid")
    button(page, re.compile("^neutrophil")).click()
    expect(page.get_by_text("293 cells selected")).to_be_visible()
    button(page, re.compile("^monocyte")).click(modifiers=["Shift"])
    expect(page.get_by_text("834 cells selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text(SELECTED)).to_be_hidden()


def paint_a_label(page: Page) -> None:
    """A colour of one's own, and another one: the legend that comes back from the server has it."""
    colour_cells(page, "lineage", "erythroid")
    for colour in ("#00aa55", "#aa5500"):
        swatch = page.get_by_label("Colour of erythroid")
        swatch.evaluate(f"e => {{ e.value = '{colour}'; e.dispatchEvent(new Event('change')) }}")
        expect(swatch.locator("xpath=..")).to_have_attribute("style", re.compile(colour))


# Genes


def to_genes(page: Page) -> Locator:
    """The Genes page, with its ranking there; the field that adds a gene."""
    turn_to(page, "Genes")
    expect(page.get_by_text("Genes that the flow changes most")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^\d+ of 300 genes"))).to_be_visible()
    return page.get_by_role("combobox", name="Add a gene")


def add_and_remove_a_gene(page: Page) -> None:
    search = to_genes(page)
    expect(search).to_have_value("")
    search.fill("Stem05")
    search.press("Enter")
    expect(page.get_by_text("Stem05 on the map")).to_be_visible()
    button(page, "Remove Stem05").click()
    expect(button(page, "Remove Stem05")).to_be_hidden()


def rank_at_other_times(page: Page) -> None:
    to_genes(page)
    for key, told in (("End", "as they are at 7 d"), ("Home", "as they are at 0 d")):
        slider(page).focus()
        page.keyboard.press(key)
        expect(page.get_by_text(told)).to_be_visible()


def filter_genes(page: Page) -> None:
    to_genes(page)
    for name in ("Down", "Up", "Both"):
        button(page, name).click()
        expect(button(page, name)).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Filter by name").fill("wav")
    gene = page.locator(".tabulator-row >> nth=0 >> [tabulator-field='gene']")
    expect(gene).to_have_text(re.compile("^Wave"))
    page.get_by_label("Filter by name").fill("")
    page.get_by_label("Filter by name").press("Enter")
    expect(page.get_by_text(re.compile(r"^[12]\d\d of 300 genes"))).to_be_visible()


def save_genes(page: Page) -> None:
    to_genes(page)
    with page.expect_download() as download:
        button(page, "Download csv").click()
    assert len(pd.read_csv(download.value.path(), index_col=0)) == 300


# Export


def make_figures(page: Page) -> None:
    """Every kind in turn; the page's own files are of the last one."""
    turn_to(page, "Export")
    button(page, "Figure").click()
    for kind, told in (("A panel for each time point", "mm"), ("Match of the time points", "mm"), ("Embedding", "mm")):
        choose(page, "Figure", kind)
        expect(page.get_by_alt_text("the figure")).to_be_visible()
        expect(page.get_by_text(re.compile(rf"× \d+ {told}"))).to_be_visible()
    with page.expect_download() as download:
        button(page, "PDF").click()
    assert Path(download.value.path()).read_bytes()[:5] == b"%PDF-"


def make_a_film(page: Page) -> None:
    turn_to(page, "Export")
    button(page, "Animation").click()
    expect(page.get_by_alt_text("a frame of the film")).to_be_visible()
    page.get_by_label("Seconds").fill("1")
    page.get_by_label("Seconds").press("Enter")
    with page.expect_download() as download:
        button(page, "MP4").click()
    assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
    button(page, "Figure").click()


def read_the_words(page: Page) -> None:
    turn_to(page, "Export")
    button(page, "Methods and code").click()
    expect(page.get_by_text(re.compile("^Time-series single-cell data"))).to_be_visible()
    button(page, "Figure").click()


def pack_and_page(page: Page) -> None:
    turn_to(page, "Export")
    button(page, "Page and bundle").click()
    for name in ("Download page", "Download bundle"):
        with page.expect_download():
            button(page, name).click()
    button(page, "Figure").click()


# Compare


def to_compare(page: Page) -> None:
    """Both sides there and measured, nothing picked."""
    turn_to(page, "Compare")
    expect(page.get_by_text("Labels apart")).to_be_visible()
    clear(page)


def put_on_the_right(page: Page, name: str) -> None:
    """Another embedding, and PCA again."""
    to_compare(page)
    for choice in (name, "PCA"):
        page.get_by_role("combobox", name="Right", exact=True).click()
        page.get_by_text(choice, exact=True).last.click()
        expect(page.get_by_role("combobox", name="Right", exact=True)).to_have_text(choice)
        expect(page.get_by_text(f"Making {choice}")).to_be_hidden()
        expect(
            page.get_by_role("columnheader", name=choice).or_(page.locator("th", has_text=choice)).first
        ).to_be_visible()


def pick_and_clear(page: Page) -> None:
    to_compare(page)
    rest(page)
    button(page, "Box").click()
    drag_around(page, (0.2, 0.2), (0.7, 0.7), figure=1)
    expect(page.get_by_text(re.compile(r"[\d,]+ of 2,736 cells picked"))).to_be_visible()
    clear(page)
    button(page, "Move").click()


def colour_both(page: Page) -> None:
    to_compare(page)
    for by, told in (("lineage", "erythroid"), ("Time", "day 5")):
        choose(page, "Colour both by", by)
        expect(page.get_by_text(told).locator("visible=true").first).to_be_visible()


# all pages


def toggle_theme(page: Page) -> None:
    """To the other one and back."""
    for _ in range(2):
        dark = picture(page).mean() < 128
        page.locator("header").get_by_role("button", name="Toggle theme").click()
        wait_for(lambda dark=dark: (picture(page).mean() < 128) != dark, SECONDS)


def read_the_hints(page: Page) -> None:
    button(page, "Show the hints again").click()
    for number in range(1, 6):
        expect(page.get_by_text(f"{number} of 5")).to_be_visible()
        button(page, "Next" if number < 5 else "Done").click()
    expect(page.locator(".cs-hint")).to_have_count(0)


ACTIONS: dict[str, Action] = {
    "Explore: play and pause": play_and_pause,
    "Explore: slider and keys": move_through_time,
    "Explore: particles": partial(turn_layer, name="Particles"),
    "Explore: streamlines": partial(turn_layer, name="Streamlines of the velocity v"),
    "Explore: map of growth": partial(turn_layer, name="Map of the growth rate g"),
    "Explore: arrows": partial(turn_layer, name="Arrows at cells"),
    "Explore: this moment": show_the_moment,
    "Explore: cells by a label": partial(colour_cells, by="lineage", told="erythroid"),
    "Explore: cells by growth": partial(colour_cells, by="Growth rate", told="doublings per"),
    "Explore: cells by speed": partial(colour_cells, by="Speed", told="embedding units per"),
    "Explore: cells by a gene": colour_by_gene,
    "Explore: particles by start": partial(colour_particles, by="lineage at the start"),
    "Explore: particles by end": partial(colour_particles, by="lineage at the end"),
    "Explore: zoom, move and fit": zoom_and_fit,
    "Explore: box": lambda page: select_by(page, "Box", (0.1, 0.1), (0.7, 0.7)),
    "Explore: lasso": lambda page: select_by(page, "Lasso", (0.05, 0.05), (0.95, 0.05), (0.95, 0.7), (0.05, 0.7)),
    "Explore: legend": select_in_the_legend,
    "Explore: own colours": paint_a_label,
    "Explore: cells by time": partial(colour_cells, by="Time", told="day 5"),
    "Genes: add and remove": add_and_remove_a_gene,
    "Genes: other times": rank_at_other_times,
    "Genes: filters": filter_genes,
    "Genes: csv": save_genes,
    "Export: figures": make_figures,
    "Export: a film": make_a_film,
    "Export: words": read_the_words,
    "Export: page and bundle": pack_and_page,
    "Compare: another embedding": partial(put_on_the_right, name="Diffusion map"),
    "Compare: box": pick_and_clear,
    "Compare: colours": colour_both,
    "Data: human iPSC": partial(open_example, name="ipsc"),
    "Data: by its path": open_file,
    "Data: the bundled one": partial(open_example, name="branching"),
    "Data: file check": read_the_check,
    "Data: reading": change_the_reading,
    "Train: presets": press_presets,
    "Train: advanced settings": change_advanced_settings,
    "Train: start, pause, resume, stop, delete": train_a_little,
    "theme": toggle_theme,
    "hints": read_the_hints,
}
