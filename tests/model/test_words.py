"""The words of a result: every number is the run's own, every paper that is cited has its entry, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellstream import account, cli, metrics, words
from cellstream.account import Account
from cellstream.affinities import PERPLEXITY
from cellstream.baselines import METHODS
from cellstream.baselines.tigon_dynamics import WEIGHT_DECAY
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.held_out import FEWEST
from cellstream.literature import REFERENCES
from cellstream.presets import PRESETS, preset
from cellstream.runs import Run
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.versions import versions
from tests.conftest import TINY

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "sample_data" / "branching-result"
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])")


def told(snapshots: Snapshots, config: Config, method: str = "CellStream", **of: Any) -> Account:
    """A trained result of these cells, of which nothing else is known."""
    recipe = of.pop("recipe", {"time_key": "t", "preset": ""})
    return Account(config, recipe, snapshots, method, True, **of)


@pytest.fixture(scope="module")
def sample() -> Account:
    return account.of(RESULT)


def every(value: Any) -> Iterator[float]:
    """All numbers in a nest of values, and those in its texts."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from every(key)
            yield from every(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from every(part)
    elif isinstance(value, str):
        yield from (float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def known_to(a: Account) -> np.ndarray:
    """Every number that a text about this result may hold."""
    s, w, m = a.snapshots, a.config.weights, a.metrics or {}
    numbers = [
        *every(a.config.to_dict()),
        *every(m),
        *every(list(s.report)),
        *every(list(s.labels)),
        *every(a.recipe.get("time_map") or {}),
        *s.counts.tolist(),
        *s.mass.tolist(),
        *s.times.tolist(),
        *(len(s.index), len(s.labels), s.x.shape[1], a.members, a.rounds or 0),
        *(w.lambda_match * w.lambda_ot, w.lambda_match * w.lambda_mass),
        *(PERPLEXITY, FEWEST, WEIGHT_DECAY, metrics.RADIUS, metrics.NEAREST),
        *(max(a.config.schedule.batches, a.config.compute.devices),),
        a.config.schedule.rounds * a.config.schedule.dynamics_steps,
        1,  # the first time point's mass, the box's side, log(1 + x)
        2,  # the Wasserstein distance's order, R²
        *(100 * abs(at["predicted"] / at["observed"] - 1) for at in m.get("mass", {}).values()),
    ]
    return np.array(numbers)


def numbers_in(text: str) -> list[str]:
    """Those of the sentences: without years of papers and versions of software."""
    for reference in REFERENCES.values():
        text = text.replace(reference.short, "")
    text = re.sub(r"The software was .*?(?= In the embedding, scaled|$)", "", text)
    return NUMBER.findall(text)


def unfounded(a: Account) -> list[str]:
    """Numbers of the paragraph that are none of the result's, to as many digits as are told."""
    known, found = known_to(a), []
    for said in numbers_in(words.methods_paragraph(a)):
        value = float(said.replace(",", ""))
        digits = len(said.partition(".")[2]) if "e" not in said else 12
        if not (np.abs(known - value) <= 0.5001 * 10.0**-digits if "." in said else np.isclose(known, value)).any():
            found.append(said)
    return found


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_every_number_is_the_results_own(sample):
    text = words.methods_paragraph(sample)
    assert len(numbers_in(text)) > 80
    assert unfounded(sample) == []
    m = json.loads((RESULT / "metrics.json").read_text())
    for said in (
        "2,736 cells from 6 time points",
        "day 7: 826 cells",
        "the column ‘day’",
        "(0, 1, 2, 3, 5 and 7 d)",
        "The 300 features were reduced to 50 principal components",
        "scaled to 10,000 counts",
        f"velocity consistency was {m['vc']:.3f} and time consistency {m['tc']:.3f} (plain PCA: {m['tc_pca']:.3f})",
        f"was {m['trust']:.3f} (plain PCA: {m['trust_pca']:.3f})",
        f"day 5: {m['match']['day 5']['w2']:.4f}, {m['match']['day 5']['floor']:.4f}",
        "4 further models",
        "at most 12 rounds, of which 12 were made",
        "preset ‘best’.",
    ):
        assert said in text


def test_a_number_that_is_not_the_results_would_be_found(sample):
    other = replace(sample.config.schedule, rounds=777)
    changed = replace(sample, config=replace(sample.config, schedule=other))
    assert "777" in words.methods_paragraph(changed)
    # judged by the numbers of the first one
    known = known_to(sample)
    assert not np.isclose(known, 777).any()


@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(growth=False, lambda_lineages=1.25, latent_dim=1, encoder_layers=0, velocity_layers=1, velocity_width=1),
        dict(method="dopri5", rtol=3e-5, batches=3, updates_per_batch=1, held_out=0.125, precision="float64"),
        dict(lambda_wfr=0, lambda_mass=0, lambda_ae=0, start_steps=0, time_separation=2.5, input_scaling="standardise"),
        dict(rounds=1, autoencoder_steps=1, dynamics_steps=1, decay=False, seed=11, steps_per_interval=1),
    ],
)
@pytest.mark.parametrize("name", list(PRESETS))
def test_whatever_the_settings_the_numbers_are_theirs(moving_cloud, name, changes):
    a = told(moving_cloud, preset(name, **changes), recipe=dict(time_key="t", preset=name), members=2, rounds=1)
    assert unfounded(a) == []
    text = words.methods_paragraph(a)
    assert text.endswith(".")
    assert "  " not in text
    assert not re.search(r" [,.;)]|\(\)|\( |; ;", text)


def test_presets_tell_different_sentences_and_changes_are_told(moving_cloud):
    texts = {}
    for name in PRESETS:
        texts[name] = words.methods_paragraph(told(moving_cloud, preset(name), recipe=dict(preset=name)))
        assert f"preset ‘{name}’." in texts[name]
    assert len(set(texts.values())) == 3
    for said in ("t-SNE's divergence", "unbalanced coupling", "added time, as a direction", "lies between cells"):
        assert said in texts["best"]
        assert said not in texts["paper"]
    changed = told(moving_cloud, preset("best", lambda_ae=7.5, decay=False, seed=5), recipe=dict(preset="best"))
    assert "preset ‘best’, but for lambda_ae = 7.5 and decay = no." in words.methods_paragraph(changed)
    own = told(moving_cloud, preset("best"), recipe=dict(preset="own"))
    assert "Settings were chosen for this analysis." in words.methods_paragraph(own)


def test_terms_of_weight_zero_are_not_told(moving_cloud):
    terms = dict(
        lambda_ae="decoded time and features",
        lambda_wfr="action of the paths",
        lambda_ot="2-Wasserstein distance between predicted and observed cells at each",
        lambda_mass="predicted from observed population sizes (weight",
        lambda_neighbours="t-SNE",
        lambda_between="lies between cells coupled",
        lambda_lineages="coupling of the cells in the input",
        lambda_steps="even steps",
        lambda_separation="separation of the time points",
    )
    for name, words_of_it in terms.items():
        a = told(moving_cloud, preset("best", **{name: 0.625}))
        assert words_of_it in words.methods_paragraph(a)
        a = told(moving_cloud, preset("best", **{name: 0}))
        assert words_of_it not in words.methods_paragraph(a), name
    still = words.methods_paragraph(told(moving_cloud, preset("best", growth=False)))
    assert "Growth was not learned" in still
    assert "α" not in still
    assert "growth rate" not in still
    assert "Fisher" not in still


def test_masses_times_and_stops_are_told(moving_cloud):
    recipe = dict(time_key="t", masses=[2, 3, 8], time_map={"a": 0.0, "b": 1.0, "c": 3.0, "x": float("nan")})
    given = replace(moving_cloud, mass=torch.tensor([1.0, 1.5, 4.0]), even=False)
    text = words.methods_paragraph(told(given, preset("paper"), recipe=recipe, stopped=True))
    assert "given by hand: 1, 1.5 and 4." in text
    assert "assigned the times 0, 1 and 3 d by hand" in text
    assert "the times at which the cells were taken (0, 1 and 3 d)" in text
    assert "stopped before its end" in text
    text = words.methods_paragraph(told(moving_cloud, preset("paper")))
    assert "taken from the numbers of cells: 1, 1.5 and 2.25." in text
    assert "counted as equally spaced" in text
    assert "stopped" not in text


def test_more_time_points_than_a_sentence_holds():
    n = 40
    s = Snapshots(
        x=torch.zeros(3 * n, 4),
        index=torch.arange(n).repeat_interleave(3),
        times=torch.arange(n).double(),
        mass=torch.ones(n),
        labels=tuple(f"t{i}" for i in range(n)),
    )
    match = {f"t{i}": dict(w2=0.1 * i, floor=0.2) for i in range(1, n)}
    a = told(s, preset("paper"), metrics=dict(match=match))
    text = words.methods_paragraph(a)
    assert "120 cells from 40 time points (t0 to t39, with 3 cells each)" in text
    assert "0.50 to 19.50 times" in text
    assert len(text) < 5000


def test_versions_are_the_runs_or_said_to_be_of_today(sample, moving_cloud, tmp_path):
    assert "installed when this text was written" in words.methods_paragraph(sample)
    run = Run.create(tmp_path / "run", moving_cloud, preset("paper", **TINY), {})
    assert run.recipe["versions"] == versions()
    kept = {**versions(), "torch": "1.2.3", "cellstream": "9.9"}
    text = words.methods_paragraph(told(moving_cloud, preset("paper"), recipe=dict(versions=kept)))
    assert "PyTorch 1.2.3 (Paszke et al., 2019)" in text
    assert "CellStream 9.9" in text
    assert "installed when" not in text


def test_a_run_without_a_model_has_nothing_to_tell(moving_cloud, tmp_path):
    run = Run.create(tmp_path / "run", moving_cloud, preset("paper", **TINY), {})
    with pytest.raises(UserError, match="no model yet"):
        words.methods_paragraph(account.of_run(run))


# --- what was done to the data ----------------------------------------------------------------------------------------


def test_all_that_is_reported_of_the_data_is_retold_or_known_to_be_left_out():
    """Each sentence of a report has its own pattern: none is handed on as it stands."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(1.0, (90, 260)).astype(np.float32)
    counts[:, 3] = 0
    counts[0, 5] = np.nan
    counts[40], counts[50] = counts[41], 0
    obs = pd.DataFrame({"t": np.repeat([0.0, 1.0, 2.0], 30)}, index=[f"c{i}" for i in range(90)])
    obs.loc["c89", "t"] = np.nan
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, obsm={"X_e": counts[:, 10:20]})
    adata.layers["cpm"] = np.nan_to_num(counts) * 1000.5 + 30
    adata.layers["cpm"][:, 7] = 5
    adata.X.data = adata.X.data.astype(np.float32)
    settings = preset("best", n_top_genes=220, n_pcs=12).preprocess
    reports = [
        from_anndata(adata, "t", preprocess=settings, fixes=["fill-missing"]).report,
        from_anndata(adata, "t", preprocess=settings, fixes=["drop-nonfinite", "drop-empty-cells"]).report,
        from_anndata(adata, "t", input="layer:cpm", preprocess=replace(settings, n_pcs=0)).report,
        from_anndata(adata, "t", input="obsm:X_e", fixes=["drop-copies"]).report,
    ]
    sentences = [sentence for report in reports for sentence in report]
    assert len(set(sentences)) >= 12
    for sentence in sentences:
        assert any(re.fullmatch(pattern, sentence, re.DOTALL) for pattern, _ in words.REPORTED), sentence
    retold = [text for sentence in sentences if (text := words.retold(sentence))]
    assert "1 cell without a time was left out." in retold
    assert "Missing values counted as 0." in retold
    assert "The 220 most variable of 259 features were kept." in retold
    assert any("reduced to 12 principal components" in text for text in retold)
    assert any(re.fullmatch(r"1 cell was left out \(zero in every feature\)\.", text) for text in retold)
    assert words.retold("Something new was found.") == "Something new was found."


def test_names_of_files_are_one_line_of_plain_letters(moving_cloud):
    recipe = dict(source="/x/a\nb\u202e\x00<b>.h5ad", time_key="t\r\n" + "k" * 300, input="layer:<i>'\"")
    text = words.methods_paragraph(
        told(replace(moving_cloud, labels=("a\nb", "b", "c")), preset("paper"), recipe=recipe)
    )
    assert text.isprintable()
    assert "‘a b <b>.h5ad’" in text
    assert "the layer ‘<i>'\"’" in text
    assert "k" * 81 not in text


# --- other methods ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*METHODS, "TIGON + X_scVI", "Something"])
def test_other_methods_have_words_of_their_own(moving_cloud, method):
    config = preset("paper", velocity_width=16, dynamics_steps=50, rounds=100)
    a = told(moving_cloud, config, method, recipe=dict(time_key="t", quick=True))
    text = words.methods_paragraph(a)
    assert unfounded(a) == []
    assert f"analysed with {method}, as it comes with CellStream" in text
    assert "not to be quoted" in text
    assert "autoencoder embedded" not in text
    assert ("sha2024tigon" in words.cited(a)) == (method.startswith("TIGON") or method == "VeloViz")
    if method.startswith("TIGON"):
        assert "in 5,000 steps of Adam" in text
    elif method == "Something":
        assert "no more than its name" in text
    else:
        assert "are not told here" in text


# --- references -------------------------------------------------------------------------------------------------------


def parsed(text: str) -> dict[str, dict[str, str]]:
    """BibTeX entries by their keys, read by BibTeX's rules: braces balance, each field is in braces of its own."""
    entries, at = {}, 0
    while found := re.compile(r"\s*@(\w+)\{([^\s,{}]+),").match(text, at):
        at, values = found.end(), {"": found[1]}
        while item := re.compile(r"\s*(\w+) = \{").match(text, at):
            begin = at = item.end()
            depth = 1
            while depth:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            assert item[1] not in values
            values[item[1]] = text[begin : at - 1]
            at = re.compile(r",").match(text, at).end()
        at = re.compile(r"\s*\}").match(text, at).end()
        assert found[2] not in entries
        entries[found[2]] = values
    assert not text[at:].strip(), text[at : at + 80]
    return entries


def test_bibtex_has_exactly_what_is_cited(sample, moving_cloud):
    some = [sample, *(told(moving_cloud, preset(name)) for name in PRESETS)]
    some += [told(moving_cloud, preset("paper"), method) for method in METHODS]
    for a in some:
        text, entries = words.methods_paragraph(a), parsed(words.bibtex(a))
        assert tuple(entries) == words.cited(a)
        for key, reference in REFERENCES.items():
            assert (reference.short in text) == (key in entries), key
    assert {key for a in some for key in words.cited(a)} == set(REFERENCES)


def test_every_reference_is_cited_by_its_own_authors_and_year():
    accents = str.maketrans("čöé", "coe")
    entries = parsed("\n".join(reference.bibtex(key) for key, reference in REFERENCES.items()))
    for key, reference in REFERENCES.items():
        entry = entries[key]
        assert entry["year"] == reference.short[-4:] == re.search(r"\d{4}", key)[0]
        families = [name.partition(",")[0] for name in entry["author"].split(" and ")]
        plain = [re.sub(r"\{\\\S ?(\w)\}|\{\\\S(\w)\}", r"\1\2", family) for family in families]
        said = reference.short[:-6].translate(accents)
        many = {1: plain[0], 2: " & ".join(plain)}.get(len(plain), f"{plain[0]} et al.")
        assert said == many
        place = {"article": "journal", "inproceedings": "booktitle"}[entry[""]]
        assert entry.keys() >= {"title", "author", "year", place}
        assert reference.bibtex(key).isascii()
    assert len({reference.short for reference in REFERENCES.values()}) == len(REFERENCES)


# --- the command ------------------------------------------------------------------------------------------------------


def described(capsys, *more: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["describe", *more])
    return ended.value.code, *capsys.readouterr()


def test_describe_writes_all_or_one(sample, capsys):
    code, out, err = described(capsys, str(RESULT))
    assert (code, err) == (0, "")
    for title in ("Methods", "References (BibTeX)", "Python script", "Command"):
        assert f"{title}\n{'-' * len(title)}\n" in out
    code, methods, _ = described(capsys, str(RESULT), "--methods")
    assert methods == words.methods_paragraph(sample) + "\n"
    assert methods in out
    code, references, _ = described(capsys, str(RESULT), "--bibtex")
    assert references == words.bibtex(sample)
    _, script, _ = described(capsys, str(RESULT), "--script")
    compile(script, "script", "exec")
    _, command, _ = described(capsys, str(RESULT), "--command")
    # the very command that made the sample, as its README tells
    assert command == (
        "cellstream fit branching --out branching-reproduced.h5ad --time-key day --real-times --ensemble 5\n"
    )
    code, two, _ = described(capsys, str(RESULT), "--bibtex", "--command")
    assert two.startswith("References (BibTeX)")
    assert "Methods\n---" not in two


def test_describe_says_what_is_no_result(tmp_path, capsys):
    code, out, err = described(capsys, str(ROOT / "sample_data" / "branching.h5ad"))
    assert (code, out) == (2, "")
    assert "Expected a result of CellStream" in err
    code, _, err = described(capsys, str(tmp_path / "nothing"))
    assert code == 2
    assert "There is no file or folder" in err
