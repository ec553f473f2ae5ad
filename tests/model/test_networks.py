"""The networks' own units: what scaling promises, worked out from the unscaled networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import make_interp_spline

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
        field = kind(Networks(), 2)
        plain = field(t, y)
        field.set_scaling(z.split(25), torch.arange(2.0), torch.ones(2))
        torch.testing.assert_close(field(t, at), factor * plain, rtol=1e-4, atol=1e-5)


def test_a_moving_frame_carries_the_population_and_its_mass():
    """With networks that say nothing, cells follow their means and the log mass its course, straight from each to the
    next, as scipy draws them; at a time point the rate is that of the interval which begins."""
    rng, tau, mass = np.random.default_rng(0), np.array([0.0, 1.0, 2.5, 3.0]), np.array([1, 0.7, 0.4, 0.9])
    z = [torch.tensor(rng.normal(m, 0.3, (20, 2)), dtype=torch.float32) for m in ([0, 0], [1, 2], [3, 1], [3, -2])]
    settings = Networks(frame="moving")
    velocity, growth = Velocity(settings, 4), Growth(settings, 4)
    for field in (velocity, growth):
        field.set_scaling(z, torch.tensor(tau, dtype=torch.float32), torch.tensor(mass, dtype=torch.float32))
        for part in field.requires_grad_(False).net.parameters():
            part.zero_()
    means = make_interp_spline(tau, [part.double().mean(0).numpy() for part in z], k=1)
    logs = make_interp_spline(tau, np.log(mass), k=1)
    t = np.linspace(0, 3, 31)
    at, here = torch.tensor(t, dtype=torch.float32), torch.zeros(31, 2)
    np.testing.assert_allclose(velocity(at, here), means.derivative()(t), atol=1e-5)
    np.testing.assert_allclose(growth(at, here), logs.derivative()(t), atol=1e-5)
    # the solver asks for all particles at one time, given as a number
    np.testing.assert_allclose(velocity(at[7], here[:3]), np.tile(means.derivative()(t[7]), (3, 1)), atol=1e-5)
    np.testing.assert_allclose(growth(at[7], here[:3]), logs.derivative()(t[7]).repeat(3), atol=1e-5)
    path = velocity.course(at)[0]
    np.testing.assert_allclose(path, means(t), atol=1e-5)


def test_in_a_moving_frame_the_networks_see_the_distance_from_the_mean():
    """v(t, c(t) + l y) − ċ(t) = l v₀(t, y), with c the mean of the cells at t and l² their mean variance about it."""
    g = torch.Generator().manual_seed(0)
    z = [torch.randn(30, 2, generator=g) * s + m for s, m in ((1.0, 0.0), (2.0, 7.0), (3.0, 8.0))]
    length = np.sqrt(np.mean([part.numpy().var(0, ddof=1) for part in z]))
    tau, y = torch.arange(3.0), torch.randn(3, 2, generator=g)
    centre = torch.stack([part.mean(0) for part in z])
    for kind, factor in ((Velocity, float(length)), (Growth, 1.0)):
        field = kind(Networks(frame="moving"), 3)
        plain = field(tau, y)
        field.set_scaling(z, tau, torch.ones(3))
        rate = field.course(tau)[1] if kind is Velocity else 0
        torch.testing.assert_close(field(tau, centre + float(length) * y) - rate, factor * plain, rtol=1e-4, atol=1e-4)


def test_added_time_only_shifts_the_map():
    """z(t, x) = h(x) + t u: between two times all cells move alike, and the map bends alike."""
    settings = Networks(time_input="added", input_scaling="none", autoencoder_activation="silu")
    net = Autoencoder(5, settings).requires_grad_(False)
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    early, middle, late = (net.encode(torch.full((9,), t), x) for t in (0.0, 1.0, 3.0))
    torch.testing.assert_close(late - early, 3 * (middle - early))
    torch.testing.assert_close(middle - early, (middle - early)[:1].expand(9, 2))
    assert (middle - early).abs().min() > 0
    assert early.std(0).min() > 0


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
