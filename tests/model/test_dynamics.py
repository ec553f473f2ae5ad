"""The solver against equations whose solution is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchdiffeq import odeint

from cellstream import dynamics, runge_kutta
from cellstream.config import Integration, Networks
from cellstream.dynamics import FIXED_STEP, integrate
from cellstream.evaluation import evaluate
from cellstream.networks import Growth, Velocity
from cellstream.presets import preset
from cellstream.state import State
from cellstream.training import train
from tests.conftest import TINY

METHODS = {"euler": 2e-2, "midpoint": 1e-3, "rk4": 1e-5, "dopri5": 1e-4, "bosh3": 1e-3, "adaptive_heun": 1e-3}
TIMES = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
Z = torch.tensor([[1.0, 0.0], [0.5, -2.0]], dtype=torch.float64)


def turn(t: Tensor, z: Tensor) -> Tensor:
    """Rotation with angular speed 1: z(t) = R(t) z(0)."""
    return torch.stack([-z[:, 1], z[:, 0]], 1)


def still(t: Tensor, z: Tensor) -> Tensor:
    return torch.zeros_like(z)


def seasonal(t: Tensor, z: Tensor) -> Tensor:
    """g = cos t, so that log w grows by sin t."""
    return torch.cos(t).expand(len(z))


def settings(method: str) -> Integration:
    return Integration(method=method, steps_per_interval=100 if method in FIXED_STEP else 1, rtol=1e-6, atol=1e-7)


def test_every_method_is_tried():
    choices = Integration.__dataclass_fields__["method"].metadata["choices"]
    assert set(choices) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_rotation_and_seasonal_growth(method):
    path = integrate(turn, seasonal, Z, torch.zeros(2, dtype=torch.float64), TIMES, 1.0, settings(method))
    for i, t in enumerate(TIMES):
        c, s = torch.cos(t), torch.sin(t)
        expected = Z @ torch.stack([torch.stack([c, s]), torch.stack([-s, c])])
        torch.testing.assert_close(path.z[i], expected, atol=METHODS[method] * 3, rtol=0)
        torch.testing.assert_close(path.log_w[i], torch.sin(t).expand(2), atol=METHODS[method], rtol=0)


def test_mass_follows_the_integral_of_growth():
    """Σ w(t) = Σ w(0) e^{∫g}: with g = 0.7 everywhere the population grows as e^{0.7 t}."""
    log_w = torch.log(torch.tensor([0.25, 0.75], dtype=torch.float64))
    rate = lambda t, z: torch.full_like(z[:, 0], 0.7)  # noqa: E731
    path = integrate(turn, rate, Z, log_w, TIMES, 1.0, settings("dopri5"))
    torch.testing.assert_close(path.mass, torch.exp(0.7 * TIMES), atol=1e-5, rtol=0)


def test_action_has_its_closed_form():
    """At constant speed u and growth g: ∫ (|u|² + α g²) w e^{gt} dt = (|u|² + α g²) w (e^{gT} − 1) / g."""
    u, g, alpha, w = torch.tensor([3.0, 4.0], dtype=torch.float64), 0.4, 2.0, 0.5
    log_w = torch.full((2,), math.log(w), dtype=torch.float64)
    path = integrate(
        lambda t, z: u.expand_as(z), lambda t, z: torch.full_like(z[:, 0], g), Z, log_w, TIMES, alpha, settings("rk4")
    )
    expected = (25 + alpha * g**2) * w * (math.exp(g * 2.0) - 1) / g
    torch.testing.assert_close(path.action[-1], torch.full((2,), expected, dtype=torch.float64), rtol=1e-6, atol=0)


def test_unit_of_length_scales_the_movement_and_not_the_growth():
    u = torch.tensor([3.0, 4.0], dtype=torch.float64)
    start = torch.zeros(2, dtype=torch.float64)

    def run(length, v):
        return integrate(lambda t, z: v.expand_as(z), seasonal, Z, start, TIMES, 1.0, settings("rk4"), length).action[
            -1
        ]

    torch.testing.assert_close(run(5.0, u), run(1.0, u / 5))


def test_backward_undoes_forward():
    there = integrate(turn, seasonal, Z, torch.zeros(2, dtype=torch.float64), TIMES, 1.0, settings("dopri5"))
    back = integrate(turn, seasonal, there.z[-1], there.log_w[-1], TIMES.flip(0), 1.0, settings("dopri5"))
    torch.testing.assert_close(back.z[-1], Z, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.log_w[-1], torch.zeros(2, dtype=torch.float64), atol=1e-4, rtol=0)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_fields_may_jump_at_the_times(method, back):
    """v = (k, -k) and g = k / 10 in interval k = 1, 2, 3: exact to any method, if no step looks past its ends."""
    times = torch.tensor([0.0, 0.5, 2.0, 2.25], dtype=torch.float64)
    pace = lambda t: torch.searchsorted(times, t, right=True).clamp(1, 3)  # noqa: E731
    velocity = lambda t, z: pace(t) * torch.tensor([1.0, -1.0], dtype=torch.float64).expand_as(z)  # noqa: E731
    growth = lambda t, z: (pace(t) / 10).expand(len(z)).double()  # noqa: E731
    way = torch.tensor([0, 0.5, 3.5, 4.25], dtype=torch.float64)
    coarse = Integration(method=method, steps_per_interval=2, rtol=1e-6, atol=1e-7)
    asked, way = (times.flip(0), way.flip(0) - way[-1]) if back else (times, way)
    path = integrate(velocity, growth, Z, torch.zeros(2, dtype=torch.float64), asked, 1.0, coarse)
    step = torch.stack([way, -way], 1)[:, None]
    torch.testing.assert_close(path.z, Z + step, atol=1e-5, rtol=0)
    torch.testing.assert_close(path.log_w, (way / 10)[:, None].expand(4, 2), atol=1e-5, rtol=0)


def test_fixed_steps_meet_every_time_exactly():
    """Uneven gaps: the same number of steps falls into each, so a constant field is exact at every time."""
    times = torch.tensor([0.0, 0.1, 5.0], dtype=torch.float64)
    u = torch.tensor([1.0, -1.0], dtype=torch.float64)
    one = Integration(method="euler", steps_per_interval=1)
    path = integrate(lambda t, z: u.expand_as(z), seasonal, Z, torch.zeros(2, dtype=torch.float64), times, 1.0, one)
    torch.testing.assert_close(path.z, Z + times[:, None, None] * u)


@pytest.fixture(params=[("still", 4), ("moving", 4), ("moving", 0)])
def fields(request):
    """Velocity and growth that depend on time, place and interval, in double precision."""
    torch.manual_seed(0)
    frame, layers = request.param
    settings = Networks(frame=frame, latent_dim=2, velocity_width=8, velocity_layers=layers, growth_width=8)
    velocity, growth = (net(settings, 3).double() for net in (Velocity, Growth))
    z = [torch.randn(9, 2, dtype=torch.float64) + i for i in range(3)]
    for net in (velocity, growth):
        net.set_scaling(z, torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64), torch.tensor([1.0, 1.5, 0.5]).double())
    return velocity, growth


def plainly(velocity, growth, z, log_w, times, alpha, method, n, length):
    """Everything stepped together by torchdiffeq, as :func:`integrate` has it for adaptive methods."""
    parts = torch.arange(n, dtype=z.dtype) / n
    grid = torch.cat([(times[:-1, None] + times.diff()[:, None] * parts).flatten(), times[-1:]])

    def rate(t, state):
        v, g = velocity(t, state[:, :-2]), growth(t, state[:, :-2])
        da = ((v**2).sum(1) / length**2 + alpha * g**2) * state[:, -2].exp()
        return torch.cat([v, g[:, None], da[:, None]], 1)

    start = torch.cat([z, log_w[:, None], torch.zeros_like(log_w)[:, None]], 1)
    how = dict(grid_constructor=lambda f, y, t: grid, perturb=True)
    states = odeint(rate, start, times, method=method, options=how)
    return states[..., :-2], states[..., -2], states[..., -1]


@pytest.mark.parametrize("at_once", [1, 10**6])
@pytest.mark.parametrize("method", FIXED_STEP)
def test_fixed_steps_are_those_of_torchdiffeq(monkeypatch, fields, method, at_once):
    """Path, weights, action and all gradients, whether weights are worked out for a step or for the whole way."""
    monkeypatch.setattr(runge_kutta, "AT_ONCE", at_once)
    z, log_w = torch.randn(7, 2, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    z.requires_grad_()
    parameters = [z, *fields[0].parameters(), *fields[1].parameters()]
    path = integrate(*fields, z, log_w, TIMES, 0.3, Integration(method=method, steps_per_interval=3), 1.7)
    found = torch.cat([path.z, path.log_w[..., None], path.action[..., None]], 2)
    z_there, log_w_there, action_there = plainly(*fields, z, log_w, TIMES, 0.3, method, 3, 1.7)
    expected = torch.cat([z_there, log_w_there[..., None], action_there[..., None]], 2)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    weights = torch.randn_like(expected)
    pairs = zip(*(torch.autograd.grad((part * weights).sum(), parameters) for part in (found, expected)), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8)


def test_a_field_prepared_for_times_is_the_field(fields):
    velocity, _ = fields
    times, z = torch.tensor([0.0, 0.3, 1.0, 1.9, 2.0], dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    for t, at in zip(times, velocity.at_times(times), strict=True):
        torch.testing.assert_close(at(z), velocity(t, z))


def test_training_comes_to_the_same_by_either_solver(moving_cloud, monkeypatch):
    """Loss within 1 %, and the same metrics, after some rounds."""
    config = preset("best", **{**TINY, "embedding_steps": 20, "warm_steps": 20, "rounds": 2, "dynamics_steps": 10})

    def trained():
        state = State.initial(moving_cloud, config)
        for _ in train(state):
            pass
        return state.best_loss, evaluate(state.result(), moving_cloud)

    loss, ours = trained()
    monkeypatch.setattr(dynamics, "fixed_steps", plainly)
    plain, theirs = trained()
    assert loss == pytest.approx(plain, rel=0.01)
    for metric in ("vc", "tc", "trust", "r2", "direction"):
        assert ours[metric] == pytest.approx(theirs[metric], abs=0.01)
