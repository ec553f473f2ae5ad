"""A table as .csv (long, tidy), as .md (mean ± standard deviation, beside the paper's numbers) and as a figure."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellstream.benchmark.plans import Column, Row, Table
from cellstream.benchmark.records import Record
from cellstream.files import whole

QUICK = "**A quick run on a few cells with a few steps: it shows that all works, and is not to be quoted.**"


@dataclass(frozen=True)
class Value:
    """A metric over seeds."""

    mean: float
    sd: float
    """Of a sample; NaN of a single value."""
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Value | None:
        """Of those that are numbers; None where none is."""
        numbers = [v for v in values if v is not None and math.isfinite(v)]
        if not numbers:
            return None
        sd = statistics.stdev(numbers) if len(numbers) > 1 else math.nan
        return cls(statistics.fmean(numbers), sd, len(numbers))

    def said(self, digits: int, seeds: int) -> str:
        spread = "" if math.isnan(self.sd) else f" ± {self.sd:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}" + (f" ({self.n} of {seeds})" if self.n < seeds else "")


class Summary:
    """Rows of one table over their seeds."""

    def __init__(self, table: Table, records: Sequence[Record]):
        self.table, self.records = table, records
        self.rows = [row for record in records for row in table.rows(record)]
        self.groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.rows:
            self.groups.setdefault((row.data, row.method, row.setting), []).append(row)

    @property
    def data(self) -> list[str]:
        return _once(row.data for row in self.rows)

    def names(self, part: str, data: str) -> list[str]:
        """Methods or settings of a data set, in order."""
        return _once(getattr(row, part) for row in self.rows if row.data == data)

    def value(self, data: str, method: str, setting: str, key: str) -> Value | None:
        return Value.of(row.metrics.get(key) for row in self.groups.get((data, method, setting), []))

    def reference(self, data: str, method: str, setting: str, key: str) -> float | None:
        """The paper's number."""
        rows = self.groups.get((data, method, setting), [])
        return rows[0].paper.get(key) if rows else None

    def values(self, data: str) -> list[tuple[float, str]]:
        """Settings of a data set that are numbers, in order."""
        found = ((row.value, row.setting) for row in self.rows if row.data == data)
        return list(dict.fromkeys((value, setting) for value, setting in found if value is not None))

    def seeds(self, data: str, method: str, setting: str) -> int:
        return len(self.groups.get((data, method, setting), []))


def write(table: Table, name: str, records: Sequence[Record], folder: Path, quick: bool) -> list[Path]:
    """``NAME.csv``, ``NAME.md``, ``NAME.png`` and ``NAME.svg`` in the folder, each whole or not at all."""
    from cellstream.benchmark import figure  # matplotlib takes a second to come up

    summary = Summary(table, records)
    made = []
    for ending, text in (("csv", long(name, summary)), ("md", page(name, summary, quick))):
        made.append(folder / f"{name}.{ending}")
        with whole(made[-1]) as path:
            path.write_text(text, encoding="utf-8")
    title = table.title + (" (quick run, not to be quoted)" if quick else "")
    drawing = figure.drawn(summary, title)
    for ending in ("png", "svg"):
        made.append(folder / f"{name}.{ending}")
        with whole(made[-1]) as path:
            drawing.savefig(path, dpi=200)
    return made


def long(name: str, summary: Summary) -> str:
    """One line per data, method, setting, seed and metric; a fit that failed has one line with its sentence."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("table", "data", "method", "setting", "seed", "metric", "value", "failed"))
    for row in summary.rows:
        words = (name, row.data, row.method, row.setting, row.seed)
        if row.failed:
            writer.writerow((*words, "", "", row.failed))
        writer.writerows((*words, key, "" if value is None else value, "") for key, value in row.metrics.items())
    return out.getvalue()


def page(name: str, summary: Summary, quick: bool) -> str:
    """The table for a reader, with what it was made with at its foot."""
    table = summary.table
    parts = [f"# {name}: {table.title}", *([QUICK] if quick else []), table.text]
    for data in summary.data:
        parts.append(f"## {data}")
        if table.by_setting:
            for column in table.columns:
                parts += [f"{column.head}:", _grid(_by_setting(summary, data, column))]
        else:
            parts.append(_grid(_by_column(summary, data, table.columns)))
        if table.detail:
            parts += ["In detail:", _grid(_by_column(summary, data, table.detail))]
        lineages = _lineages(summary, data)
        if len(lineages) > 1:
            parts += ["Share of the cells' mass that arrives in each lineage:", _grid(lineages)]
    if table.note:
        parts.append(table.note)
    failed = _once(f"- {r.data}, {r.method}, {r.setting + ', ' if r.setting else ''}seed {r.seed}: {r.failed}"
                   for r in summary.records if r.failed)  # fmt: skip
    if failed:
        parts += ["Fits that failed:", "\n".join(failed)]
    return "\n\n".join([*parts, "---", _foot(summary.records)]) + "\n"


def _by_column(summary: Summary, data: str, shown: Sequence[Column]) -> list[list[str]]:
    """Methods and settings in rows, metrics in columns, the paper's numbers beside ours."""
    keys = [key for key in summary.groups if key[0] == data]
    columns = [c for c in shown if any(summary.value(*key, c.key) for key in keys)]
    told = {c.key for c in columns for key in keys if summary.reference(*key, c.key) is not None}
    settings = any(setting for _, _, setting in keys)
    head = ["method", *(["setting"] if settings else [])]
    for c in columns:
        head += [c.head, *([f"paper's {c.title}"] if c.key in told else [])]
    if settings and len({method for _, method, _ in keys}) > 1:
        keys.sort(key=lambda key: summary.names("setting", data).index(key[2]))
    rows = [head]
    for key in keys:
        line = [key[1], *([key[2]] if settings else [])]
        for c in columns:
            line.append(_cell(summary, key, c))
            if c.key in told:
                reference = summary.reference(*key, c.key)
                line.append("" if reference is None else f"{reference:.{summary.table.paper_digits}f}")
        rows.append(line)
    return rows


def _by_setting(summary: Summary, data: str, column: Column) -> list[list[str]]:
    """Methods in rows, settings in columns, and the mean over these."""
    settings = summary.names("setting", data)
    rows = [["prediction", *settings, "mean"]]
    for method in summary.names("method", data):
        keys = [(data, method, setting) for setting in settings]
        means = [value.mean for key in keys if (value := summary.value(*key, column.key))]
        whole = f"{statistics.fmean(means):.{column.digits}f}" if len(means) == len(keys) else "–"
        rows.append([method, *(_cell(summary, key, column) for key in keys), whole])
    return rows


def _lineages(summary: Summary, data: str) -> list[list[str]]:
    """Where lineages were followed: their predicted and observed shares."""
    names = _once(
        key.removeprefix("arriving ") for row in summary.rows if row.data == data
        for key in row.metrics if key.startswith("arriving ")
    )  # fmt: skip
    rows = [["method", *names]]
    for key in [key for key in summary.groups if key[0] == data and names]:
        label = key[1] + (f", {key[2]}" if key[2] else "")
        rows.append([label, *(_cell(summary, key, Column(f"arriving {name}", name)) for name in names)])
        observed = [_cell(summary, key, Column(f"observed {name}", name)) for name in names]
    return [*rows, ["observed", *(cell.split(" ±")[0] for cell in observed)]] if names else rows


def _cell(summary: Summary, key: tuple[str, str, str], column: Column) -> str:
    value = summary.value(*key, column.key)
    return "–" if value is None else value.said(column.digits, summary.seeds(*key))


def _grid(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _foot(records: Sequence[Record]) -> str:
    """Seeds, commit, machine, settings, dates and time of all that is in the table."""
    machines = _once(
        f"{m.get('cpu')}, {m.get('cores')} cores{', ' + m['gpu'] if m.get('gpu') else ''}, torch {m.get('torch')}"
        for m in (record.machine for record in records)
    )
    hashes = hashlib.sha256("".join(sorted({record.hash for record in records})).encode()).hexdigest()[:16]
    dates = sorted(record.date for record in records)
    distinct = {record.hash: record.seconds for record in records}
    seeds = sorted({record.seed for record in records})
    commits = _once(record.commit for record in records)
    measured = _once(record.measured for record in records if record.measured != record.commit)
    spread = f"Mean ± standard deviation over the seeds {', '.join(map(str, seeds))}."
    lines = (
        spread if len(seeds) > 1 else f"One seed: {seeds[0]}.",
        f"Commit {', '.join(commits)}{'; measured with ' + ', '.join(measured) if measured else ''}.",
        f"Machine: {'; '.join(machines)}.",
        f"Settings and data: {hashes} (each fit's own are in runs/*.json).",
        f"Made {dates[0]} to {dates[-1]}: {len(distinct)} fits, {sum(distinct.values()):.0f} s in all.",
    )
    return "  \n".join(lines)


def _once(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))
