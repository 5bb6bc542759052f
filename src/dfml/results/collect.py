"""Every record in one long table, ``results.csv``: the only source of accuracies in tables and figures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
import pandas as pd

from dfml.artefacts.accuracies import Key
from dfml.artefacts.cell import CellFacts, Effort
from dfml.artefacts.record import Circumstances, Record, Result
from dfml.errors import DfmlError, FileFormatError, is_printable
from dfml.files.atomic import atomic_write
from dfml.files.reading import LONGEST_TEXT, MEBIBYTE, read_at_most
from dfml.results.paired import Difference, differences

# A hundred thousand rows; a run writes hundreds. As columns of text they take ten times as much memory.
_LARGEST = 32 * MEBIBYTE

_CELL = ["experiment", *CellFacts.model_fields]
_MEASURED = [name for name in Result.model_fields if name != "accuracies_digest"]
_KEY = [*_CELL, *(name for name in _MEASURED if Result.model_fields[name].annotation is str)]

RESULT_COLUMNS = [*_CELL, *_MEASURED, *Difference._fields, "selection", *Effort.model_fields]
RESULT_COLUMNS += ["inference_macs", "peak_memory_mb", *Circumstances.model_fields, "record"]
"""Columns of ``results.csv``: one row per (cell, data set, adaptation rule, batch-norm mode)."""


def _kind(column: str) -> tuple[object, bool]:
    """The plain type of what stands in a column, and whether it may be missing, as the models declare it."""
    if column in Difference._fields:
        return float, True
    field = Record.model_fields.get(column) or Result.model_fields.get(column)
    if field is None or get_origin(field.annotation) is Literal:
        return str, False  # the path of the record; one of several words
    kinds = get_args(field.annotation) or (field.annotation,)
    plain = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    return plain[0], NoneType in plain


_KINDS = {column: _kind(column) for column in RESULT_COLUMNS}
_TEXT = [column for column, (kind, _) in _KINDS.items() if kind is str]
_WHOLE = [column for column, kind in _KINDS.items() if kind == (int, False)]
# int64 has no word for a missing number: it is read as a real one.
_REAL = [column for column in RESULT_COLUMNS if column not in (*_TEXT, *_WHOLE)]
_MAY_LACK = [column for column, kind in _KINDS.items() if kind == (int, True)]


def read_records(paths: Iterable[Path], shared: Iterable[Sequence[Any]] = ()) -> list[tuple[Path, Record]]:
    """The records at ``paths`` with their paths, and those of the cells that share one.

    Args:
        paths: record.json files.
        shared: ``(pool, method, shots, seed, source)``: the cell has the record of that pool.

    Raises:
        FileFormatError: a record is malformed.
        DfmlError: a cell shares a record that is not there.
    """
    found = [(Path(path), Record.load(Path(path))) for path in paths]
    known = {(record.pool, record.method, record.shots, record.seed): (path, record) for path, record in found}
    for pool, method, shots, seed, source in shared:
        if (source, method, shots, seed) not in known:
            raise DfmlError(f"{pool} / {method}, {shots}-shot, seed {seed} has the record of {source}: evaluate that.")
        path, record = known[source, method, shots, seed]
        found.append((path, record.model_copy(update={"pool": pool})))
    return found


def collect(paths: Sequence[Path], *, root: Path | None = None, shared: Iterable[Sequence[Any]] = ()) -> pd.DataFrame:
    """Read the records at ``paths`` into one frame with RESULT_COLUMNS, sorted by cell, data set and rule.

    The accuracies per episode are read beside each, for the differences to the best model.
    ``shared`` as in :func:`read_records`.
    The column ``record`` is the path of the record relative to ``root`` (as given, without one). Raises
    FileFormatError for a malformed record, or accuracies that are not its own; DfmlError when there is no
    record, when two files hold the same cell, or when cells to be compared were evaluated on different episodes.
    """
    if not paths:
        raise DfmlError("there is no record to collect: evaluate at least one cell first.")
    rows: list[dict[str, object]] = []
    seen: dict[tuple, Path] = {}
    found = read_records(paths, shared)
    for (path, record), gains in zip(found, differences(found), strict=True):
        cell = tuple(getattr(record, name) for name in _CELL)
        if cell in seen:
            raise DfmlError(
                f"two records hold the cell {_describe(record)}: {seen[cell]} and {path}. Remove one of them."
            )
        seen[cell] = path
        where = Path(os.path.relpath(path, root)) if root is not None else path
        rows.extend(_rows(record, gains, where.as_posix()))
    # Int64 keeps a whole number whole beside a missing one.
    frame = pd.DataFrame(rows, columns=RESULT_COLUMNS).astype(dict.fromkeys(_MAY_LACK, "Int64"))
    _refuse_mixed_episodes(frame)
    return frame.sort_values(_KEY, kind="stable", ignore_index=True)


def write_results_csv(frame: pd.DataFrame, output: Path) -> None:
    """Write ``frame`` (RESULT_COLUMNS) as CSV, floats at full precision, missing values as empty fields."""
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False, columns=RESULT_COLUMNS, lineterminator="\n")
    atomic_write(Path(output), buffer.getvalue().encode("utf-8"))


def collect_records(paths: Sequence[Path], output: Path, *, shared: Iterable[Sequence[Any]] = ()) -> None:
    """The whole rule: read every record, write ``results.csv`` with record paths relative to its folder.

    ``shared`` as in :func:`read_records`.
    """
    output = Path(output)
    frame = collect(paths, root=output.parent, shared=shared)
    write_results_csv(frame, output)


def read_results_csv(path: Path, columns: Sequence[str] = RESULT_COLUMNS) -> pd.DataFrame:
    """Read what ``write_results_csv`` wrote, with its types; text columns hold "" where a value is missing.

    ``columns``, of RESULT_COLUMNS and with those of a row's key among them, is what must be there and is read: fewer
    than all also from a file of a version that wrote others.

    Raises FileFormatError when the file is missing, lacks a column, holds text where numbers belong or text that
    cannot be printed, is empty, repeats a row's key, or mixes several experiments.
    """
    path = Path(path)
    remedy = "Run the rule make_results again."
    # Without keep_default_na=False a pool called "null" or a digest such as "12e4" would change its value.
    try:
        content = read_at_most(path, _LARGEST)
        raw = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path}: cannot be read as results ({error}). {remedy}") from None
    # Fields that a cut takes from the last row would read as empty, and empty is allowed in most of them.
    if not content.endswith(b"\n"):
        raise FileFormatError(f"{path}: its last line is cut short. {remedy}")
    missing = [column for column in columns if column not in raw.columns]
    if missing:
        raise FileFormatError(f"{path}: the columns {', '.join(missing)} are missing. {remedy}")
    if raw.empty:
        raise FileFormatError(f"{path}: holds no result. {remedy}")
    texts, whole, real = ([name for name in kind if name in columns] for kind in (_TEXT, _WHOLE, _REAL))
    frame = raw[texts].copy()
    for column in texts:
        if not all(len(text) <= LONGEST_TEXT and is_printable(text) for text in frame[column].unique()):
            raise FileFormatError(f"{path}: {column} holds a text that is too long or cannot be printed. {remedy}")
    try:
        for column in whole:
            frame[column] = raw[column].astype("int64")
        for column in real:
            frame[column] = raw[column].replace("", "nan").astype("float64")
    except (ValueError, OverflowError) as error:
        raise FileFormatError(f"{path}: {column} holds something else than numbers ({error}). {remedy}") from None
    frame = frame[list(columns)]
    if not np.isfinite(frame[["accuracy", "ci95"]]).all(axis=None):
        raise FileFormatError(f"{path}: an accuracy or its interval is missing or not finite. {remedy}")
    gains = frame[[name for name in Difference._fields if name in columns]]
    if not (np.isfinite(gains).all(axis=1) | gains.isna().all(axis=1)).all():
        raise FileFormatError(f"{path}: a difference is not finite, or without its interval. {remedy}")
    repeated = frame[frame.duplicated(_KEY)]
    if not repeated.empty:
        raise FileFormatError(f"{path}: {_name_row(repeated.iloc[0])} occurs twice. {remedy}")
    if frame["experiment"].nunique() > 1:
        names = ", ".join(sorted(frame["experiment"].unique()))
        raise FileFormatError(f"{path}: mixes the experiments {names}; give each its own file.")
    return frame


def _rows(record: Record, gains: Mapping[Key, Difference], where: str) -> list[dict[str, object]]:
    """The rows of one record, with its differences to the best model."""
    shared = {name: getattr(record, name) for name in RESULT_COLUMNS if name in Record.model_fields}
    return [
        {
            **shared,
            **{name: getattr(result, name) for name in _MEASURED},
            **gains[result.dataset, result.rule, result.batch_norm]._asdict(),
            "record": where,
        }
        for result in record.results
    ]


def _describe(record: Record) -> str:
    """``demo / single / free, 5-way 1-shot, seed 0``."""
    return (
        f"{record.experiment} / {record.pool} / {record.method}, "
        f"{record.ways}-way {record.shots}-shot, seed {record.seed}"
    )


def _name_row(row: pd.Series) -> str:
    """The key of one row, readable."""
    return ", ".join(f"{column} {row[column]}" for column in _KEY)


def _refuse_mixed_episodes(frame: pd.DataFrame) -> None:
    """Accuracies are compared across methods and seeds only on the very same episodes."""
    for group, rows in frame.groupby(["experiment", "pool", "ways", "shots"]):
        firsts = rows.drop_duplicates("episode_digest")
        if len(firsts) > 1:
            files = " and ".join(firsts["record"].iloc[:2])
            raise DfmlError(
                f"the records of pool {group[1]} ({group[2]}-way {group[3]}-shot) were evaluated on "
                f"different episodes, for example {files}. Evaluate them again with one setting."
            )
