"""Data sets by name: found, fetched from a local server, checked, refused."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellstream import datasets
from cellstream.errors import UserError

DATA = Path(os.environ.get("CELLSTREAM_DATA_DIR", "missing"))
PUBLIC = [name for name, dataset in datasets.DATASETS.items() if dataset.urls]
needs_data = pytest.mark.skipif(
    not all((DATA / datasets.DATASETS[name].file).is_file() for name in PUBLIC),
    reason="the public data sets are not in CELLSTREAM_DATA_DIR",
)


class Server:
    """Serves ``pages`` (path -> text) on this machine and remembers what was asked for."""

    def __init__(self):
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                body = outer.pages.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.end_headers()
                self.wfile.write((body or "").encode())

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, and no other folder to look in."""
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    monkeypatch.setattr(datasets, "_sample_folders", lambda: [])
    monkeypatch.delenv("CELLSTREAM_DATA_DIR", raising=False)
    return tmp_path


def _read_table(files):
    table = pd.read_csv(files[0])
    obs = pd.DataFrame({"time": table["time"].astype(str)}).set_index(table.index.astype(str))
    return AnnData(table[["a", "b"]].to_numpy(np.float32), obs=obs)


def _tiny(url: str) -> datasets.Dataset:
    """A small public data set, its digest computed by hand from the format's definition."""
    digest = hashlib.sha256(b"(2, 2)" + b"0\n1\0" + b"0\n1\0" + b"0\n1\0")
    digest.update(np.array([1, 2, 3, 4.5], "<f4").tobytes())
    return dataclasses.replace(
        datasets.DATASETS["emt"], name="tiny", urls=(url,), convert=_read_table, file="tiny.h5ad", cells=2, features=2,
        sha256=digest.hexdigest(),
    )  # fmt: skip


TABLE = "time,a,b\n0,1,2\n1,3,4.5\n"


@pytest.fixture
def tiny(server, cache, monkeypatch):
    server.pages["/tiny.csv"] = TABLE
    monkeypatch.setitem(datasets.DATASETS, "tiny", _tiny(f"{server.address}/tiny.csv"))
    return server


def test_a_fetched_set_is_cached_and_asked_for_once(tiny, cache):
    path = datasets.fetch("tiny")
    assert path == cache / "tiny.h5ad"
    np.testing.assert_array_equal(anndata.read_h5ad(path).X, [[1, 2], [3, 4.5]])
    np.testing.assert_array_equal(datasets.load("tiny").X, [[1, 2], [3, 4.5]])
    assert tiny.asked == ["/tiny.csv"]


def test_line_ends_do_not_matter_but_content_does(tiny, cache):
    tiny.pages["/tiny.csv"] = TABLE.replace("4.5", "4.6")
    with pytest.raises(UserError, match="SHA-256 differs"):
        datasets.load("tiny")
    assert not (cache / "tiny.h5ad").exists()
    tiny.pages["/tiny.csv"] = TABLE.replace("\n", "\r\n")  # the bad copy was thrown away, so this one is asked for
    assert datasets.load("tiny").n_obs == 2


@pytest.mark.parametrize("page", ["<html>please log in</html>", "", "\x00\x01", "time,a,b\nx,y,z\n", "time,a\n0,1\n"])
def test_something_else_at_the_address_is_refused(tiny, cache, page):
    tiny.pages["/tiny.csv"] = page
    with pytest.raises(UserError, match="not the data set 'tiny'"):
        datasets.load("tiny")
    assert not (cache / "tiny.h5ad").exists()


def test_no_network_says_what_to_do_and_files_put_there_by_hand_are_used(cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as taken:  # a port that was free a moment ago, with nobody listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/tiny.csv"
    monkeypatch.setitem(datasets.DATASETS, "tiny", _tiny(url))
    with pytest.raises(UserError, match="connect to the internet") as caught:
        datasets.load("tiny")
    assert url in str(caught.value)
    assert str(cache / "downloads") in str(caught.value)
    (cache / "downloads").mkdir(exist_ok=True)
    (cache / "downloads" / "tiny.csv").write_text(TABLE)
    assert datasets.load("tiny").n_obs == 2


def test_a_page_that_is_gone_gets_the_same_sentence(tiny):
    tiny.pages.clear()
    with pytest.raises(UserError, match=r"Cannot fetch the data set 'tiny' .*HTTPError"):
        datasets.load("tiny")


@pytest.mark.parametrize("damage", [b"no file of this kind", b""])
def test_a_damaged_file_in_the_data_folder_is_named(cache, monkeypatch, damage):
    monkeypatch.setenv("CELLSTREAM_DATA_DIR", str(cache))
    (cache / "emt_cook2020_ae10.h5ad").write_bytes(damage)
    with pytest.raises(UserError, match=r"emt_cook2020_ae10\.h5ad does not hold the data set 'emt'"):
        datasets.load("emt")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="choose one of: branching, ipsc, emt"):
        datasets.load("pbmc")


def test_the_bundled_sample_needs_no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    monkeypatch.delenv("CELLSTREAM_DATA_DIR", raising=False)
    adata = datasets.load("branching")
    about = datasets.DATASETS["branching"]
    assert adata.shape == (about.cells, about.features)
    assert adata.obs[about.time_key].nunique() == 6


def test_a_missing_sample_names_the_command_that_makes_it(cache):
    with pytest.raises(UserError, match=r"cellstream simulate branching --out branching\.h5ad --seed 0"):
        datasets.load("branching")


def test_the_app_package_is_searched_without_importing_it():
    assert any(folder.parent.name == "cellstream_app" for folder in datasets._sample_folders())


@needs_data
@pytest.mark.parametrize("name", PUBLIC)
def test_public_sets_have_the_pinned_content(name, monkeypatch):
    monkeypatch.setenv("CELLSTREAM_DATA_DIR", str(DATA))
    about = datasets.DATASETS[name]
    adata = datasets.load(name)
    assert datasets.fetch(name) == DATA / about.file
    assert adata.shape == (about.cells, about.features)
    adata.X[0, 0] += np.float32(1e-6)
    assert datasets.content_sha256(adata, about.time_key) != about.sha256


def _lines(rows) -> str:
    return "".join(f"{row}\n" for row in rows)


def _raw_files(name: str, adata: AnnData) -> list[str]:
    """The public files as their authors' programs print these numbers: 15 digits (MATLAB), shortest float32."""
    if name == "ipsc":
        exact = np.log(1 + np.round(np.expm1(adata.X.astype(np.float64)), 2))  # measured with two decimals
        matrix = _lines(",".join(f"{value:.15g}" for value in row) for row in exact)
        return [matrix, _lines(adata.var_names), _lines(f"{t:g}" for t in adata.obs["time"])]
    times = adata.obs["time"].astype(int)
    header = "samples," + ",".join(f"x{i}" for i in range(1, 11))
    cells = (
        f"{t}," + ",".join(np.format_float_positional(value, unique=True, trim="-") for value in row)
        for t, row in zip(times, adata.X, strict=True)
    )
    labels = (f'"{cell}","{label}"' for cell, label in adata.obs["time_label"].items())
    return [_lines([header, *cells]).rstrip("\n"), _lines(['"","x"', *labels])]


# characters in the public files; not of ipsc's matrix, where a few last digits cannot be told from float32
LENGTHS = {"ipsc": (None, 546, 2592), "emt": (337_854, 93_017)}


@needs_data
@pytest.mark.parametrize("name", PUBLIC)
def test_raw_public_files_become_the_same_data(name, server, cache, monkeypatch):
    reference = anndata.read_h5ad(DATA / datasets.DATASETS[name].file)
    texts = _raw_files(name, reference)
    for text, length in zip(texts, LENGTHS[name], strict=True):
        assert length in (None, len(text))
    paths = ["/" + url.rsplit("/", 1)[1] for url in datasets.DATASETS[name].urls]
    server.pages.update(zip(paths, texts, strict=True))
    urls = tuple(server.address + path for path in paths)
    monkeypatch.setitem(datasets.DATASETS, name, dataclasses.replace(datasets.DATASETS[name], urls=urls))
    adata = datasets.load(name)
    np.testing.assert_array_equal(adata.X, reference.X)
    pd.testing.assert_frame_equal(adata.obs, reference.obs, check_categorical=False)
    assert list(adata.var_names) == list(reference.var_names)
    assert server.asked == paths
    assert datasets.fetch(name).parent == cache
