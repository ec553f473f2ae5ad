"""The solver against equations whose solution is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cellstream.config import Integration
from cellstream.dynamics import FIXED_STEP, integrate

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
