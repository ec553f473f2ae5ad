"""Embeddings of the cells by other tools, as autoencoders: what they say of cells, and the way back to the features."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cellstream.config import Config
from cellstream.cores import torch_threads
from cellstream.errors import UserError
from cellstream.held_out import held_out
from cellstream.lookup import Lookup
from cellstream.networks import Autoencoder
from cellstream.snapshots import Snapshots

NEIGHBOURS = 15
"""Cells of a neighbourhood in UMAP and in diffusion maps (scanpy's default)."""
PERPLEXITY = 30
"""Of t-SNE (scanpy's default)."""
HELD_OUT = 0.05
"""Share of the cells that neither the decoder nor the dynamics see, as in our own preset."""
DECODER = dict(decoder_layers=3, decoder_width=64, autoencoder_activation="tanh")
"""The decoder for embeddings that have none: of the size of our preset "best"; but Tanh, which stays within bounds at
cells that an embedding has flung far out (t-SNE of 271 cells of iPSC, held-out cells: R² 0.32; with SiLU −55)."""


def features(snapshots: Snapshots) -> Float[np.ndarray, "n p"]:
    """The cells' features. Raises :class:`UserError` where they do not tell cells apart."""
    x = snapshots.x.cpu().numpy().astype(np.float32)
    if not np.isfinite(x).all():
        raise UserError("Expected features that are finite numbers, but some are missing or infinite: leave them out.")
    if not np.ptp(x, axis=0).any():
        raise UserError(
            "Expected cells that differ, but every feature is the same in all cells: choose other features."
        )
    return x


def tsne(snapshots: Snapshots, seed: int) -> Float[np.ndarray, "n 2"]:
    """t-SNE (van der Maaten & Hinton, JMLR 2008) by scanpy; perplexity 30, below a third of the cells."""
    import scanpy as sc

    adata = _anndata(snapshots)
    perplexity = min(PERPLEXITY, (adata.n_obs - 1) / 3)
    with torch_threads():
        sc.tl.tsne(adata, use_rep="X", perplexity=perplexity, random_state=seed)
    return adata.obsm["X_tsne"]


def umap(snapshots: Snapshots, seed: int) -> Float[np.ndarray, "n 2"]:
    """UMAP (McInnes et al. 2018) by scanpy, on the graph of 15 neighbours."""
    import scanpy as sc

    adata = _graph(snapshots, seed)
    # its spectral start needs a few cells more than it has dimensions
    with torch_threads():
        sc.tl.umap(adata, init_pos="spectral" if adata.n_obs > 10 else "random", random_state=seed)
    return adata.obsm["X_umap"]


def diffusion_map(snapshots: Snapshots, seed: int) -> Float[np.ndarray, "n 2"]:
    """The first two diffusion components (Coifman & Lafon 2006; Haghverdi et al. 2016) by scanpy, on the graph of 15
    neighbours; the constant one before them is left out."""
    import scanpy as sc

    adata = _graph(snapshots, seed)
    with torch_threads():
        sc.tl.diffmap(adata, n_comps=3, random_state=seed)
    return adata.obsm["X_diffmap"][:, 1:3]


EMBEDDINGS: dict[str, Callable[[Snapshots, int], np.ndarray]] = {
    "t-SNE": tsne,
    "UMAP": umap,
    "diffusion map": diffusion_map,
}
"""By their names in tables; PCA is :func:`principal`."""


def principal(snapshots: Snapshots, d: int, config: Config) -> tuple[Autoencoder, Config]:
    """PCA as an autoencoder of one linear layer each way: exact on the span of the components.

    With fewer than ``d`` components the rest of the axes is zero. Also the settings that describe it.
    """
    from sklearn.decomposition import PCA

    x = features(snapshots)
    found = PCA(min(d, *x.shape), random_state=0).fit(x)
    axes = np.zeros((d, x.shape[1]))
    axes[: len(found.components_)] = found.components_
    config = config.with_settings(latent_dim=d, encoder_layers=0, decoder_layers=0, input_scaling="none")
    autoencoder = Autoencoder(x.shape[1], config.networks)
    with torch.no_grad():
        for part in autoencoder.parameters():
            part.zero_()
        mean, directions = (torch.as_tensor(part, dtype=torch.float32) for part in (found.mean_, axes))
        autoencoder.shift[0], autoencoder.shift[1:] = snapshots.tau[snapshots.index].mean(), mean
        linear(autoencoder.encoder).weight[:, 1:] = directions
        linear(autoencoder.decoder).weight[1:] = directions.T
    return autoencoder, config


def looked_up(
    snapshots: Snapshots, z: Float[np.ndarray, "n d"], config: Config, steps: int
) -> tuple[Autoencoder, Config]:
    """An embedding that is only known at the cells, as an autoencoder whose encoder looks them up and whose decoder is
    fitted afterwards, on the cells that are not held out. Also the settings that describe it."""
    config = config.with_settings(
        latent_dim=z.shape[1], encoder_layers=0, input_scaling="standardise", held_out=HELD_OUT, **DECODER
    )
    tau, x = snapshots.tau[snapshots.index].float(), snapshots.x.float()
    seen = ~held_out(snapshots, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.compute.seed)
        autoencoder = Autoencoder(x.shape[1], config.networks)
        autoencoder.set_scaling(tau[seen], x[seen], config.networks)
        joined = autoencoder.joined(tau, x)
        autoencoder.encoder = Lookup.of(joined, torch.as_tensor(z, dtype=torch.float32))
        # of few cells it learns the noise when it is fitted for long
        steps = min(steps, int(seen.sum()))
        fit_decoder(autoencoder.decoder, autoencoder.encoder(joined)[seen], joined[seen], steps)
    return autoencoder, config


def fit_decoder(
    decoder: nn.Sequential, z: Float[Tensor, "n d"], joined: Float[Tensor, "n q"], steps: int, batch: int = 512
) -> None:
    """Regress ``(t, x)`` on the places of the cells, by Adam with a rate that falls from 5e-3 to 0 along a cosine."""
    mean, sd = z.mean(0), z.std(0).clamp_min(1e-12)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        cells = torch.randperm(len(z))[:batch]
        loss = torch.nn.functional.mse_loss(decoder((z[cells] - mean) / sd), joined[cells])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    # the embedding's own units go into the first layer
    first = linear(decoder)
    with torch.no_grad():
        first.weight.div_(sd)
        first.bias.sub_(first.weight @ mean)


def linear(network: nn.Module) -> nn.Linear:
    """The first layer."""
    layer = next(network.children())
    assert isinstance(layer, nn.Linear)
    return layer


def checked(snapshots: Snapshots, z: np.ndarray, name: str) -> Float[np.ndarray, "n d"]:
    """``z`` as an embedding of these cells. Raises :class:`UserError` where it is none."""
    z = np.asarray(z)
    n = len(snapshots.x)
    if z.ndim != 2 or len(z) != n or not 1 <= z.shape[1] <= 100:
        raise UserError(
            f"Expected an embedding of {n:,} cells in 1 to 100 columns for {name}, but got one of shape {z.shape}: "
            "give one row per cell of the snapshots, in their order."
        )
    z = z.astype(np.float32)
    missing: Bool[np.ndarray, " n"] = ~np.isfinite(z).all(1)
    if missing.any():
        raise UserError(
            f"Expected finite numbers in the embedding for {name}, but {int(missing.sum()):,} of {n:,} cells have "
            "values that are missing or infinite: leave these cells out, or choose another embedding."
        )
    if not np.ptp(z, axis=0).any():
        raise UserError(f"Expected cells at different places for {name}, but all are at one: choose another embedding.")
    return z


def _anndata(snapshots: Snapshots):
    from anndata import AnnData

    return AnnData(features(snapshots))


def _graph(snapshots: Snapshots, seed: int):
    """The cells with scanpy's graph of neighbours; at most all others."""
    import scanpy as sc

    adata = _anndata(snapshots)
    with torch_threads(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several components: they are embedded side by side
        sc.pp.neighbors(adata, n_neighbors=min(NEIGHBOURS, adata.n_obs - 1), use_rep="X", random_state=seed)
    return adata
