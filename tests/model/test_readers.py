from __future__ import annotations

import contextlib
import gzip
import json
import os
import pickle
import tarfile
import warnings
import zipfile

import anndata
import h5py
import numcodecs.pickles
import numpy as np
import pandas as pd
import psutil
import pytest
import scipy.sparse
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cellstream.errors import UserError
from cellstream.readers import FORMATS, open_file, read, sniff
from tests.model.corpus import cells, counts, dense, one_sentence, write_10x_h5, write_10x_mtx

# --- round trips ------------------------------------------------------------------------------------------------------


def write_zarr(adata, path, version):
    with anndata.settings.override(zarr_write_format=version):
        adata.write_zarr(path)


def zip_folder(folder, path, root=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{root}{file.relative_to(folder)}")
    return path


def write(kind, adata, folder):
    """Write ``adata`` as ``kind``; return the path and the name of its format."""
    path = folder / "data"
    match kind.split():
        case ["h5ad"]:
            adata.write_h5ad(path)
        case ["h5ad", "gzip"]:
            adata.write_h5ad(path, compression="gzip")
        case ["zarr", version]:
            write_zarr(adata, path, int(version))
        case ["zarr", version, "zip"]:
            write_zarr(adata, folder / "inner", int(version))
            zip_folder(folder / "inner", path)
        case ["zarr", version, "zip", "nested"]:
            write_zarr(adata, folder / "inner", int(version))
            zip_folder(folder / "inner", path, "some/data.zarr/")
        case ["loom"]:
            adata.write_loom(path, write_obsm_varm=True)
    return path, kind.split()[0]


ZARR_KINDS = [f"zarr {version}{form}" for version in (2, 3) for form in ("", " zip", " zip nested")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("kind", ["h5ad", "h5ad gzip", "loom", *ZARR_KINDS])
def test_anndata_round_trips_whatever_its_name(tmp_path, kind, sparse):
    adata = cells(sparse=sparse)
    path, name = write(kind, adata, tmp_path)  # the path has no suffix: content decides
    assert sniff(path) == name
    reading = open_file(path)
    back = reading.adata
    assert reading.format == name
    assert reading.notes == ()
    np.testing.assert_array_equal(dense(back.X), dense(adata.X))
    np.testing.assert_allclose(dense(back.layers["log"]), dense(adata.layers["log"]), rtol=1e-6)
    np.testing.assert_array_equal(back.obsm["X_pca"], adata.obsm["X_pca"])
    assert list(back.obs_names) == list(adata.obs_names)
    assert list(back.var_names) == list(adata.var_names)
    assert list(back.obs["day"]) == list(adata.obs["day"])
    assert scipy.sparse.issparse(back.X) == (sparse or name == "loom")


@pytest.mark.parametrize("prefix", ["", "GSM1_"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("version", [2, 3])
def test_10x_folders_round_trip(tmp_path, version, packed, prefix):
    x = counts(20, 15)
    folder = write_10x_mtx(tmp_path / "sample", x, version=version, packed=packed, prefix=prefix)
    matrix = folder / f"{prefix}matrix.mtx{'.gz' if packed else ''}"
    for path in (folder, matrix):
        assert sniff(path) == "10x-mtx"
        adata = read(path)
        assert scipy.sparse.issparse(adata.X)
        np.testing.assert_array_equal(dense(adata.X), x)
        assert list(adata.obs_names[:2]) == ["cell0-1", "cell1-1"]
        assert list(adata.var_names[:2]) == ["gene0", "gene1"]
        assert list(adata.var["gene_ids"][:2]) == ["ENS0", "ENS1"]


def test_10x_folder_with_cells_in_rows_is_turned(tmp_path):
    x = counts(20, 15)
    folder = write_10x_mtx(tmp_path / "sample", x)
    turned = write_10x_mtx(tmp_path / "turned", x.T)
    (folder / "matrix.mtx.gz").write_bytes((turned / "matrix.mtx.gz").read_bytes())
    reading = open_file(folder)
    np.testing.assert_array_equal(dense(reading.adata.X), x)
    assert "cells in rows" in reading.notes[0]


@pytest.mark.parametrize("version", [2, 3])
def test_10x_h5_round_trips(tmp_path, version):
    x = counts(20, 15)
    path = write_10x_h5(tmp_path / "x.h5ad", x, version=version)  # a wrong suffix
    assert sniff(path) == "10x-h5"
    adata = read(path)
    assert scipy.sparse.issparse(adata.X)
    np.testing.assert_array_equal(dense(adata.X), x)
    assert list(adata.obs_names[:2]) == ["cell0-1", "cell1-1"]
    assert list(adata.var_names[:2]) == ["gene0", "gene1"]


def test_10x_h5_keeps_gene_expression_only_and_says_so(tmp_path):
    x = counts(20, 6)
    kinds = ["Gene Expression"] * 4 + ["Antibody Capture"] * 2
    reading = open_file(write_10x_h5(tmp_path / "x.h5", x, kinds=kinds))
    np.testing.assert_array_equal(dense(reading.adata.X), x[:, :4])
    assert reading.notes == ("2 features that are not gene expression (Antibody Capture) were left out.",)
    one = open_file(write_10x_h5(tmp_path / "one.h5", x, kinds=["Gene Expression"] * 5 + ["CRISPR Guide Capture"]))
    assert one.notes == ("1 feature that is not gene expression (CRISPR Guide Capture) was left out.",)
    peaks = read(write_10x_h5(tmp_path / "peaks.h5", x, kinds=["Peaks"] * 6))
    assert peaks.n_vars == 6


# --- tables -----------------------------------------------------------------------------------------------------------

tables = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 8), st.integers(2, 6)),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=tables,
    mark=st.sampled_from([",", ";", "\t"]),
    comma=st.booleans(),
    names=st.sampled_from(["text", "unnamed", "cell_id", "none"]),
    packed=st.booleans(),
    time=st.sampled_from(["last", "first"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    end=st.sampled_from(["\n", "\r\n"]),
    comment=st.booleans(),
)
def test_tables_round_trip(tmp_path, x, mark, comma, names, packed, time, encoding, end, comment):
    n, p = x.shape
    comma = comma and mark != ","
    frame = pd.DataFrame(x, columns=[f"g{j}" for j in range(p)], index=[f"zelle_ä{i}" for i in range(n)])
    frame.insert(0 if time == "first" else p, "day", [i % 3 for i in range(n)])
    frame["kind"] = [f"Typ ü{i % 2}" for i in range(n)]
    label = {"text": "Zellen hier", "unnamed": "", "cell_id": "cell_id", "none": None}[names]
    text = frame.to_csv(
        None, sep=mark, decimal=".,"[comma], index=names != "none", index_label=label, lineterminator=end
    )
    raw = (("# made by a script" + end) * comment + text).encode(encoding)
    path = tmp_path / "table.dat"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert sniff(path) == "table"
    reading = open_file(path)
    adata = reading.adata
    np.testing.assert_array_equal(adata.X, x)
    assert adata.X.dtype == np.float32
    assert list(adata.var_names) == [f"g{j}" for j in range(p)]
    assert list(adata.obs["day"]) == [i % 3 for i in range(n)]
    assert list(adata.obs["kind"]) == [f"Typ ü{i % 2}" for i in range(n)]
    if names != "none":
        assert list(adata.obs_names) == list(frame.index)
    assert any("'day'" in note and "'kind'" in note for note in reading.notes)


def table(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    return open_file(path)


def test_a_table_without_a_header(tmp_path):
    reading = table(tmp_path, "0.5,1\n1.5,2\n")
    np.testing.assert_array_equal(reading.adata.X, [[0.5, 1], [1.5, 2]])
    assert list(reading.adata.var_names) == ["feature_1", "feature_2"]
    assert "first row" in reading.notes[0]


def test_a_header_of_pandas_own_numbers_is_a_header(tmp_path):
    adata = table(tmp_path, "0,1\n0.5,1\n1.5,2\n").adata
    np.testing.assert_array_equal(adata.X, [[0.5, 1], [1.5, 2]])


def test_a_table_by_r_has_no_name_above_its_row_names(tmp_path):
    adata = table(tmp_path, '"g1" "g2"\n"a" 1 2\n"b" 3 4\n').adata
    assert list(adata.obs_names) == ["a", "b"]
    np.testing.assert_array_equal(adata.X, [[1, 2], [3, 4]])


def test_labels_written_as_numbers_are_not_features(tmp_path):
    reading = table(tmp_path, "cell,leiden,n_genes,pseudotime,TP53,ok\na,0,90,0.1,1.5,True\nb,1,80,0.2,2.5,False\n")
    assert list(reading.adata.var_names) == ["TP53"]
    assert list(reading.adata.obs) == ["leiden", "n_genes", "pseudotime", "ok"]


def test_oddities_of_a_table_are_told(tmp_path):
    reading = table(tmp_path, "cell,g1,g1,g2,\na,1,2,3,\na,1,2,4,\nc,1,2,-,\n")
    assert list(reading.adata.obs_names) == ["a", "a-1", "c"]
    assert list(reading.adata.var_names) == ["g1", "g1.1"]
    told = " ".join(reading.notes)
    assert "1 column name occurred more than once" in told
    assert "Column 'g2' holds text among its numbers, so it was kept in obs and not as a feature." in told
    assert "1 cell name occurred more than once" in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cell,kind,g1\na,x,1\nb,y,2\n", "Column 'kind' was kept in obs; the other column is the feature."),
        (
            "cell,kind,day,g1,g2\na,x,0,1,2\nb,y,1,3,4\n",
            "Columns 'kind', 'day' were kept in obs; the other 2 columns are the features.",
        ),
        (
            "cell,g1,g2,g3\na,1,2,3\nb,4,5,6\nc,-,-,9\n",
            "Columns 'g1', 'g2' hold text among their numbers, so they were kept in obs and not as features.",
        ),
    ],
)
def test_one_is_told_as_one_and_many_as_many(tmp_path, text, says):
    assert says in table(tmp_path, text).notes


def test_a_very_wide_table(tmp_path):
    x = counts(3, 30_000)
    frame = pd.DataFrame(x, columns=[f"gene_number_{j}" for j in range(30_000)], index=["a", "b", "c"])
    frame.to_csv(tmp_path / "wide.csv.gz")
    np.testing.assert_array_equal(read(tmp_path / "wide.csv.gz").X, x)


# --- names, and what must stay as it was ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_repeated_names_are_made_unique_and_told(tmp_path):
    adata = cells(6, 4)
    adata.obs_names = ["a", "a", "b", "c", "c", "c"]
    adata.var_names = ["g", "g", "h", "i"]
    adata.write_h5ad(tmp_path / "x.h5ad")
    reading = open_file(tmp_path / "x.h5ad")
    assert reading.adata.obs_names.is_unique
    assert reading.adata.var_names.is_unique
    assert len(reading.notes) == 2
    assert reading.notes[0].startswith("3 cell names")
    assert reading.notes[1].startswith("1 feature name ")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["h5ad", "loom", "zarr 3 zip"])
def test_the_file_stays_as_it_was(tmp_path, kind):
    path, _ = write(kind, cells(), tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    os.chmod(path, 0o444)
    read(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_reading_is_quiet(tmp_path):
    adata = cells()
    adata.write_h5ad(tmp_path / "x.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(tmp_path / "x.h5ad")
        read(write_10x_h5(tmp_path / "x.h5", counts()))


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cells().write_h5ad(tmp_path / "x.h5ad")
    assert read("~/x.h5ad").n_obs == 60


def test_integer_counts_stay_integers(tmp_path):
    anndata.AnnData(counts().astype(np.int32)).write_h5ad(tmp_path / "x.h5ad")
    assert read(tmp_path / "x.h5ad").X.dtype == np.int32


def test_an_embedding_alone_is_enough(tmp_path):
    anndata.AnnData(obsm={"X_pca": np.ones((4, 2))}).write_h5ad(tmp_path / "x.h5ad")
    assert read(tmp_path / "x.h5ad").obsm["X_pca"].shape == (4, 2)


def test_the_table_of_formats_names_each_once():
    assert [form.name for form in FORMATS] == ["h5ad", "zarr", "loom", "10x-h5", "10x-mtx", "table"]
    assert all(suffix.startswith(".") for form in FORMATS for suffix in form.suffixes)


# --- bad input: each writes something under a folder and returns its path ---------------------------------------------


def raw(name, content):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def saved(adata):
    def make(folder):
        adata.write_h5ad(folder / "x.h5ad")
        return folder / "x.h5ad"

    return make


def hdf5(fill):
    def make(folder):
        with h5py.File(folder / "x.h5ad", "w") as file:
            fill(file)
        return folder / "x.h5ad"

    return make


def edited(fill):
    """A good h5ad, then spoilt."""

    def make(folder):
        cells().write_h5ad(folder / "x.h5ad")
        with h5py.File(folder / "x.h5ad", "r+") as file:
            fill(file)
        return folder / "x.h5ad"

    return make


def cut(share):
    def make(folder):
        cells(600).write_h5ad(folder / "x.h5ad")
        whole = (folder / "x.h5ad").read_bytes()
        (folder / "x.h5ad").write_bytes(whole[: int(len(whole) * share)])
        return folder / "x.h5ad"

    return make


def external_link(file):
    file["obs/secret"] = h5py.ExternalLink("/etc/passwd", "/")


def external_storage(file):
    file.create_dataset("layers/raw", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file):
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (10,))
    file.create_virtual_dataset("layers/raw", layout)


def huge(file):
    file.create_dataset("layers/raw", (10**7, 10**7), "f4", chunks=(1000, 1000))


def zarr_with(spoil):
    def make(folder):
        with anndata.settings.override(zarr_write_format=2):
            cells().write_zarr(folder / "x.zarr")
        spoil(folder / "x.zarr")
        return folder / "x.zarr"

    return make


def in_zarray(**changes):
    def spoil(store):
        (store / ".zmetadata").unlink()
        path = store / "obsm" / "X_pca" / ".zarray"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


PICKLED = {
    "dtype": "|O",
    "fill_value": "",
    "compressor": None,
    "filters": [{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 4}],
}


def zipped(name):
    def make(folder):
        with zipfile.ZipFile(folder / "x.zip", "w") as archive:
            archive.writestr(name, "text")
        return folder / "x.zip"

    return make


def archive(folder):
    (folder / "a.csv").write_text("a,b\n1,2\n")
    with tarfile.open(folder / "x.tar.gz", "w:gz") as file:
        file.add(folder / "a.csv", "a.csv")
    return folder / "x.tar.gz"


def lonely_matrix(folder):
    write_10x_mtx(folder, counts(5, 4))
    (folder / "barcodes.tsv.gz").unlink()
    return folder


def mismatched(folder):
    write_10x_mtx(folder, counts(5, 4))
    (folder / "barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\n"))
    return folder


def two_matrices(folder):
    write_10x_mtx(folder, counts(5, 4), prefix="a_")
    return write_10x_mtx(folder, counts(5, 4), prefix="b_")


def several(folder):
    for name in ("cells.h5ad", "cells.png", "pbmc.day1.h5ad", "pbmc.day2.h5ad"):
        (folder / name).touch()
    return folder


def empty_folder(folder):
    (folder / "nothing").mkdir()
    return folder / "nothing"


def two_genomes(folder):
    path = write_10x_h5(folder / "x.h5", counts(5, 4), version=2)
    with h5py.File(path, "r+") as file:
        file.copy("GRCh38", "mm10")
    return path


def greedy_matrix(folder):
    write_10x_mtx(folder, counts(5, 4), packed=False)
    (folder / "matrix.mtx").write_text("%%MatrixMarket matrix coordinate real general\n4 5 9000000000000\n1 1 1\n")
    return folder


def objects(file):
    del file["X"]
    file["X"] = np.array([[b"a"] * 40] * 60, dtype="S1")
    file["X"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})


BAD = {
    "missing": (lambda folder: folder / "none.h5ad", ["no file or folder", "none.h5ad"]),
    "misspelt": (lambda folder: saved(cells())(folder).with_name("xx.h5ad"), ["did you mean 'x.h5ad'?"]),
    "of one stem": (lambda folder: several(folder) / "cells.h5", ["did you mean 'cells.h5ad'?"]),
    "of one beginning": (lambda folder: several(folder) / "pbmc.dya1.h5ad", ["did you mean 'pbmc.day1.h5ad'?"]),
    "by its ending alone": (lambda folder: saved(cells())(folder).with_name("q.h5ad"), ["check the path"]),
    "no path": (lambda folder: "  ", ["No path"]),
    "web": (lambda folder: "https://example.org/x.h5ad", ["web address"]),
    "nul": (lambda folder: "a\0b", ["path"]),
    "no such home": (lambda folder: "~nobody-of-that-name/x.h5ad", ["nobody-of-that-name"]),
    "empty folder": (empty_folder, ["neither zarr nor 10x"]),
    "empty file": (raw("x.h5ad", b""), ["empty"]),
    "blank file": (raw("x.csv", b"\n \n"), ["empty"]),
    "empty gz": (raw("x.csv.gz", gzip.compress(b"")), ["empty"]),
    "cut gz": (raw("x.csv.gz", gzip.compress(os.urandom(100_000))[:50_000]), ["cut short"]),
    "not hdf5": (raw("x.h5ad", os.urandom(5000)), ["no format that can be read"]),
    "png": (raw("x.h5ad", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), ["no format that can be read"]),
    "only magic": (raw("x.h5ad", b"\x89HDF\r\n\x1a\n"), ["x.h5ad"]),
    "cut early": (cut(0.3), ["cut short"]),
    "cut late": (cut(0.95), ["cut short"]),
    "hdf5 of other things": (hdf5(lambda file: file.create_dataset("a", data=[1])), ["neither h5ad", "(it holds a)"]),
    "empty hdf5": (hdf5(lambda file: None), ["it holds nothing"]),
    "MuData": (hdf5(lambda file: [file.create_group(g) for g in ("mod", "obs", "var")]), ["MuData"]),
    "obs is a number": (hdf5(lambda file: file.update({"obs": 1, "var": 2, "X": 3})), ["cannot be read as h5ad"]),
    "no matrix inside": (edited(lambda file: file.__delitem__("X/data")), ["cannot be read as h5ad"]),
    "external link": (edited(external_link), ["links to another file", "secret"]),
    "external storage": (edited(external_storage), ["in other files", "raw"]),
    "virtual storage": (edited(virtual), ["in other files", "raw"]),
    "huge": (edited(huge), ["400,000.0 GB", "free"]),
    "text in X": (edited(objects), ["X", "expected numbers"]),
    "no cells": (saved(cells()[:0].copy()), ["no cells"]),
    "no genes": (saved(anndata.AnnData(obs=pd.DataFrame({"a": [1, 2]}, index=["x", "y"]))), ["no genes"]),
    "no values": (saved(anndata.AnnData(obs=pd.DataFrame(index=["a"]), var=pd.DataFrame(index=["g"]))), ["no values"]),
    "pickles": (zarr_with(in_zarray(**PICKLED)), ["pickles", "obsm/X_pca"]),
    "huge zarr": (zarr_with(in_zarray(shape=[10**7, 10**7])), ["400,000.0 GB"]),
    "spoilt zarr": (zarr_with(lambda store: (store / ".zmetadata").write_text("{")), ["zarr"]),
    "zarr of one array": (lambda folder: zarr.save_array(folder / "x", np.ones(3)) or folder / "x", ["zarr"]),
    "excel": (zipped("xl/workbook.xml"), ["Excel"]),
    "zip": (zipped("a.txt"), ["zip archive"]),
    "tar": (archive, ["unpack"]),
    "packed hdf5": (raw("x.h5ad.gz", gzip.compress(b"\x89HDF\r\n\x1a\n" + b"\0" * 100)), ["unpack"]),
    "R object": (raw("x.rds", gzip.compress(b"X\n\x00\x00\x00\x03")), ["R object"]),
    "lonely matrix": (lonely_matrix, ["barcodes.tsv", "beside"]),
    "mismatched names": (mismatched, ["5 cells by 4", "2"]),
    "two matrices": (two_matrices, ["2 matrices"]),
    "two genomes": (two_genomes, ["2 genomes", "GRCh38, mm10"]),
    "greedy matrix": (greedy_matrix, ["GB"]),
    "cut matrix": (raw("matrix.mtx", b"%%MatrixMarket matrix coord"), ["matrix.mtx"]),
    "one column": (raw("x.csv", b"a\n1\n2\n"), ["one column"]),
    "a text": (raw("notes.MD", b"# Notes\none, two\n"), ["'notes.MD'", "a kind (.md)", "expected h5ad"]),
    "packed text": (raw("notes.json.gz", gzip.compress(b"{}")), ["a kind (.json)"]),
    "header only": (raw("x.csv", b"cell,g1,g2\n"), ["no rows"]),
    "text as h5ad": (raw("x.h5ad", b"cell,type\na,B\nb,C\n"), ["not an HDF5 (.h5ad) file", ".csv or .tsv"]),
    "table as h5ad": (raw("x.h5ad", b"cell,g1,g2\na,1,2\nb,3,4\n"), ["not an HDF5 (.h5ad) file", ".csv or .tsv"]),
    "packed table as loom": (raw("x.LOOM", gzip.compress(b"g1,g2\n1,2\n")), ["not an HDF5 (.loom) file"]),
    "text only": (raw("x.csv", b"cell,type\na,B\nb,C\n"), ["no columns of numbers"]),
    "ragged": (raw("x.csv", b"cell,g1,g2\na,1,2\nb,1,2,3,4\n"), ["line 3"]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence(tmp_path, case):
    make, words = BAD[case]
    path = make(tmp_path)
    with one_sentence(*words):
        open_file(path)


def test_a_small_file_that_declares_more_than_is_free(tmp_path, monkeypatch):
    path = edited(lambda file: file.create_dataset("layers/raw", (60, 10**7), "f4", chunks=(60, 1000)))(tmp_path)
    assert path.stat().st_size < 200_000
    free = psutil.virtual_memory()._replace(available=10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with one_sentence("needs 2.4 GB", "1.0 GB are free"):
        open_file(path)


@pytest.mark.filterwarnings("ignore")
def test_pickles_do_not_run(tmp_path, monkeypatch):
    """A chunk that makes a folder when it is unpickled: it does so for zarr itself, and must not here."""
    monkeypatch.setattr(numcodecs.pickles, "ALLOW_UNSAFE_PICKLE_DECODE", True, raising=False)  # as it was until 2025

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = BAD["pickles"][0](tmp_path)
    for chunk in (path / "obsm/X_pca").glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(Bomb()))
    with contextlib.suppress(Exception):
        zarr.open_group(path, mode="r")["obsm/X_pca"][:]
    (tmp_path / "exploded").rmdir()
    with one_sentence("pickles"):
        open_file(path)
    assert not (tmp_path / "exploded").exists()


def test_a_circle_of_links_ends(tmp_path):
    def circle(file):
        file["uns/round"] = file["uns"]

    path = edited(circle)(tmp_path)
    assert sniff(path) == "h5ad"


some_bytes = st.one_of(st.binary(max_size=400), st.text(max_size=200).map(str.encode))
near_tables = st.text('0123456789,;\t\n .ae"-', max_size=80).map(str.encode)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_bytes | near_tables)
def test_any_bytes_give_cells_or_one_sentence(tmp_path, content):
    (tmp_path / "any.csv").write_bytes(content)
    try:
        adata = read(tmp_path / "any.csv")
    except UserError as error:
        text = str(error)
    else:
        text = "" if min(adata.shape) > 0 else "nothing was read\n"
    assert "\n" not in text
