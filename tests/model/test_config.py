"""Settings: every one explains itself, keeps its bounds, and survives a round trip."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cellstream.config import Config, find, settings
from cellstream.errors import UserError
from cellstream.presets import PRESETS, preset


def test_the_defaults_are_the_papers():
    w, n = Config().weights, Config().networks
    assert (w.lambda_ae, w.lambda_wfr, w.lambda_match, w.lambda_ot, w.lambda_mass, w.alpha) == (10, 1, 5, 1, 1, 1)
    assert w.lambda_neighbours == 0
    assert (n.latent_dim, n.encoder_layers, n.decoder_layers, n.velocity_layers, n.growth_layers) == (2, 3, 3, 4, 3)
    assert {n.encoder_width, n.decoder_width, n.velocity_width, n.growth_width} == {10}
    assert (n.autoencoder_activation, n.dynamics_activation) == ("relu", "tanh")


@pytest.mark.parametrize(("section", "item"), settings(), ids=lambda part: getattr(part, "name", part))
def test_every_setting_explains_itself(section, item):
    assert item.metadata["doc"].endswith((".", ")"))
    if isinstance(item.default, (int, float)) and not isinstance(item.default, bool):
        assert item.metadata["bounds"] is not None
    elif isinstance(item.default, str):
        assert item.default in item.metadata["choices"]


def test_names_are_unique_across_sections():
    names = [item.name for _, item in settings()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", PRESETS)
def test_round_trip_through_json(name):
    config = preset(name, seed=7, alpha=1.5)
    assert Config.from_dict(json.loads(config.to_json())) == config


@pytest.mark.parametrize("name", ["lambda_ae", "weights.lambda_ae", "λ_AE", "lambda_AE"])
def test_a_setting_has_several_names(name):
    assert Config().with_settings(**{name: 8}).weights.lambda_ae == 8


def test_words_become_values():
    config = Config().with_settings(decay="yes", rounds="12", alpha="0.5", method="rk4")
    assert (config.schedule.decay, config.schedule.rounds) == (True, 12)
    assert (config.weights.alpha, config.integration.method) == (0.5, "rk4")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("alpha", -1, "at least 0"),
        ("alpha", float("nan"), "at least 0 and finite"),
        ("lambda_ae", float("inf"), "at least 0 and finite"),
        ("clip", "inf", "at least 0.001 and finite"),
        ("alpha", "much", "a number"),
        ("rounds", 1.5, "a whole number"),
        ("rounds", "inf", "a whole number"),
        ("method", "rk99", "one of euler"),
        ("decay", "perhaps", "yes or no"),
        ("latent_dim", 0, "1 to 100"),
        ("lambda_x", 1, "did you mean lambda_ot"),
        ("lambda_lineage", 1, "did you mean lambda_lineages"),
        ("quux", 1, "Known settings"),
        ("f_enc", 1, "Known settings"),
        ("oops.alpha", 2, "No setting is called 'oops.alpha'"),
        ("networks.alpha", 2, "No setting is called 'networks.alpha'"),
        ("weights.oops.alpha", 2, "No setting is called"),
    ],
)
def test_bad_values_get_a_sentence(name, value, says):
    with pytest.raises(UserError, match=says):
        Config().with_settings(**{name: value})


def test_a_section_that_holds_no_settings_gets_a_sentence():
    with pytest.raises(UserError, match="in the section 'weights'"):
        Config.from_dict({"weights": 3})


def test_the_papers_preset_has_the_papers_networks_and_weights():
    """And differs from the plain defaults as its docstring says."""
    paper, plain = preset("paper"), Config()
    assert paper.weights == plain.weights
    assert replace(paper.networks, latent_scale="pca", time_separation=1.0) == plain.networks
    assert paper != plain


def test_the_dataclass_itself_is_checked_too():
    from cellstream.config import Weights

    with pytest.raises(UserError, match="at least 0"):
        Config(weights=Weights(alpha=-1))


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(UserError, match="quick, paper, best"):
        preset("fast")


def test_find_gives_the_section():
    assert find("α")[0] == "weights"
