"""CellStream's preset ``best``: what it says of the later time points in the input space and in its embedding.

Beside ``points``, which are decoded, ``kept`` are the cells of the first time point in the input space plus what the
decoder says of their way, x + dec(z(t)) − dec(z(t₀)), so that what the embedding cannot hold is kept; ``moved`` are the
same cells in the embedding, and ``cells`` all observed ones. Time is that of training from the prepared snapshots to
the result.
"""

from __future__ import annotations

from importlib.metadata import version

import anndata
import numpy as np
import torch
from recorded import Clock, asked, write

from cellstream.benchmark.methods import ours
from cellstream.snapshots import from_anndata


def main() -> None:
    args, clock = asked(__doc__), Clock()
    torch.set_num_threads(1)  # its default, see config.Compute
    snapshots = from_anndata(anndata.read_h5ad(args.data), "time")
    changes = {} if args.latent_dim is None else dict(latent_dim=args.latent_dim)
    entry = ours("best", quick=args.epochs is not None, **changes)
    stream = clock.around(entry.fit)(snapshots, args.seed, lambda step, total: None)

    x, index = snapshots.x.numpy(), snapshots.index.numpy()
    times = snapshots.times.numpy().astype(np.float64)
    cells = stream.encode(x, times[index])
    first = index == 0
    flow = stream.push(cells[first], times[0], times[1:])
    points = np.stack([stream.decode(z) for z in flow.z])
    kept = x[first] + points - stream.decode(cells[first])
    told = dict(preset="best", dimensions=stream.latent_dim, threads=torch.get_num_threads())
    clouds = dict(points=points, weights=np.exp(flow.log_w), kept=kept, moved=flow.z, cells=cells)
    write(args.out, clock, version("cellstream"), told, **clouds)


if __name__ == "__main__":
    main()
