"""Data sets by name: the bundled sample, and public ones fetched once, checked and cached.

A set is looked for in the folder named by ``CELLSTREAM_DATA_DIR``, in the bundled ``sample_data``, in the user's
cache, and then fetched from its public address. Its **content** is what is pinned: a SHA-256 over the matrix, the
names and the times, so that a file is accepted or refused for what it says, whatever its line ends or compression.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pooch
from anndata import AnnData
from scipy.sparse import issparse

from cellstream.errors import UserError

# raw files, at the commits at which their text was read and compared with the digests below
MUTRANS = "https://raw.githubusercontent.com/cliffzhou92/MuTrans-release"
RUOT = "https://raw.githubusercontent.com/zhenyiizhang/DeepRUOTv2/a47fcb035c76f1aaaec41b3d9a7ccce1638a360a"
TIGON = "https://raw.githubusercontent.com/yutongo/TIGON/3ed71f9de6d277d5f605b7f7453ad22580907e79"
TIMEOUT = 30  # seconds without an answer from a server


@dataclass(frozen=True)
class Dataset:
    """A named data set and where it comes from.

    ``sha256`` is ``content_sha256`` of the AnnData; ``urls`` are the raw public files, turned into it by ``convert``
    (no urls: bundled with the program). ``cells`` and ``features`` count its rows and columns.
    """

    name: str
    title: str
    citation: str
    doi: str
    urls: tuple[str, ...]
    convert: Callable[[Sequence[Path]], AnnData] | None
    file: str
    sha256: str
    time_key: str
    cells: int
    features: int
    licence: str
    note: str


def _ipsc(files: Sequence[Path]) -> AnnData:
    matrix, genes, times = files
    x = pd.read_csv(matrix, header=None, float_precision="round_trip").to_numpy(np.float32)
    time = pd.read_csv(times, header=None)[0].to_numpy(np.float64)
    adata = _assemble(x, time, [f"day {t:g}" for t in time])
    adata.var_names = pd.read_csv(genes, header=None, keep_default_na=False)[0].astype(str).tolist()
    adata.obs["fate_day3_derived"] = _day3_fates(adata)
    return adata


def _day3_fates(adata: AnnData) -> pd.Categorical:
    """Endoderm (En) or mesoderm (M) of the day-3 cells: two Gaussians on three components; SOX17 marks endoderm.

    Not a published annotation. The two groups lie far apart, so the labels do not depend on the seed.
    """
    from sklearn.decomposition import PCA  # half a second to import, needed once in a data set's life
    from sklearn.mixture import GaussianMixture

    last = np.flatnonzero(adata.obs["time"] == 3)
    pcs = PCA(3, random_state=0).fit_transform(adata.X[last])
    group = GaussianMixture(2, random_state=0).fit_predict(pcs)
    sox17 = np.asarray(adata[last, "SOX17"].X).ravel()
    endoderm = int(sox17[group == 1].mean() > sox17[group == 0].mean())
    fates = np.full(adata.n_obs, "not assigned", dtype=object)
    fates[last] = np.where(group == endoderm, "En", "M")
    return pd.Categorical(fates)


def _emt(files: Sequence[Path]) -> AnnData:
    table = pd.read_csv(files[0], float_precision="round_trip")
    labels = pd.read_csv(files[1], index_col=0)["x"]
    x = table.drop(columns="samples").to_numpy(np.float32)
    adata = _assemble(x, table["samples"].to_numpy(np.float64), labels.tolist())
    adata.obs_names = labels.index.astype(str).tolist()
    adata.var_names = [f"AE{i + 1}" for i in range(adata.n_vars)]
    adata.obs["time_days"] = labels.map({"0d": 0.0, "8h": 1 / 3, "1d": 1.0, "3d": 3.0, "7d": 7.0}).to_numpy(np.float64)
    return adata


def _assemble(x: np.ndarray, time: np.ndarray, labels: Sequence[str]) -> AnnData:
    obs = pd.DataFrame({"time": time, "time_label": pd.Categorical(labels)}, index=[str(i) for i in range(len(x))])
    return AnnData(x, obs=obs)


DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="branching",
            title="Simulated blood: progenitors to erythroid cells, monocytes and neutrophils",
            citation="Simulated by the CellStream developers",
            doi="",
            urls=(),
            convert=None,
            file="branching.h5ad",
            sha256="26f506eb3dc5b446c208eb7a4b807a6b0aff80075642afde983ad0bb35462c01",
            time_key="day",
            cells=2736,
            features=300,
            licence="BSD-3-Clause",
            note="Raw counts over six days with known velocity, growth and lineage.",
        ),
        Dataset(
            name="ipsc",
            title="Human iPSC to cardiomyocytes, days 0 to 3, single-cell qPCR",
            citation="Bargaje et al. (2017), Cell population structure prior to bifurcation predicts efficiency of "
            "directed differentiation in human induced pluripotent cells, PNAS 114:2271",
            doi="10.1073/pnas.1621412114",
            urls=(
                f"{MUTRANS}/ebd050aec9a229eabd44ee7705c26f072c2fab4a/Data/data_ipsc.csv",
                f"{MUTRANS}/ebd050aec9a229eabd44ee7705c26f072c2fab4a/Data/ipsc_genes.csv",
                f"{MUTRANS}/55455d9d0351bd64e38a0a2e9a72a1b33bfec214/Data/ipsc_time.csv",
            ),
            convert=_ipsc,
            file="ipsc_bargaje2017.h5ad",
            sha256="3bc17ec1f589132c834cbb945ea793cb03f4197b63ffc649c347d2fc9cff105d",
            time_key="time",
            cells=1081,
            features=96,
            licence="none stated by the source",
            note="log(1 + x) of 96 genes; time in days; day-3 fates derived from marker genes, not published.",
        ),
        Dataset(
            name="emt",
            title="Epithelial-to-mesenchymal transition of A549 cells under TGFB1, 0 h to 3 days and later",
            citation="Cook and Vanderhyden (2020), Context specificity of the EMT transcriptional response, "
            "Nature Communications 11:2142",
            doi="10.1038/s41467-020-16066-2",
            urls=(f"{RUOT}/data/emt.csv", f"{TIGON}/EMT_data/AE_EMT_time.csv"),
            convert=_emt,
            file="emt_cook2020_ae10.h5ad",
            sha256="d5d104ce78c7edca5bcdc53a6189ab1fac23fb2f760f13759d6d8bdfadeaa3b6",
            time_key="time",
            cells=3133,
            features=10,
            licence="MIT (DeepRUOTv2); none stated for the labels (TIGON)",
            note="10 latent features, not genes; time counts the steps 0 d, 8 h, 1 d, 3 d, with 129 cells of day 7 in "
            "the last; time_days holds real days.",
        ),
    )
}


def available() -> list[Dataset]:
    """All data sets that ``load`` knows, the bundled one first."""
    return list(DATASETS.values())


def load(name: str) -> AnnData:
    """The data set as an AnnData, fetched where it is not on this machine yet.

    Raises:
        UserError: unknown name, no network, or a file whose content is not the data set's.
    """
    return _obtain(name)[1]


def fetch(name: str) -> Path:
    """Path of the data set's checked ``.h5ad`` on this machine, fetched first where needed; raises as ``load``."""
    return _obtain(name)[0]


def _obtain(name: str) -> tuple[Path, AnnData]:
    if name not in DATASETS:
        raise UserError(f"There is no data set '{name}'; choose one of: {', '.join(DATASETS)}.")
    dataset = DATASETS[name]
    for folder in (*_data_folders(), *_sample_folders(), _cache()):
        if (path := folder / dataset.file).is_file():
            return path, _read(path, dataset)
    if not dataset.urls:
        raise UserError(
            f"The sample '{name}' is missing from this installation; make it with "
            f"'cellstream simulate {name} --out {dataset.file} --seed 0' and open that file."
        )
    adata = _download(dataset)
    path = _cache() / dataset.file
    _write(adata, path)
    return path, adata


def content_sha256(adata: AnnData, time_key: str) -> str:
    """SHA-256 of what a data set says: shape, cell and feature names, times, and X as little-endian float32."""
    x = adata.X.toarray() if issparse(adata.X) else np.asarray(adata.X)
    digest = hashlib.sha256(repr(x.shape).encode())
    for words in (adata.obs_names, adata.var_names, adata.obs[time_key]):
        digest.update("\n".join(map(str, words)).encode() + b"\0")
    digest.update(np.ascontiguousarray(x, dtype="<f4").tobytes())
    return digest.hexdigest()


def _read(path: Path, dataset: Dataset) -> AnnData:
    try:
        adata = anndata.read_h5ad(path)
        genuine = content_sha256(adata, dataset.time_key) == dataset.sha256
    except (OSError, KeyError, ValueError):  # anndata wraps a broken file's error in one of these
        genuine = False
    if not genuine:
        raise UserError(f"{path} does not hold the data set '{dataset.name}' that it is named after; remove it.")
    return adata


def _download(dataset: Dataset) -> AnnData:
    assert dataset.convert is not None
    pooch.get_logger().setLevel("WARNING")  # its notes on unpinned files are not for our user: the content is pinned
    folder = _cache() / "downloads"
    files = []
    for url in dataset.urls:
        try:
            downloader = pooch.HTTPDownloader(timeout=TIMEOUT)
            files.append(Path(pooch.retrieve(url, None, url.rsplit("/", 1)[1], folder, downloader=downloader)))
        except OSError as error:
            raise UserError(
                f"Cannot fetch the data set '{dataset.name}' from {url} ({type(error).__name__}); connect to the "
                f"internet, or put the file(s) {' and '.join(dataset.urls)} into {folder}, and try again."
            ) from error
    try:
        adata = dataset.convert(files)
        genuine = content_sha256(adata, dataset.time_key) == dataset.sha256
    except (ValueError, KeyError, IndexError):
        genuine = False
    if not genuine:
        for file in files:  # kept, they would be taken for good at the next try
            file.unlink()
        raise UserError(
            f"What came from {' and '.join(dataset.urls)} is not the data set '{dataset.name}' (its SHA-256 differs), "
            "so it was thrown away; try again, and if it stays so, the source has changed."
        )
    return adata


def _write(adata: AnnData, path: Path) -> None:
    """Write beside the place and move: whoever reads meanwhile sees a whole file or none."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        adata.write_h5ad(Path(folder) / path.name, compression="gzip")
        os.replace(Path(folder) / path.name, path)


def _data_folders() -> list[Path]:
    folder = os.environ.get("CELLSTREAM_DATA_DIR")
    return [Path(folder)] if folder else []


def _sample_folders() -> list[Path]:
    """``sample_data`` of a source checkout, and the copy of it that an installation keeps inside the app's package."""
    app = importlib.util.find_spec("cellstream_app")  # found, not imported: the library runs without the screen
    inside = list(app.submodule_search_locations or []) if app else []
    return [Path(__file__).resolve().parents[2] / "sample_data", *(Path(place) / "sample_data" for place in inside)]


def _cache() -> Path:
    return Path(pooch.os_cache("cellstream"))
