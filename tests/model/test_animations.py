"""Animations: a film shows what the arrays say, at the moment that its clock tells, in a file that players can play."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anndata
import imageio_ffmpeg
import numpy as np
import psutil
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scipy.spatial import procrustes

from cellstream import __version__, cli, pictures
from cellstream.animations import BACK, CELLS, END, GROUNDS, ONCE, PLAIN, START, TIME, particles
from cellstream.animations import flow as flow_module
from cellstream.animations.canvas import Canvas
from cellstream.animations.film import Film, Shot
from cellstream.animations.flow import Wish, flow
from cellstream.animations.of_result import film_of
from cellstream.animations.particles import Paths, opacity
from cellstream.animations.tints import shades, tint
from cellstream.animations.training import Stage, training
from cellstream.animations.writing import Stopped, write
from cellstream.colours import MISSING, Categories, Values, time_colours
from cellstream.errors import UserError
from cellstream.figures.of_result import Source
from cellstream.painting import Painted, painted
from cellstream.runs import Run
from cellstream.scene import Scene
from cellstream.state import State
from cellstream.stream import Flow
from tests.conftest import TINY
from tests.model.test_cli import one_sentence
from tests.model.test_figures import HOSTILE

SMALL = Shot(size=(160, 120), fps=10, seconds=1.0)
LARGE = Shot(size=(640, 480), fps=10, seconds=1.0)
CODECS = {".mp4": "h264", ".webm": "vp9", ".gif": "gif"}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a result and its run, made once by the commands that a user has."""
    folder = tmp_path_factory.mktemp("animations")
    small = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    words = "simulate", "branching", "--cells", "40", "--seed", "1", "--out", folder / "my cells.h5ad"
    fit = "fit", folder / "my cells.h5ad", "--time-key", "day", "--preset", "paper", "--run-dir", folder / "run"
    for asked in (words, (*fit, "--out", folder / "result.h5ad", *small)):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in asked])
        assert ended.value.code == 0
    return folder


@pytest.fixture(scope="module")
def source(made) -> Source:
    return Source.in_file(anndata.read_h5ad(made / "result.h5ad"), made / "result.h5ad")


@pytest.fixture
def animate(capsys):
    """``cellstream animate …`` in this process; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["animate", *map(str, words)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def scene(moving_cloud, tiny_config) -> Scene:
    """Three time points in a plane, and two particles far from all cells whose ways and masses are known: one goes
    right and doubles its mass in each unit of time, one stands still and dies."""
    made = Scene(State.initial(moving_cloud, tiny_config).present(), moving_cloud)
    rng = np.random.default_rng(3)
    made.points = (0.2 * rng.normal(size=(len(made.index), 2)) + [0, 8]).astype(np.float32)
    t = made.moments
    z = np.zeros((len(t), 2, made.z.shape[1]), np.float32)
    made.flow = Flow(t, z, np.stack([np.log(2) * t, -2.5 * t], 1).astype(np.float32))
    made.starts = np.array([0, 1])
    ways = np.column_stack([2 * t, 0 * t]), np.column_stack([3 + 0 * t, 4 + 0 * t])
    made.paths = np.stack(ways, 1).astype(np.float32)
    return made


def by_time(scene: Scene) -> Painted:
    return painted(scene, None, "time")


def still(k: int) -> np.ndarray:
    """A frame whose left part is as bright as the frame's number says."""
    frame = np.full((120, 160, 3), 255, np.uint8)
    frame[:, :80] = 20 * k
    return frame


def numbered(shot: Shot = SMALL, **told: object) -> Film:
    return Film(shot, still, told)


def told_by_ffmpeg(path: Path) -> str:
    """What ffmpeg says of a file."""
    asked = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(asked, capture_output=True, text=True, errors="replace").stderr


def at_work(process: int | None = None) -> list[psutil.Process]:
    """The ffmpegs that a process has started and that are still there."""
    return [child for child in psutil.Process(process).children() if "ffmpeg" in child.name()]


def frames_of(path: Path) -> np.ndarray:
    """All frames of a file, (frames, height, width, 3)."""
    with closing(imageio_ffmpeg.read_frames(str(path))) as reader:
        width, height = next(reader)["size"]
        return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


# --- what a frame shows -----------------------------------------------------------------------------------------------


class Watched:
    """A film of a scene beside the same one without particles: what differs are the particles."""

    def __init__(self, scene: Scene, shot: Shot = LARGE, **kinds):
        kinds = dict(streams=False, particles=PLAIN) | kinds
        self.film = flow(scene, by_time(scene), shot, **kinds)
        self.canvas = next(
            cell.cell_contents for cell in self.film.draw.__closure__ if isinstance(cell.cell_contents, Canvas)
        )
        self.shot = shot

    def empty(self, k: int) -> np.ndarray:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(particles, "opacity", np.zeros_like)
            return self.film.draw(k)

    def seen(self, k: int, place: np.ndarray, reach: int = 25) -> np.ndarray:
        """How much the particles darken each pixel around a place of the plane; elsewhere nothing is asked for."""
        x, y = self.canvas.at(np.asarray(place, float))
        row, column = round(self.shot.size[1] - y), round(x)
        near = slice(max(row - reach, 0), row + reach), slice(max(column - reach, 0), column + reach)
        darker = (self.empty(k).astype(float) - self.film.draw(k)).sum(-1)
        found = np.zeros_like(darker)
        found[near] = darker[near]
        return found

    def centre(self, seen: np.ndarray) -> np.ndarray:
        """Of what was seen, in pixels from the lower left corner."""
        rows, columns = np.indices(seen.shape)
        x, y = (columns * seen).sum() / seen.sum() + 0.5, (rows * seen).sum() / seen.sum() + 0.5
        return np.array([x, self.shot.size[1] - y])


@pytest.fixture
def no_tails(monkeypatch):
    monkeypatch.setattr(flow_module, "TAIL_SECONDS", 0.0)


def moment(scene: Scene, shot: Shot, k: int) -> float:
    """The time at frame k, of the film's even course through the networks' time."""
    tau = scene.tau(scene.times)
    return float(np.interp(tau[0] + shot.course()[k] * (tau[-1] - tau[0]), tau, scene.times))


def test_a_particle_is_where_its_path_is_at_each_frame(scene, no_tails):
    watched = Watched(scene)
    for k in range(LARGE.frames):
        place = np.array([2 * moment(scene, LARGE, k), 0.0])
        assert np.allclose(watched.centre(watched.seen(k, place)), watched.canvas.at(place), atol=0.3), k


def test_between_two_moments_paths_go_through_both_and_are_smooth():
    t = np.linspace(0, 3, 13)
    circle = np.stack([np.cos(t), np.sin(t)], -1)[:, None]
    paths = Paths(circle, np.log(1 + t)[:, None])
    for s in (0.0, 1.0, 7.0, 12.0):
        assert np.allclose(paths.place(s), circle[int(s)])
        assert paths.mass(s) == pytest.approx(1 + t[int(s)])
    between = np.array([paths.place(s)[0] for s in np.linspace(1, 11, 101)])
    assert np.abs(np.hypot(*between.T) - 1).max() < 2e-3  # a straight line would be off by 8e-3


def test_what_grows_has_the_area_of_its_mass(scene, no_tails):
    """Mass 2^t: 1 at the start, 4 after two units of time, and area with it."""
    watched = Watched(scene, replace(LARGE, size=(1280, 960)))
    area, mass = [], []
    for k in (0, 5, 6):
        t = moment(scene, LARGE, k)
        area.append(watched.seen(k, np.array([2 * t, 0.0]), 40).sum())
        mass.append(2**t)
    assert mass[-1] > 3
    assert np.array(area) / area[0] == pytest.approx(np.array(mass) / mass[0], rel=0.1)


def test_what_dies_fades_and_is_gone(scene, no_tails):
    watched = Watched(scene)
    strongest = [watched.seen(k, np.array([3.0, 4.0])).max() for k in range(LARGE.frames)]
    masses = [np.exp(-2.5 * moment(scene, LARGE, k)) for k in range(LARGE.frames)]
    assert strongest[0] > 500  # of three channels
    assert all(after <= before + 1 for before, after in pairwise(strongest))
    dying = next(k for k, mass in enumerate(masses) if mass < 0.6)
    assert 0.05 < strongest[dying] / strongest[0] < 0.9
    assert strongest[-1] == 0.0
    assert opacity(np.array([1.0, 5.0])).tolist() == [1.0, 1.0]


def test_a_tail_lies_where_the_particle_was(scene):
    watched = Watched(scene, replace(LARGE, fps=20))
    k = 12
    place = np.array([2 * moment(scene, watched.shot, k), 0.0])
    seen = watched.seen(k, place, 60)
    columns = np.arange(seen.shape[1])[seen.sum(0) > 30]
    at = watched.canvas.at(place)[0]
    assert at - columns.min() > 2 * (columns.max() - at)


def test_a_particle_whose_path_is_no_number_is_not_seen(scene):
    scene.paths[4:, 0] = np.nan
    watched = Watched(scene)
    assert np.isfinite(watched.canvas.at(scene.paths[0])).all()
    k = LARGE.frames - 1
    assert watched.seen(k, np.array([2 * moment(scene, LARGE, k), 0.0]), 60).sum() == 0


def test_the_clock_and_the_axis_tell_the_time(scene):
    made = Watched(scene)
    said, places = [], []
    for k in range(LARGE.frames):
        made.film.draw(k)
        said.append(made.canvas.strip.words.get_text())
        places.append(float(made.canvas.strip.now.get_xdata()[0]))
    assert said[0] == "0.00 d"
    assert said[-1] == "3.00 d"
    assert said[5] == f"{moment(scene, LARGE, 5):.2f} d"
    begin, end = made.canvas.strip.ends
    known = [(float(line.get_xdata()[0]) - begin) / (end - begin) for line in made.canvas.strip.dotted]
    assert known == pytest.approx(scene.tau(scene.times) / scene.tau(scene.times)[-1])
    assert places[0] == pytest.approx(begin)
    assert places[-1] == pytest.approx(end)
    strip = slice(int(0.86 * LARGE.size[1]), None), slice(0, int(0.15 * LARGE.size[0]))
    assert not np.array_equal(made.film.draw(0)[strip], made.film.draw(5)[strip])  # and the pixels with them


def test_the_clock_speaks_like_the_labels(source):
    made = flow(source.scene, by_time(source.scene), SMALL)
    canvas = next(cell.cell_contents for cell in made.draw.__closure__ if isinstance(cell.cell_contents, Canvas))
    made.draw(SMALL.frames - 1)
    assert canvas.strip.words.get_text() == f"day {source.scene.times[-1]:.1f}"


def test_the_cells_of_now_are_bright_and_the_others_faint(scene):
    first = [int(np.flatnonzero(scene.index == i)[0]) for i in range(3)]
    scene.points[first] = [(0, 12), (3, 12), (6, 12)]  # each on its own
    watched = Watched(scene)
    dark = []
    for k in (0, LARGE.frames - 1):
        x, y = watched.canvas.at(scene.points[first].astype(float)).T
        frame = watched.empty(k)
        dark.append(255.0 - frame[(LARGE.size[1] - y).astype(int), x.astype(int)].min(-1))
    assert dark[0][0] > 2 * dark[1][0] > 10
    assert dark[1][2] > 2 * dark[0][2] > 10
    assert dark[0][1] == dark[1][1] > 10


@pytest.mark.parametrize("size", [(160, 120), (640, 480), (240, 640)])
def test_a_strangers_names_break_no_picture(moving_cloud, tiny_config, size):
    hostile = replace(moving_cloud, labels=tuple(HOSTILE[3:6]), unit="long " * 30)
    scene = Scene(State.initial(hostile, tiny_config).present(), hostile)
    names = Painted(Categories(scene.index, HOSTILE[:3], ["#ff0000", "#00ff00", "#0000ff"]), "long " * 60)
    shot = replace(SMALL, size=size, title=" ".join(HOSTILE))
    made = flow(scene, by_time(scene), shot, names, START)
    canvas = next(cell.cell_contents for cell in made.draw.__closure__ if isinstance(cell.cell_contents, Canvas))
    assert made.draw(3).shape == (size[1], size[0], 3)
    begin, end = canvas.strip.ends
    assert 0.2 < end - begin < 1
    for words in canvas.figure.texts:
        assert canvas.page.measured(words)[2] <= canvas.sheet.width


def test_streamlines_are_of_the_moment_and_can_be_left_out(source):
    scene = source.scene
    drawn = [flow(scene, by_time(scene), LARGE, streams=streams).draw for streams in (True, False)]
    with_them, without = drawn[0](0), drawn[1](0)
    assert (with_them < without).any()
    assert (np.abs(with_them.astype(int) - without).sum(-1) > 20).mean() > 0.002


def test_other_components_are_another_film(moving_cloud, tiny_config):
    config = replace(tiny_config, networks=replace(tiny_config.networks, latent_dim=3))
    scene = Scene(State.initial(moving_cloud, config).present(), moving_cloud)
    found = film_of(Source(scene, None, {}), Wish(axes=(0, 2)), SMALL)
    expected = flow(scene.along((0, 2)), by_time(scene), SMALL)
    assert (found.draw(3) == expected.draw(3)).all()
    assert (found.draw(3) != flow(scene, by_time(scene), SMALL).draw(3)).any()


def test_there_and_back_ends_as_it_began(source, no_tails):
    scene = source.scene
    shot = replace(SMALL, loop=BACK)
    made = flow(scene, by_time(scene), shot, streams=False)
    assert np.abs(made.draw(0).astype(int) - made.draw(shot.frames - 1)).max() < 60
    course = shot.course()
    assert course == pytest.approx(course[::-1])
    assert course.max() > 0.95


@pytest.mark.parametrize("ground", GROUNDS)
def test_ground_and_title_are_as_asked(source, ground):
    scene = source.scene
    shot = replace(LARGE, ground=ground, title="Blood $x_1$")
    titled, bare = (flow(scene, by_time(scene), one).draw(4) for one in (shot, replace(shot, title="")))
    rgb = tuple(int(GROUNDS[ground][i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(titled[0, 0]) == tuple(titled[-1, -1]) == tuple(titled[0, -1]) == rgb
    above = slice(0, 40)
    assert (titled[above] != rgb).sum() > (bare[above] != rgb).sum() + 100


# --- colours ----------------------------------------------------------------------------------------------------------


def test_particles_have_the_colour_of_the_moment_of_their_labels_or_of_the_cells_around(source):
    scene = source.scene
    tau, n = scene.tau(scene.times), len(scene.starts)
    of_time = tint(scene, None, TIME, "#000000")
    for t, colour in zip(tau, time_colours(len(tau)), strict=True):
        assert np.allclose(of_time(t), to_rgb(colour), atol=1 / 255)
    codes = (scene.z[:, 0] > np.median(scene.z[:, 0])).astype(int)
    kinds = Painted(Categories(codes, ["a", "b"], ["#ff0000", "#0000ff"]), "kind")
    assert np.array_equal(tint(scene, kinds, START, "#000000")(0.0)[:, 2], codes[scene.starts])
    tree, there = scene.trees[-1]
    near = codes[there][tree.query(scene.flow.z[-1], 15)[1]].mean(1)
    assert np.array_equal(tint(scene, kinds, END, "#000000")(0.0)[:, 2], (near > 0.5).astype(float))
    values = Painted(Values(scene.z[:, 0], ["#000000", "#ffffff"], (-1e9, 1e9)), "value")
    assert tint(scene, values, CELLS, "#000000")(tau[1]).shape == (n, 3)
    assert np.allclose(tint(scene, None, PLAIN, "#ff0000")(0.0), [1, 0, 0])
    with pytest.raises(UserError, match="name a column of labels"):
        tint(scene, None, END, "#000000")


def test_a_value_has_the_colour_of_its_place_and_nothing_that_of_none():
    colour = Values(np.array([0.0, 1.0, 5.0, np.nan]), ["#000000", "#808080", "#ffffff"], (0.0, 2.0))
    assert np.allclose(shades(colour)[:3, 0], [0, 128 / 255, 1])
    assert np.allclose(shades(colour)[3], to_rgb(MISSING))


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", CODECS)
def test_a_file_has_the_frames_the_size_the_speed_and_the_codec(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    done = []
    write(numbered(), path, progress=lambda k, n: done.append((k, n)))
    assert done == [(k, 10) for k in range(1, 11)]
    said = told_by_ffmpeg(path)
    assert f"Video: {CODECS[suffix]}" in said
    assert "160x120" in said
    assert "10 fps" in said
    assert "Audio" not in said
    if suffix != ".gif":
        assert "yuv420p(tv, bt709, progressive)" in said
    read = frames_of(path)
    assert read.shape == (10, 120, 160, 3)
    for k, frame in enumerate(read):  # each frame at its place, and what is white stays white
        assert np.abs(frame[20:100, 20:60].mean() - 20 * k) < 6
        assert frame[20:100, 100:140].min() > 249
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_colours_are_not_shifted(tmp_path):
    rgb = np.array([63, 144, 218])
    for suffix, most in ((".mp4", 4), (".webm", 6), (".gif", 6)):
        path = tmp_path / f"film{suffix}"
        write(Film(SMALL, lambda k: np.tile(rgb.astype(np.uint8), (120, 160, 1))), path)
        assert np.abs(frames_of(path).reshape(-1, 3).mean(0) - rgb).max() < most, suffix


def test_an_mp4_begins_with_its_index_so_that_it_plays_while_it_loads(tmp_path):
    path = tmp_path / "film.mp4"
    write(numbered(), path)
    data, at, atoms = path.read_bytes(), 0, []
    while at < len(data):
        atoms.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert atoms.index(b"moov") < atoms.index(b"mdat")


@pytest.mark.parametrize("loop", [BACK, ONCE])
def test_a_gif_repeats_unless_it_is_to_stop(tmp_path, loop):
    path = tmp_path / "film.gif"
    write(numbered(replace(SMALL, loop=loop)), path)
    with Image.open(path) as picture:
        assert picture.n_frames == 10
        assert picture.info.get("loop") == (None if loop == ONCE else 0)


@pytest.mark.parametrize("suffix", CODECS)
def test_every_file_says_where_it_came_from(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    told = dict(data='my "cells";=#\\ \ud800 é.h5ad', settings=dict(text="x" * 3000), seed=7)
    write(numbered(**told), path)
    if suffix == ".gif":
        with Image.open(path) as picture:
            found = picture.info["comment"].decode()
    else:
        exe = imageio_ffmpeg.get_ffmpeg_exe()
        asked = [exe, "-loglevel", "error", "-i", str(path), "-f", "ffmetadata", "-"]
        lines = subprocess.run(asked, capture_output=True, text=True).stdout
        found = next(line for line in lines.splitlines() if line.lower().startswith("comment="))
        found = re.sub(r"\\(.)", r"\1", found[len("comment=") :])
    assert json.loads(found) == told


@pytest.mark.parametrize("suffix", CODECS)
def test_a_film_that_is_stopped_leaves_nothing_but_what_was_there(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    path.write_text("before")
    stop = threading.Event()
    with pytest.raises(Stopped):
        write(numbered(), path, progress=lambda k, n: k == 4 and stop.set(), stop=stop.is_set)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"
    assert not at_work()


def test_a_frame_that_fails_leaves_nothing(tmp_path):
    def draw(k: int) -> np.ndarray:
        if k == 3:
            raise ValueError("broken")
        return still(k)

    with pytest.raises(ValueError, match="broken"):
        write(Film(SMALL, draw), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())
    assert not at_work()


@pytest.mark.skipif(os.name == "nt", reason="a shell's limit of a file's size")
def test_a_full_disk_is_one_sentence_and_no_file(tmp_path, monkeypatch):
    """A file that may not grow beyond some kilobytes stands for a disk that is full."""
    fake, place = tmp_path / "ffmpeg", tmp_path / "out"
    place.mkdir()
    fake.write_text(f"#!/bin/bash\ntrap '' XFSZ\nulimit -f 8\nexec '{imageio_ffmpeg.get_ffmpeg_exe()}' \"$@\"\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(fake))
    noise = np.random.default_rng(0).integers(0, 255, (20, 120, 160, 3), np.uint8)
    with pytest.raises(UserError, match=r"could not be written .*disk") as said:
        write(Film(replace(SMALL, seconds=2.0), lambda k: noise[k]), place / "film.mp4")
    assert "\n" not in str(said.value)
    assert not list(place.iterdir())


def test_where_there_is_no_ffmpeg_a_sentence_says_so(tmp_path, monkeypatch):
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(UserError, match="IMAGEIO_FFMPEG_EXE"):
        write(numbered(), tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(161, 120), (160, 121), (32, 120), (160, 5000)])
def test_sizes_that_players_do_not_play_are_refused(size):
    with pytest.raises(UserError, match="even width and an even height"):
        Shot(size=size)


# --- a training -------------------------------------------------------------------------------------------------------


def test_a_run_keeps_some_pictures_at_even_steps_of_the_same_cells(made):
    run = Run(made / "run")
    index = run.snapshots().index.numpy()
    kept = pictures.read(run.folder, index)
    run.poll()
    assert 2 <= len(kept.steps) <= pictures.MOST
    assert kept.steps[0] == 0
    assert kept.steps[-1] == max(run.history.steps)
    assert np.ptp(np.diff(kept.steps)[:-1]) == 0
    assert kept.points.shape == (len(kept.steps), len(index), 2)
    # the last one is the embedding that the latest preview shows, but for place, size, and being turned or flipped
    preview = run.preview()
    z = pictures.framed(preview["z"][np.searchsorted(preview["cells"], kept.cells)])[0]
    assert procrustes(z, kept.points[-1])[2] < 1e-4


def test_long_trainings_and_many_cells_keep_no_more(tiny_config, moving_cloud, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "CELLS", 50)
    config = tiny_config.with_settings(start_steps=5000)
    state = State.initial(moving_cloud, config)
    album = pictures.Album(tmp_path, state)
    for step in range(album.steps + 1):
        state.step = step
        album.see(state, final=step == album.steps)
    found = sorted((tmp_path / "pictures").iterdir())
    assert pictures.MOST // 2 < len(found) <= pictures.MOST
    assert all(np.load(path).shape == (50, 2) for path in found)
    assert all(np.load(path).dtype == np.float16 for path in found)
    state.step = 1000  # a worker that goes on from an earlier checkpoint
    again = pictures.Album(tmp_path, state)
    assert again.last <= 1000
    assert max(int(path.stem) for path in (tmp_path / "pictures").iterdir()) == again.last


def test_pictures_that_are_turned_and_flipped_lie_on_each_other():
    rng = np.random.default_rng(0)
    z, index = rng.normal(size=(200, 2)) * [3, 1], np.zeros(200, int)
    turned = []
    for angle, flip in ((0.4, 1), (2.5, -1), (5.0, 1)):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [1, flip]
        turned.append(7 * z @ turn + 3)
    found = pictures.aligned([*turned, z], index)
    assert np.allclose(found[-1], pictures.framed(z)[0], atol=1e-5)
    assert np.abs(found - found[-1]).max() < 0.02  # a box along other axes is another one
    line = pictures.aligned([-z[:, 1:], z[:, 1:]], np.repeat([0, 1], 100))
    assert np.allclose(line[0], line[1], atol=1e-4)  # time stays on x


def test_a_film_of_a_training_shows_cells_step_and_stage(made):
    run = Run(made / "run")
    kept = pictures.Pictures(
        np.array([[[-0.5, 0.0], [0.5, 0.5]], [[-0.5, 0.0], [0.5, -0.5]]], np.float32), np.array([0, 100]), np.arange(2)
    )
    cells = Painted(Categories(np.array([0, 1]), ["a", "b"], ["#ff0000", "#0000ff"]), "kind")
    made_film = training(kept, cells, [Stage("embedding", 0), Stage("joint rounds", 60)], LARGE)
    canvas = next(cell.cell_contents for cell in made_film.draw.__closure__ if isinstance(cell.cell_contents, Canvas))
    said = []
    for k in (0, LARGE.frames - 1):
        frame = made_film.draw(k)
        said.append(canvas.strip.words.get_text())
        for place, channel in (((-0.5, 0.0), 0), ((0.5, 0.5 if k == 0 else -0.5), 2)):
            x, y = canvas.at(np.array(place))
            pixel = frame[int(LARGE.size[1] - y), int(x)].astype(int)
            assert pixel[channel] - np.delete(pixel, channel).max() > 100
    assert said == ["Embedding\nstep 0", "Joint rounds\nstep 100"]
    assert run.folder.exists()


# --- the command ------------------------------------------------------------------------------------------------------

QUICK = ("--size", "160x120", "--fps", "5", "--seconds", "1")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--colour", "lineage", "--ground", "dark"),
        ("--colour", "growth", "--no-streams"),
        ("--labels", "lineage", "--particles", "start", "--loop", "back", "--title", "Blood"),
    ],
)
def test_the_command_makes_a_film_of_a_result(made, tmp_path, animate, words):
    out = tmp_path / "flow.mp4"
    code, said, _ = animate(made / "result.h5ad", "--out", out, *QUICK, *words)
    assert code == 0
    assert said == f"{out}\n"
    assert frames_of(out).shape == (5, 120, 160, 3)


def test_the_command_makes_a_film_of_a_training(made, tmp_path, animate):
    out = tmp_path / "training.webm"
    for colour in ("time", "lineage"):
        code, *_ = animate(made / "run", "--kind", "training", "--colour", colour, "--out", out, "--overwrite", *QUICK)
        assert code == 0
        assert frames_of(out).shape == (5, 120, 160, 3)


def test_provenance_is_that_of_a_figure(made, source, tmp_path, animate):
    out = tmp_path / "flow.gif"
    assert animate(made / "result.h5ad", "--out", out, "--colour", "lineage", *QUICK)[0] == 0
    with Image.open(out) as picture:
        told = json.loads(picture.info["comment"])
    assert told["data"] == "my cells.h5ad"
    assert told["result_sha256"] == hashlib.sha256((made / "result.h5ad").read_bytes()).hexdigest()
    assert told["drawn_by"] == f"CellStream {__version__}"
    assert told["config"] == source.stream.config.to_dict()
    assert told["shows"]["colour"] == "lineage"
    assert told["film"]["size"] == [160, 120]
    assert str(made) not in json.dumps(told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "flow.avi"), "ends in .mp4, .webm, .gif"),
        (("--out", "nowhere/flow.mp4"), "folder that exists"),
        (("--out", "flow.mp4", "--size", "161x120"), "even"),
        (("--out", "flow.mp4", "--size", "large"), "1080p, 720p or WIDTHxHEIGHT"),
        (("--out", "flow.mp4", "--fps", "0"), "frames per second"),
        (("--out", "flow.mp4", "--seconds", "nan"), "other seconds"),
        (("--out", "flow.mp4", "--axes", "1"), "two components"),
        (("--out", "flow.mp4", "--axes", "1,3"), "of more than two"),
        (("--out", "flow.mp4", "--colour", "celltype"), "no column 'celltype'"),
        (("--out", "flow.mp4", "--colour", "gene:NONE"), "no gene 'NONE'"),
        (("--out", "flow.mp4", "--labels", "growth_true"), "holds numbers"),
        (("--out", "flow.mp4", "--particles", "end"), "name a column of labels"),
        (("--out", "flow.mp4", "--kind", "training"), "run folder"),
        (("--out", "flow.mp4", "--kind", "training", "--no-streams"), "--streams says nothing"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_file(made, tmp_path, animate, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = animate(made / "result.h5ad", *words)
    assert (code, out) == (2, "")
    assert said in one_sentence(err)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_filmed_is_told(made, tmp_path, animate, monkeypatch):
    monkeypatch.chdir(tmp_path)
    imported = tmp_path / "imported"
    shutil.copytree(made / "run", imported, ignore=shutil.ignore_patterns("pictures"))
    said = one_sentence(animate(imported, "--kind", "training", "--out", "training.mp4")[2])
    assert "no pictures of its training" in said
    assert "--kind training" in one_sentence(animate(imported, "--out", "flow.mp4")[2])
    assert animate(made / "my cells.h5ad", "--out", "flow.mp4")[0] == 2
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind the superuser")
def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(made, tmp_path, animate):
    tmp_path.chmod(0o500)
    code, _, err = animate(made / "result.h5ad", "--out", tmp_path / "flow.mp4")
    assert code == 2
    assert "cannot be written" in one_sentence(err)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_ends_ffmpeg_and_leaves_no_file(made, tmp_path):
    words = "animate", made / "result.h5ad", "--out", tmp_path / "flow.mp4", "--size", "720p", "--seconds", "600"
    command = [sys.executable, "-m", "cellstream", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not (ours := at_work(process.pid)) or not list(tmp_path.glob(".flow*")):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Stopped. No file was written."
    assert not list(tmp_path.iterdir())
    assert not psutil.wait_procs(ours, timeout=5)[1]
