"""Files larger than memory: their matrices stay where they are, and the same comes out."""

from __future__ import annotations

import shutil
import threading
import time

import anndata
import dask.array
import h5py
import numpy as np
import pytest
import scipy.sparse
import zarr

from cellstream import by_parts, fitting, memory, readers, scverse
from cellstream.config import Config, Preprocess
from cellstream.errors import UserError
from cellstream.preprocess import expressed, prepare
from cellstream.runs import Run
from cellstream.survey import survey
from tests.conftest import TINY
from tests.model.corpus import cells, counts, dense, one_sentence

BLOCK = 2_000
"""Entries of a block in these tests."""


@pytest.fixture
def tight(monkeypatch):
    """There is no room to work with a matrix, and blocks are small."""
    monkeypatch.setattr(by_parts, "ROOM", 1e9)
    monkeypatch.setattr(by_parts, "ENTRIES", BLOCK)
    monkeypatch.setattr(by_parts, "WORTH", 4 * BLOCK)


def written(adata, path, **how):
    if path.suffix == ".zarr":
        with anndata.settings.override(zarr_write_format=how.pop("version", 3)):
            adata.write_zarr(path, **how)
        if not scipy.sparse.issparse(adata.X):  # so few numbers are one chunk, unless they are told not to be
            group = zarr.open_group(path, use_consolidated=False)
            for name in ("X", "layers/log"):
                anndata.io.write_elem(group, name, group[name][:], dataset_kwargs=dict(chunks=(5, 300)))
            zarr.consolidate_metadata(path)
    else:
        adata.write_h5ad(path, **how)
    return path


FILES = {
    "h5ad": ("x.h5ad", {}),
    "h5ad, gzip": ("x.h5ad", dict(compression="gzip")),
    "zarr 2": ("x.zarr", dict(version=2)),
    "zarr 3": ("x.zarr", {}),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    ("input", "settings"), [("X", Preprocess(n_top_genes=230)), ("layer:log", Preprocess("yes", 0, 7))]
)
def test_what_stays_in_its_file_gives_the_same(tmp_path, tight, file, sparse, input, settings):
    name, how = FILES[file]
    adata = cells(150, 300, sparse=sparse)
    reading = readers.open_file(written(adata, tmp_path / name, **how))
    stays = reading.adata.X, reading.adata.layers["log"]
    assert all(by_parts.is_lazy(matrix) and matrix.numblocks[0] > 2 for matrix in stays)
    assert "X and layers/log stay in the file" in reading.notes[0]
    here, there = prepare(adata, input, settings), prepare(reading.adata, input, settings)
    np.testing.assert_allclose(there.x, here.x, atol=2e-3)  # of components in single precision, with a spread of 5
    assert (there.features, there.report, there.genes.names) == (here.features, here.report, here.genes.names)
    assert by_parts.is_lazy(reading.adata.X)
    np.testing.assert_allclose(
        dense(expressed(reading.adata, input, settings)), dense(expressed(adata, input, settings)), rtol=1e-6
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sparse", [True, False])
def test_components_of_genes_that_do_not_fit_are_those_of_linear_algebra(tmp_path, tight, monkeypatch, sparse):
    """Where not even the variable genes fit into memory, the covariance is added up part by part."""
    x = np.log1p(counts(2000, 260))
    x[0] += 0.1  # no gene is zero everywhere
    adata = anndata.AnnData(scipy.sparse.csr_matrix(x) if sparse else x)
    reading = readers.open_file(written(adata, tmp_path / "x.h5ad"))
    whole = x - x.mean(0)
    monkeypatch.setattr(memory, "free", lambda: 260**2 * 8 * 3 + 1)
    with one_sentence("MB of memory"):
        by_parts.gathered(reading.adata.X)
    found = prepare(reading.adata, settings=Preprocess(n_pcs=5))
    u, s, v = np.linalg.svd(whole.astype(np.float64), full_matrices=False)
    truth = u[:, :5] * s[:5]
    signs = np.sign((found.x * truth).sum(0))
    np.testing.assert_allclose(found.x * signs, truth, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.genes.loadings * signs[:, None], v[:5], atol=1e-3)
    np.testing.assert_allclose(found.genes.mean, x.mean(0), rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("worth", [0.9, 1.1])
def test_only_what_is_worth_it_stays_in_its_file(tmp_path, tight, monkeypatch, worth):
    """By its bytes, whatever the numbers in a block."""
    x = counts(150, 300)
    path = written(anndata.AnnData(x, layers={"log": x[:, ::2].repeat(2, 1)}), tmp_path / "x.h5ad")
    monkeypatch.setattr(by_parts, "WORTH", worth * x.nbytes)
    monkeypatch.setattr(by_parts, "ENTRIES", x.size)
    assert by_parts.is_lazy(readers.read(path).X) == (worth < 1)


@pytest.mark.filterwarnings("ignore")
def test_never_more_than_a_few_rows_at_once(tmp_path, tight, monkeypatch):
    adata = cells(400, 100)
    reading = readers.open_file(written(adata, tmp_path / "x.h5ad"))
    seen = []
    for block in by_parts.blocks(reading.adata.X):
        seen.append(block.nnz)
    assert sum(seen) == adata.X.nnz
    assert max(seen) < 1.5 * BLOCK


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_all_else_is_read_as_it_was(tmp_path, tight, suffix):
    adata = cells(150, 300)
    adata.raw = adata
    adata.uns["note"] = {"a": np.arange(3)}
    adata.obsp["near"] = scipy.sparse.csr_matrix(np.eye(150))
    adata.varm["PCs"] = np.ones((300, 2))
    path = written(adata, tmp_path / f"x{suffix}")
    lazy, whole = readers.read(path), anndata.io.read_h5ad(path) if suffix == ".h5ad" else anndata.io.read_zarr(path)
    assert by_parts.is_lazy(lazy.raw.X)
    loaded = lazy.to_memory()
    assert set(loaded.layers) == {"log"}
    for mine, theirs in ((loaded.X, whole.X), (loaded.layers["log"], whole.layers["log"]), (loaded.raw.X, whole.raw.X)):
        np.testing.assert_array_equal(dense(mine), dense(theirs))
    assert loaded.obs.equals(whole.obs)
    assert loaded.var.equals(whole.var)
    np.testing.assert_array_equal(loaded.uns["note"]["a"], [0, 1, 2])
    np.testing.assert_array_equal(dense(loaded.obsp["near"]), np.eye(150))
    np.testing.assert_array_equal(loaded.varm["PCs"], np.ones((300, 2)))
    np.testing.assert_array_equal(loaded.obsm["X_pca"], whole.obsm["X_pca"])


@pytest.mark.filterwarnings("ignore")
def test_a_training_from_file_to_file(tmp_path, tight):
    """Cells without a time among them; the result holds the matrix whole, and leads back."""
    adata = cells(150, 300)
    adata.obs["day"] = adata.obs["day"].astype(object)
    adata.obs.loc[adata.obs_names[::10], "day"] = np.nan
    path = written(adata, tmp_path / "x.h5ad")
    said = []
    outcome = fitting.fit(str(path), tmp_path / "out.h5ad", Config().with_settings(**TINY), said.append, time_key="day")
    assert outcome.status.state == "finished", outcome.status
    assert any("stay in the file" in sentence for sentence in said)
    result = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(dense(result.X), dense(adata.X))
    np.testing.assert_array_equal(dense(result.layers["log"]), dense(adata.layers["log"]))
    lazy = readers.read(tmp_path / "out.h5ad")
    assert by_parts.is_lazy(lazy.X)
    stream, snapshots, recipe = scverse.read_result(lazy)
    assert len(snapshots.index) == 135
    there = scverse.expression(lazy, stream, snapshots, recipe)
    here = scverse.expression(adata, stream, snapshots, recipe)
    np.testing.assert_allclose(dense(there), dense(here), rtol=1e-6)
    assert there.shape == (135, len(stream.genes.names))


def test_a_file_opened_in_backed_mode_stays_there(tmp_path, tight, monkeypatch):
    adata = cells(150, 300)
    path = written(adata, tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(path, backed="r")
    monkeypatch.setattr(type(backed.X), "to_memory", lambda self: pytest.fail("read as a whole"))
    found = prepare(backed)
    np.testing.assert_allclose(found.x, prepare(adata).x, atol=2e-3)


@pytest.mark.filterwarnings("ignore")
def test_an_entry_stored_in_two_parts_and_stored_zeros_stay_so_in_the_file_alone(tmp_path, tight):
    """No entry has the logarithm of a part of it; no cell that holds zeros only counts as one that holds something."""
    x = counts(150, 300)
    x[7] = 0
    x[7, 3] = 5
    parts = scipy.sparse.csr_matrix(x)
    twice = scipy.sparse.csr_matrix(x.shape, dtype=np.float32)
    twice.data, twice.indices = np.repeat(parts.data / 2, 2), np.repeat(parts.indices, 2)
    twice.indptr = 2 * parts.indptr
    twice.data[twice.indptr[7] : twice.indptr[8]] = 0
    x[7] = 0
    np.testing.assert_array_equal(twice.toarray(), x)
    reading = readers.open_file(written(anndata.AnnData(twice), tmp_path / "x.h5ad"))
    assert by_parts.is_lazy(reading.adata.X)
    assert reading.adata.X.blocks[0].compute().nnz > (x[: reading.adata.X.chunks[0][0]] != 0).sum()
    here, there = prepare(anndata.AnnData(x)), prepare(reading.adata)
    # components of nearly equal variance are found to some digits only, fewer on some processors; the logarithm of half
    # an entry is another by tenths
    np.testing.assert_allclose(there.x, here.x, atol=2e-2)
    assert (there.features, there.report) == (here.features, here.report)
    assert any("zero in every feature" in sentence and "1." in sentence for sentence in there.report)


def test_few_blocks_are_worked_on_at_once():
    """However many threads dask may have: what two blocks take has to fit into memory."""
    lock, running, most = threading.Lock(), 0, []

    def counted(block: np.ndarray) -> np.ndarray:
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return block

    blocks = dask.array.ones((16, 4), chunks=(1, 4)).map_blocks(counted, meta=np.ones((0, 0)))
    with dask.config.set(num_workers=8):
        blocks.compute()
        assert max(most) > by_parts.AT_ONCE
        most.clear()
        with by_parts.few_at_once():
            blocks.compute()
    assert len(most) == 16
    assert max(most) == by_parts.AT_ONCE


# --- what cannot be read in parts -------------------------------------------------------------------------------------


def edited(change, folder, **how):
    path = written(cells(150, 300), folder / "x.h5ad", **how)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def by_columns(file):
    del file["X"]
    anndata.io.write_elem(file, "X", scipy.sparse.csc_matrix(counts(150, 300)))


def next_to_nothing(file):
    del file["X"]
    file.create_dataset("X", (150, 300), "f4", chunks=(10, 300), compression="gzip")
    file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def in_one_chunk(file):
    del file["X"]
    file.create_dataset("X", data=counts(150, 300), chunks=(150, 300))
    file["X"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def all_in_one_row(file):
    whole = int(file["X/indptr"][-1])
    file["X/indptr"][:] = np.append(0, np.full(150, whole))


CANNOT = {
    "by columns": by_columns,
    "next to nothing": next_to_nothing,
    "in one chunk": in_one_chunk,
    "all in one row": all_in_one_row,
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_read_in_rows_needs_memory(tmp_path, monkeypatch, case):
    monkeypatch.setattr(by_parts, "ENTRIES", 200 if case == "all in one row" else BLOCK)
    monkeypatch.setattr(by_parts, "WORTH", BLOCK)
    path = edited(CANNOT[case], tmp_path)
    monkeypatch.setattr(memory, "free", lambda: 50_000)
    with one_sentence("MB of memory"):
        readers.open_file(path)


def test_columns_of_a_matrix_in_blocks_are_refused_in_a_sentence(tmp_path, monkeypatch):
    x = scipy.sparse.csc_matrix(counts(60, 40))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        anndata.io.write_elem(file, "X", x)
        adata = anndata.AnnData(anndata.experimental.read_elem_lazy(file["X"], chunks=(-1, 10)))
    with one_sentence("stored by columns"):
        prepare(adata)


@pytest.mark.filterwarnings("ignore")
def test_a_missing_value_is_found_where_it_is(tmp_path, tight):
    adata = cells(150, 300)
    adata.X[140, 7] = np.nan
    with one_sentence("1 missing (NaN) values", "'gene7'"):
        prepare(readers.read(written(adata, tmp_path / "x.h5ad")))


# --- one walk, against NumPy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("kind", ["counts", "signed", "numbers", "far from zero", "far apart"])
def test_a_survey_is_what_numpy_says(monkeypatch, form, kind):
    monkeypatch.setattr(by_parts, "ENTRIES", 100)
    x = counts(70, 30)
    x[:, 3], x[5] = 0, 0
    near = np.random.default_rng(0).normal(1e5, 1e-3, x.shape)
    kinds = {"counts": x, "signed": x - 2 * (x > 3), "numbers": x * 0.3 + 7, "far from zero": near}
    x = (kinds | {"far apart": near + 1e5 * (np.arange(70) >= 40)[:, None]})[kind]
    found = survey(form(x))
    np.testing.assert_array_equal(found.low, x.min(0))
    np.testing.assert_array_equal(found.high, x.max(0))
    np.testing.assert_array_equal(found.filled, (x != 0).sum(0))
    np.testing.assert_allclose(found.mean, x.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(found.variance, x.var(0, dtype=np.float64), rtol=1e-5, atol=1e-12)
    assert found.empty == (~x.any(1)).sum()
    assert found.integers == (kind in ("counts", "signed"))
    some = found.of(np.array([1, 4]))
    np.testing.assert_array_equal(some.high, x.max(0)[[1, 4]])


# --- how much there is ------------------------------------------------------------------------------------------------


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Control groups as Linux shows them: this process in a job of 900 MB within a node of 5 GB."""
    inner = tmp_path / "node" / "job"
    inner.mkdir(parents=True)
    for group, limit, used, files in ((inner, 900, 500, 100), (inner.parent, 5_000, 1_000, 0)):
        (group / "memory.max").write_text(f"{limit * 10**6}\n")
        (group / "memory.current").write_text(f"{used * 10**6}\n")
        (group / "memory.stat").write_text(f"anon 1\ninactive_file {files * 10**6}\n")
    (tmp_path / "mine").write_text("1:name=systemd:/\n0::/node/job\n")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    monkeypatch.setattr(memory, "_MINE", tmp_path / "mine")
    return inner


def test_a_cluster_s_job_has_what_its_group_leaves(groups):
    assert memory.free() == 500 * 10**6
    (groups / "memory.max").write_text("max\n")
    assert memory.free() == min(4_000 * 10**6, memory.psutil.virtual_memory().available)


def test_memory_can_be_allowed_by_a_variable(monkeypatch):
    monkeypatch.setenv("CELLSTREAM_MEMORY", "1e6")
    assert memory.free() <= memory.psutil.virtual_memory().total
    monkeypatch.setenv("CELLSTREAM_MEMORY", "0.001")
    assert memory.free() == 0
    with one_sentence(
        "the thing needs 3.0 GB of memory but 0.0 MB are free, and CELLSTREAM_MEMORY allows no more: take less"
    ):
        memory.require(3e9, "the thing", "take less")
    for wrong in ("much", "-1", "inf", "nan"):
        monkeypatch.setenv("CELLSTREAM_MEMORY", wrong)
        with pytest.raises(UserError, match="CELLSTREAM_MEMORY"):
            memory.free()


# --- how much disk there is -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("left", [True, False])
def test_a_full_disk_is_told_before_the_training(tmp_path, monkeypatch, left):
    """The result's file, by the size of its matrices: counts and logarithms, left in the file or read."""
    adata = cells(150, 300)
    path = written(adata, tmp_path / "x.h5ad", compression="gzip")
    if left:
        monkeypatch.setattr(by_parts, "ROOM", 1e9)
        monkeypatch.setattr(by_parts, "ENTRIES", BLOCK)
        monkeypatch.setattr(by_parts, "WORTH", BLOCK)
    stored = 2 * by_parts.nbytes(adata.X)
    read = readers.read(path)
    assert by_parts.is_lazy(read.X) == left
    assert stored <= readers.size_of(path, read) < 1.2 * stored
    free = shutil.disk_usage(tmp_path)._replace(free=stored - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    with one_sentence("The file with the result needs", "MB of disk", str(tmp_path)):
        fitting.fit(str(path), tmp_path / "out.h5ad", Config().with_settings(**TINY), print, time_key="day")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["x.h5ad"]


def test_a_run_s_folder_needs_room_for_its_data(tmp_path, monkeypatch, moving_cloud):
    free = shutil.disk_usage(tmp_path)._replace(free=50_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    with one_sentence("The folder of the run needs 50.0 MB of disk but 50.0 MB are free"):
        Run.create(tmp_path / "run", moving_cloud, Config(), {})
    assert not (tmp_path / "run" / "config.json").exists()
