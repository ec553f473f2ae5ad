"""The networks' own units: what scaling promises, worked out from the unscaled networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellstream.config import Networks
from cellstream.networks import Autoencoder, Growth, Magnification, Velocity


def test_a_scaled_field_is_the_same_field_on_the_scaled_embedding():
    """v(t, c + l y) = l v₀(t, y) and g(t, c + l y) = g₀(t, y), with c the cells' mean and l² their mean variance."""
    g = torch.Generator().manual_seed(0)
    y, z = torch.randn(9, 2, generator=g), torch.randn(50, 2, generator=g) * torch.tensor([3.0, 7.0]) + 5
    t = torch.rand(9, generator=g)
    centre, length = z.numpy().mean(0), np.sqrt(z.numpy().var(0, ddof=1).mean())
    at = torch.tensor(centre) + float(length) * y
    for kind, factor in ((Velocity, float(length)), (Growth, 1.0)):
        field = kind(Networks())
        plain = field(t, y)
        field.set_scaling(z)
        torch.testing.assert_close(field(t, at), factor * plain, rtol=1e-4, atol=1e-5)


def test_magnified_the_embedding_has_one_size():
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)) * 6 + 3
    magnified = Magnification(10.0)(z)
    assert magnified.var(0).sum().item() == pytest.approx(100, rel=1e-5)
    torch.testing.assert_close(magnified, Magnification(10.0)(z * 37))


@pytest.mark.parametrize("how", ["none", "standardise", "common"])
def test_inputs_have_the_chosen_units(how):
    rng = np.random.default_rng(0)
    x, tau = rng.normal(3, [1, 5, 0.2], (300, 3)), np.repeat([0.0, 1.0, 2.0], 100)
    settings = Networks(input_scaling=how, time_separation=1.5)
    net = Autoencoder(3, settings).double()
    net.set_scaling(torch.tensor(tau), torch.tensor(x), settings)
    sd = x.std(0, ddof=1)
    expected = {
        "none": np.column_stack([tau * 1.5, x]),
        "standardise": np.column_stack([(tau - 1) * 1.5, (x - x.mean(0)) / sd]),
        "common": np.column_stack([(tau - 1) * 1.5, (x - x.mean(0)) / np.sqrt((sd**2).mean())]),
    }[how]
    np.testing.assert_allclose(net.joined(torch.tensor(tau), torch.tensor(x)).numpy(), expected, atol=1e-5)
    # a decoder that answers with the network's units gives back the data's
    net.decoder = torch.nn.Identity()
    back_tau, back_x = net.decode(torch.tensor(expected))
    np.testing.assert_allclose(back_tau, tau, atol=1e-5)
    np.testing.assert_allclose(back_x, x, atol=1e-5)
