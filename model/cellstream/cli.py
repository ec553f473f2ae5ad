"""The command line: ``cellstream fit | evaluate | genes | export | describe | benchmark | run | resume | …``.

A user's mistake is one sentence on stderr and exit code 2. Everything heavy is imported where it is used, so that
help comes at once.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from cellstream import __version__
from cellstream.animations import options as animation_options
from cellstream.benchmark import NAMES as TABLE_NAMES
from cellstream.config import Config, find, settings
from cellstream.errors import UserError, is_memory
from cellstream.figures import options as figure_options
from cellstream.files import new_file, new_folder, path_of, resuming, whole
from cellstream.fixes import FIXES
from cellstream.presets import PRESETS, preset
from cellstream.setting import described
from cellstream.terminal import as_json, columns, growth_of, hush, ready, say, table_of, write
from cellstream.web import options as page_options

if TYPE_CHECKING:
    from pathlib import Path

    from cellstream.fitting import Outcome

CODES = {"finished": 0, "cancelled": 130, "failed": 1, "dead": 1}
"""Exit codes by how a run ended; 130 is a shell's for Ctrl-C."""

EXITS = "Exit codes: 0 done, 1 the training broke, 2 a mistake or a file that cannot be read or written, 130 stopped."

STRONGEST = 5
"""Genes that are named on the screen; the file has them all."""

GLOSSARY = """\
VC         cells that lie together move alike; 1 at best, but any constant field scores 1: read it with direction
TC         neighbours in the map are of the same time point; 1 at best, but time alone can buy it: read it with trust
trust      neighbours in the map are neighbours in the data, within time points; 1 at best, plain PCA's at least
direction  cosine between velocities and the way to the cells of the next time point; 1 at best
W2         distance of predicted and observed cells, where 1 is the longer side of the map's bounding box; at best
           about the noise floor, which is the distance between two halves of the observed cells
mass       size of the population against the first time point, predicted beside observed
R²         how much of the features comes back from the map; 1 at best, 0 is their mean, plain PCA's beside it
branches   (--labels) neighbours in the map have the same label; 1 at best
arriving   (--labels) which share of the mass ends in each lineage, beside what was observed at the last time point;
           and of the cells that have a lineage already, which share ends in their own, beside what chance would give
More on each, and on the others: assets/benchmarks/README.md in the source of CellStream."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run a command and exit."""
    ready()
    try:
        arguments = parser().parse_args(argv)
        code = arguments.command(arguments)
        sys.stdout.flush()
    except UserError as error:
        say(str(error))
        code = 2
    except KeyboardInterrupt as stopped:
        say(f"Stopped. {stopped}".strip())
        code = 130
    except BrokenPipeError:
        # whoever read our output has seen enough ("cellstream settings | head")
        hush(sys.stdout)
        code = 0
    except (OSError, MemoryError, RuntimeError) as error:
        if isinstance(error, OSError):
            say(f"A file could not be read or written: {error}.")
            hush(sys.stdout)  # it may be the full one
        elif is_memory(error):
            say("There is not enough memory for this: close other programs, or take fewer cells or features.")
        else:
            raise
        code = 2
    sys.exit(code)


# --- the commands, in the order of the help ---------------------------------------------------------------------------


def fit(arguments: argparse.Namespace) -> int:
    config = configured(arguments)
    out = new_file(arguments.out, arguments.overwrite)
    masses = numbers(arguments.masses) if arguments.masses else None
    from cellstream import fitting
    from cellstream.times import read_time_map

    return report(
        fitting.fit(
            arguments.file,
            out,
            config,
            say,
            time_key=arguments.time_key,
            input=arguments.input,
            time_map=read_time_map(path_of(arguments.time_map)) if arguments.time_map else None,
            real_times=arguments.real_times,
            masses=masses,
            asked=arguments.fix,
            preset=arguments.preset,
            run_dir=path_of(arguments.run_dir) if arguments.run_dir else None,
        ),
        arguments.json,
    )


def evaluate(arguments: argparse.Namespace) -> int:
    genes = new_file(arguments.genes, arguments.overwrite, ".csv") if arguments.genes else None
    from cellstream import ensemble, evaluation, readers, scverse
    from cellstream.metrics import labelled
    from cellstream.snapshots import cautions
    from cellstream.time_labels import counted

    adata = readers.open_file(arguments.result).adata
    stream, snapshots, recipe = scverse.read_result(adata)
    true = "train again with the true ones in --masses"
    real, growth = "--real-times of fit follows the real ones", stream.config.networks.growth
    known = cautions(snapshots, sizes=true, gaps=real, masses=recipe.get("masses"), growth=growth)
    # a mistake in the labels is told alone, not below what is known of the file
    labels = scverse.lineages(adata, snapshots, arguments.labels) if arguments.labels else None
    for sentence in (*snapshots.report, *known):
        say(sentence)
    if labels is not None and (left := int((~labelled(labels)).sum())):
        said = f"{counted(left, 'cell')} without a label in '{arguments.labels}'"
        say(f"{said} (empty, not assigned, unknown, …) {'is' if left == 1 else 'are'} left out where labels count.")
    metrics = evaluation.evaluate(stream, snapshots, labels)
    if stream.members:
        metrics["ensemble"] = ensemble.disagreement(stream, snapshots)
    table = None
    if stream.genes is not None and stream.genes.loadings is not None:
        table, totals = evaluation.per_gene(stream, snapshots, scverse.expression(adata, stream, snapshots, recipe))
        metrics |= totals | dict(r2_per_feature=evaluation.ends(table["r2"]))
    if genes:
        if table is None:
            table = evaluation.per_feature(stream, snapshots)
        with whole(genes) as path:
            table.to_csv(path)
    truth = scverse.simulated_velocity(adata, snapshots, recipe)
    if truth is not None:
        metrics["va"] = evaluation.alignment(stream, snapshots, truth)
    write(as_json(metrics) if arguments.json else table_of(metrics) + "\n" + growth_of(stream.clock.rate_unit))
    return 0


def genes(arguments: argparse.Namespace) -> int:
    out = new_file(arguments.out, arguments.overwrite, ".csv")
    import pandas as pd

    from cellstream import evaluation, readers, scverse
    from cellstream import genes as decoded
    from cellstream.time_labels import counted, number_label

    adata = readers.open_file(arguments.result).adata
    stream, snapshots, recipe = scverse.read_result(adata)
    space = decoded.space(stream)
    times = snapshots.times.tolist() if arguments.time is None else [arguments.time]
    stream.clock.to_tau(times)  # a time that is not among them is told before anything is worked out
    expression = scverse.expression(adata, stream, snapshots, recipe)
    returned = evaluation.returned(stream, snapshots, expression)
    spread = decoded.spread_of(snapshots, expression)
    tables = [decoded.ranking(stream, snapshots, t, spread, returned) for t in times]
    with whole(out) as path:
        pd.concat(tables).to_csv(path)
    per = stream.clock.rate_unit
    rows = [("time", f"strongest genes, change in standard deviations per {per}")]
    for t, table in zip(times, tables, strict=True):
        first = ", ".join(f"{name} {score:+.2f}" for name, score in table["score"].head(STRONGEST).items())
        rows.append((f"{number_label(t)} {stream.clock.unit}".strip(), first))
    write(columns(rows) + f"{out}  {len(space.names):,} genes at {counted(len(times), 'time')}\n")
    return 0


def figure(arguments: argparse.Namespace) -> int:
    from cellstream.figures.command import figure

    for path in figure(arguments):
        write(f"{path}\n")
    return 0


def animate(arguments: argparse.Namespace) -> int:
    from cellstream.animations.command import animate

    write(f"{animate(arguments)}\n")
    return 0


def page(arguments: argparse.Namespace) -> int:
    from cellstream.files import size_in_words
    from cellstream.web.command import page

    made = page(arguments)
    for words in made.left_out:
        say(f"Not among the colours: {words}.")
    write(f"{made.path}  {made.cells:,} cells, {size_in_words(made.size)}\n")
    return 0


def describe(arguments: argparse.Namespace) -> int:
    from cellstream import account, script, words

    parts = dict(
        methods=("Methods", lambda told: words.methods_paragraph(told) + "\n"),
        bibtex=("References (BibTeX)", words.bibtex),
        script=("Python script", script.python_script),
        command=("Command", script.command_line),
    )
    asked = [name for name in parts if getattr(arguments, "command_" if name == "command" else name)]
    told = account.of(arguments.result)
    if len(asked) == 1:
        write(parts[asked[0]][1](told))
        return 0
    made = [(title, make(told)) for title, make in (parts[name] for name in asked or parts)]
    write("\n".join(f"{title}\n{'-' * len(title)}\n{text}" for title, text in made))
    return 0


def export(arguments: argparse.Namespace) -> int:
    if not (arguments.out or arguments.tmaps):
        raise UserError("Expected --out FILE.h5ad or FILE.zarr, or --tmaps DIR: say where the result is to go.")
    if not arguments.out and (arguments.velocity_layer or arguments.transitions):
        raise UserError("--velocity-layer and --transitions are written into a file: name it with --out.")
    out = exported(arguments.out, arguments.overwrite) if arguments.out else None
    maps = tmaps_in(arguments.tmaps, arguments.overwrite) if arguments.tmaps else None
    from cellstream import fitting, handover, readers, scverse
    from cellstream.files import require_disk

    path = path_of(arguments.result)
    adata = readers.open_file(path).adata
    stream, snapshots, _ = scverse.read_result(adata)
    landed, written = handover.landings(stream, snapshots), {}
    if out:
        layers = 2 * 4 * adata.n_obs * adata.n_vars if arguments.velocity_layer else 0
        require_disk(out.parent, readers.size_of(path, adata) + layers, "The file with the result")
        wanted = dict(velocity_layer=arguments.velocity_layer, transitions=arguments.transitions)
        written = handover.hand_over(adata, stream, snapshots, **wanted, landed=landed)
    # a name that is taken is told before anything is written
    if maps:
        names = adata.obs_names[scverse.rows_of(adata, snapshots)]
        for name in handover.write_transport_maps(landed, names, maps):
            write(f"{maps / name}\n")
    if out:
        fitting.write(adata, out)
        write(columns([("key", "what"), *written.items()]) + f"{out}\n")
    return 0


def bundle(arguments: argparse.Namespace) -> int:
    from cellstream.bundle.command import bundle

    return bundle(arguments)


def benchmark(arguments: argparse.Namespace) -> int:
    from cellstream.benchmark.command import Options, benchmark

    methods = [name.strip() for words in arguments.methods for name in words.split(",") if name.strip()]
    options = Options(
        tuple(arguments.data),
        tuple(methods),
        arguments.seeds,
        arguments.quick,
        arguments.time_key,
        arguments.labels,
    )
    for path in benchmark(arguments.name, arguments.out, options):
        write(f"{path}\n")
    return 0


def run(arguments: argparse.Namespace) -> int:
    from cellstream.runs import Run
    from cellstream.worker import work

    run = Run(arguments.folder)
    work(run.folder)
    status = run.status()
    if status.state != "finished":
        _ = run.config, run.recipe  # damaged ones are no fault of the training: a sentence, and code 2
        say(status.reason)
    return CODES.get(status.state, 1)


def resume(arguments: argparse.Namespace) -> int:
    from cellstream import fitting
    from cellstream.runs import Run

    run = Run(arguments.folder)
    out = arguments.out or run.recipe.get("out")
    return report(fitting.resume(run, new_file(out, arguments.overwrite) if out else None), arguments.json)


def simulate(arguments: argparse.Namespace) -> int:
    out = new_file(arguments.out, arguments.overwrite)
    from cellstream import fitting
    from cellstream.simulate import simulate

    further = {} if arguments.sigma is None else {"sigma_main": arguments.sigma}
    adata = simulate(arguments.name, n_cells=arguments.cells, seed=arguments.seed, **further)
    fitting.write(adata, out)
    write(f"{out}  {adata.n_obs:,} cells, {adata.n_vars:,} features\n")
    return 0


def datasets(arguments: argparse.Namespace) -> int:
    from cellstream import datasets

    if arguments.action == "list":
        rows = [(d.name, f"{d.cells:,}", f"{d.features:,}", d.time_key, d.title) for d in datasets.available()]
        write(columns([("name", "cells", "features", "time key", "what"), *rows]))
        return 0
    out = new_file(arguments.out, arguments.overwrite) if arguments.out else None
    path = datasets.fetch(arguments.name)
    if out:
        import shutil

        with whole(out) as temporary:
            shutil.copyfile(path, temporary)
    write(f"{out or path}\n")
    return 0


def app(arguments: argparse.Namespace) -> int:
    from cellstream.serve import serve

    return serve(arguments.file, arguments.port, browser=not arguments.no_browser, in_window=arguments.window)


def doctor(arguments: argparse.Namespace) -> int:
    """Say what there is on this machine and what is wrong."""
    from cellstream import health

    findings = health.examine()
    found = {finding.what: dict(found=finding.found, wrong=finding.wrong) for finding in findings}
    write(health.without_name(as_json(found)) if arguments.json else f"{health.report(findings)}\n")
    return 2 if any(finding.wrong for finding in findings) else 0


def presets(arguments: argparse.Namespace) -> int:
    write(columns([("name", "what"), *((p.name, p.text) for p in PRESETS.values())]))
    return 0


def show_settings(arguments: argparse.Namespace) -> int:
    config = preset(arguments.preset)
    rows = [("section", "name=value", "may be", "what")]
    for section, item in settings():
        value = getattr(getattr(config, section), item.name)
        meta = item.metadata
        unit = f" {meta['unit']}" if meta["unit"] else ""
        symbol = f"{meta['symbol']}: " if meta["symbol"] else ""
        rows.append((section, f"{item.name}={value}", allowed(item) + unit, symbol + meta["doc"]))
    write(columns(rows))
    return 0


def report(outcome: Outcome, asked_json: bool) -> int:
    """What came of a run: on stdout what was made, on stderr what went wrong."""
    status = outcome.status
    if status.state != "finished":
        say(status.reason or f"The run is {status.state}.")
    if status.state in ("failed", "dead"):
        # some faults are gone when one comes back, and the reason says so; others would only come again
        again = f"; '{resuming(outcome.run)}' goes on from its last checkpoint" if "Resume" in status.reason else ""
        say(f"The run is kept in {outcome.run}{again}.")
    elif status.state == "cancelled" and outcome.run is None:
        say("With --run-dir the run itself is kept, and 'cellstream resume' goes on with it.")
    elif status.state == "cancelled":
        say(f"'{resuming(outcome.run)}' goes on with the run.")
    if asked_json:
        paths = {name: str(path) if path else None for name, path in (("out", outcome.out), ("run", outcome.run))}
        write(as_json({**paths, "state": status.state, "seconds": outcome.seconds, "metrics": outcome.metrics}))
    else:
        if outcome.metrics:
            write(table_of(outcome.metrics) + "\n")
        if outcome.out:
            write(growth_of(outcome.rate_unit))
        if place := outcome.out or outcome.run:
            write(f"{place}  {status.state}, trained for {outcome.seconds:.0f} s\n")
    return CODES.get(status.state, 1)


# --- from words to values ---------------------------------------------------------------------------------------------


def configured(arguments: argparse.Namespace) -> Config:
    """The preset, with what --set, --seed, --device, --devices and --ensemble change."""
    changes: dict[str, Any] = {}
    for word in arguments.set:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"Expected --set name=value, but got {word!r}; 'cellstream settings' lists the names.")
        changes[find(name.strip())[1].name] = value.strip()
    for name in ("seed", "device", "devices", "ensemble"):
        if getattr(arguments, name) is not None:
            changes[name] = getattr(arguments, name)
    return preset(arguments.preset, **changes)


def exported(out: str, overwrite: bool) -> Path:
    """A place for an h5ad or a zarr folder."""
    if not out.endswith((".h5ad", ".zarr")):
        raise UserError(f"Expected a name that ends in .h5ad or .zarr to write to, but got {out!r}.")
    if out.endswith(".h5ad"):
        return new_file(out, overwrite)
    return new_folder(out, overwrite, lambda path: any((path / at).exists() for at in (".zgroup", "zarr.json")), "zarr")


def tmaps_in(folder: str, overwrite: bool) -> Path:
    """A place for transport maps, which are read by their folder: no others may lie beside them."""

    from cellstream.handover import only_maps

    return new_folder(folder, overwrite, only_maps, "transport maps")


def numbers(words: str) -> list[float]:
    try:
        return [float(word) for word in words.split(",")]
    except ValueError:
        raise UserError(f"Expected numbers with commas between them, as in 1,1.5,2, but got {words!r}.") from None


def allowed(item: Any) -> str:
    """The values that a setting may have."""
    meta = item.metadata
    if meta["choices"]:
        return ", ".join(map(str, meta["choices"]))
    if isinstance(item.default, bool):
        return "yes, no"
    low, high = meta["bounds"] or (None, None)
    return f"{low} to {high}" if high is not None else f"at least {low}" if low is not None else ""


# --- the words ------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Mistakes become our one sentence instead of argparse's usage and message."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.options: list[str] = []
        super().__init__(*args, **kwargs)

    def add_argument(self, *names: Any, **kwargs: Any) -> Any:
        self.options += [name for name in names if name.startswith("-")]
        return super().add_argument(*names, **kwargs)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """What is not known is told here, by the command whose help tells more; argparse leaves it to the top."""
        known, unknown = super().parse_known_args(*args, **kwargs)
        if unknown:
            option = next((word for word in unknown if word.startswith("-")), unknown[0])
            close = difflib.get_close_matches(option.partition("=")[0], self.options, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        for kind in (int, float):
            message = message.replace(f"invalid {kind.__name__} value:", f"expected {described(kind)}, but got")
        if said := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            close = difflib.get_close_matches(said[1], re.findall(r"'(.*?)'", said[2]), n=1)
            message += f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"{message[:1].upper()}{message[1:]}; '{self.prog} --help' tells more.")


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    about = "Embedding and dynamics of time-series single-cell data."
    top = Parser(prog="cellstream", description=about, epilog=EXITS)
    top.add_argument("--version", action="version", version=f"cellstream {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=EXITS, allow_abbrev=False)
        made.set_defaults(command=function)
        return made

    def output(to: argparse.ArgumentParser, required: bool, text: str) -> None:
        to.add_argument("--out", required=required, metavar="FILE.h5ad", help=text)
        to.add_argument("--overwrite", action="store_true", help="replace FILE.h5ad where it exists")

    wants_json: dict[str, Any] = dict(action="store_true", help="print one JSON object on stdout")

    one = command("fit", fit, "Train on a file and write it with the result in it.")
    one.add_argument("file", metavar="FILE", help="h5ad, zarr, loom, 10x, csv or tsv; or the name of a data set")
    output(one, True, "where the result goes")
    one.add_argument("--time-key", metavar="KEY", help="column of obs with the time of each cell")
    one.add_argument("--input", default="X", metavar="X|layer:K|obsm:K", help="what the encoder reads (default X)")
    one.add_argument("--preset", default="best", choices=list(PRESETS), help="see 'cellstream presets' (default best)")
    one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="see 'cellstream settings'")
    one.add_argument("--seed", type=int, metavar="N", help="same seed, same machine, same result (default 0)")
    one.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    one.add_argument("--devices", type=int, metavar="N", help="N processes, a GPU each, train one model (default 1)")
    one.add_argument("--ensemble", type=int, metavar="N", help="N models, to see where they disagree (default 1: off)")
    one.add_argument("--time-map", metavar="FILE.csv", help="two columns: a label of KEY, and the time it stands for")
    one.add_argument("--real-times", action="store_true", help="follow the real gaps, not 0, 1, 2, …")
    one.add_argument("--masses", metavar="1,1.5,2", help="population size at each time point (default: cell counts)")
    one.add_argument("--fix", action="append", default=[], metavar="NAME", help="mend the data, see below; repeatable")
    mends = columns([("fix", "what it does; the file stays as it is"), *((f.name, f.doc) for f in FIXES.values())])
    one.epilog, one.formatter_class = f"{mends}\n{EXITS}", argparse.RawDescriptionHelpFormatter
    one.add_argument("--run-dir", metavar="DIR", help="keep the run in this folder, so that it can be resumed")
    one.add_argument("--json", **wants_json)

    one = command("evaluate", evaluate, "Measure a result, each metric beside its yardsticks.")
    one.epilog, one.formatter_class = f"{GLOSSARY}\n\n{EXITS}", argparse.RawDescriptionHelpFormatter
    one.add_argument("result", metavar="RESULT.h5ad")
    one.add_argument("--genes", metavar="FILE.csv", help="write how much of each gene the decoder returns")
    one.add_argument("--overwrite", action="store_true", help="replace FILE.csv where it exists")
    one.add_argument("--labels", metavar="KEY", help="column of obs with the cells' lineages, for branch accuracy")
    one.add_argument("--json", **wants_json)

    one = command("genes", genes, "Rank the genes by how strongly the flow changes them.")
    one.add_argument("result", metavar="RESULT.h5ad")
    one.add_argument("--out", required=True, metavar="FILE.csv", help="where the table goes")
    one.add_argument("--time", type=float, metavar="T", help="when, in the data's unit (default: at each time point)")
    one.add_argument("--overwrite", action="store_true", help="replace FILE.csv where it exists")

    one = command("describe", describe, "Write about a result what a paper says, and the code that makes it again.")
    one.add_argument("result", metavar="RESULT.h5ad|RUN_FOLDER")
    one.add_argument("--methods", action="store_true", help="the Methods section, in sentences with the run's numbers")
    one.add_argument("--bibtex", action="store_true", help="the papers that it cites")
    one.add_argument("--script", action="store_true", help="a Python script that makes the result again")
    one.add_argument("--command", action="store_true", dest="command_", help="a command for the shell that does so")
    one = command("export", export, "Write a result for scVelo, CellRank, moscot and WOT, with what they read of it.")
    one.add_argument("result", metavar="RESULT.h5ad")
    one.add_argument("--out", metavar="FILE", help="an .h5ad, or a folder .zarr: growth and time under their names")
    one.add_argument("--velocity-layer", action="store_true", help="and velocities of genes, for scVelo")
    one.add_argument("--transitions", action="store_true", help="and obsp['T_fwd'], for CellRank")
    one.add_argument("--tmaps", metavar="DIR", help="transport maps as WOT writes them, a file for each interval")
    one.add_argument("--overwrite", action="store_true", help="replace FILE and DIR where they exist")

    one = command("figure", figure, "Draw a figure of a result, for a paper.")
    figure_options.add(one)

    one = command("animate", animate, "Make a film of a result's flow, or of a training, for a talk or a paper.")
    animation_options.add(one)

    one = command("page", page, "Write a page to explore a result: one file that needs no server and no internet.")
    page_options.add(one)

    one = command("bundle", bundle, "Put a run into one file that others open, or take such a file apart.")
    one.add_argument("run", metavar="RUN_FOLDER|RESULT.h5ad|BUNDLE.cellstream.zip")
    one.add_argument("--out", metavar="NAME.cellstream.zip", help="where the bundle goes")
    one.add_argument("--with-data", action="store_true", help="put the file with the cells in as well")
    one.add_argument("--figures", action="append", default=[], metavar="A,B", help="figures to put in; repeatable")
    one.add_argument("--overwrite", action="store_true", help="replace the bundle where it exists")
    one.add_argument(
        "--unpack", metavar="DIR", help="take the bundle apart into this new folder, which is then a run's"
    )

    one = command("benchmark", benchmark, "Make one of the paper's tables anew, beside the paper's numbers.")
    one.add_argument("name", metavar="NAME", help=f"one of {', '.join(TABLE_NAMES)}")
    one.add_argument("--out", required=True, metavar="DIR", help="where the table goes, and what it is made of")
    data = "a name or a file, with what is read behind an @, as in cells.h5ad@obsm:X_scVI (default emt and ipsc)"
    one.add_argument("--data", action="append", default=[], metavar="NAME|FILE", help=f"may be repeated: {data}")
    one.add_argument("--methods", action="append", default=[], metavar="A,B", help="some of the table's (default all)")
    one.add_argument("--seeds", type=int, metavar="N", help="fits of each kind (default 6 in table2, elsewhere 3)")
    one.add_argument("--quick", action="store_true", help="few cells, few steps: shows that all works, nothing more")
    one.add_argument("--time-key", metavar="KEY", help="column of obs with the time, for files")
    one.add_argument("--labels", metavar="KEY", help="column of obs with the cells' lineages, for files")

    one = command("run", run, "Train in a run folder, without a word (what the app starts; for a person: resume).")
    one.add_argument("folder", metavar="FOLDER")

    one = command("resume", resume, "Go on with a run that was interrupted, and write its result.")
    one.add_argument("folder", metavar="FOLDER")
    output(one, False, "where the result goes (default: where the run was told to write it)")
    one.add_argument("--json", **wants_json)

    one = command("simulate", simulate, "Write simulated data with known velocity and growth.")
    one.add_argument("name", metavar="NAME", help="populations or branching")
    output(one, True, "where the data go")
    one.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    one.add_argument("--cells", type=int, metavar="N", help="cells at the first time point")
    one.add_argument("--sigma", type=float, metavar="S", help="diffusion along the movement (populations)")

    one = command("datasets", datasets, "List the named data sets, or get one.")
    actions = one.add_subparsers(dest="action", required=True, metavar="list|get")
    actions.add_parser("list", help="what there is")
    get = actions.add_parser("get", help="fetch one, and print where it is")
    get.add_argument("name", metavar="NAME")
    output(get, False, "copy it to this place")

    one = command("app", app, "Open the app in the browser, for this machine only.")
    one.add_argument("file", nargs="?", metavar="FILE", help="data, result or bundle to open")
    one.add_argument("--port", type=int, metavar="N", help="default 5006, or the next one that is free")
    one.add_argument("--no-browser", action="store_true", help="only serve, open no browser")
    one.add_argument("--window", action="store_true", help="a window of its own, which ends the app when it is closed")

    one = command("doctor", doctor, "Look at this machine: versions, GPU, memory, disk, and what is wrong.")
    one.add_argument("--json", **wants_json)
    command("presets", presets, "List the presets.")
    one = command("settings", show_settings, "List every setting with its value, its bounds and its meaning.")
    one.add_argument("--preset", default="best", choices=list(PRESETS), help="whose values (default best)")
    return top
