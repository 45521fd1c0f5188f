"""Files -> tables. What a file is, its first bytes say; the ending of its name only says what it was meant to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from models.contract import DataError, brief
from models.exports.dialect import Dialect, detect
from models.exports.encodings import SAMPLE_BYTES, decode
from models.exports.findings import Finding
from models.exports.history import history_columns
from models.exports.ragged import check_lines, line_number, refuse_long_lines
from models.exports.tables import Kinds, KnownRoles, Table
from models.exports.workbooks import open_workbook

CONTROLS = frozenset(range(32)) - frozenset(b"\t\r\n\f\x1a")  # bytes that no text holds
REFUSED_BY_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)  # a panic at some damaged files
SAMPLE_LINES_MIN = 10  # lines that are looked at at least, however long they are


def open_table(path: Path, separator: str | None = None, encoding: str | None = None) -> Table:
    """The table in a file: names and first rows. DataError where it is none; `load` reads the rest."""
    start = _first_bytes(path)
    if start.startswith(b"PAR1"):
        return _parquet(path)
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return open_workbook(path)
    suffix = path.suffix.lower()
    if suffix in {".parquet", ".pq", ".xlsx", ".xlsm"}:
        what = f"its first bytes are {start[:8]!r}"
        if not set(start) & CONTROLS:
            what = "it looks like text; rename it to .csv"
        raise DataError(f"{path.name} is no {suffix} file: {what}")
    if start.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        raise DataError(f"{path.name} is compressed; unpack it first")
    return _csv(path, separator, encoding)


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the files in it")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not start.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise DataError(f"{path.name} is empty; expected a header and rows of data")
    return start


def _csv(path: Path, separator: str | None, encoding: str | None) -> Table:
    raw = path.read_bytes()
    name, guessed, text = decode(raw, path, encoding)
    if b"\r" in raw[:SAMPLE_BYTES] and b"\n" not in raw:
        text = (raw.decode("utf-8") if text is None else text).replace("\r", "\n")  # line ends of old Macs
    sample = _sample(raw if text is None else text)
    _refuse_other_formats(sample, path)
    dialect = detect(sample, path, name, guessed, separator)
    coded = raw if text is None else text.encode()
    source: Path | bytes = path if text is None else coded
    findings = check_lines(coded, path, dialect)
    if guessed:
        said = f"{path.name} is read as {name} text, the likeliest; --encoding says another"
        findings.append(Finding("encoding", said))
    return Table(
        path, dialect.columns, dialect.units, dialect.head, lambda kinds: _fetch_csv(source, path, dialect, kinds),
        lambda row: line_number(source, dialect, row), decimal=dialect.decimal, findings=findings,
    )  # fmt: skip


def _sample(content: bytes | str) -> str:
    """The first whole lines of a file, more of it where lines are long."""
    size = SAMPLE_BYTES
    while True:
        part = content[:size]
        text = part if isinstance(part, str) else part.decode("utf-8", "ignore").removeprefix("\ufeff")
        if len(part) == len(content):
            return text
        if text.count("\n") > SAMPLE_LINES_MIN:
            return text[: text.rfind("\n") + 1]
        size *= 4


def _refuse_other_formats(sample: str, path: Path) -> None:
    start = sample[:2000].lstrip().lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<table")):
        raise DataError(f"{path.name} is a web page or XML; expected CSV, Parquet or .xlsx (save it as one of them)")
    strange = sum(1 for c in sample[:4096] if ord(c) < 32 and c not in "\t\r\n\x0b\x0c\x1a")
    if strange > len(sample[:4096]) // 50:
        raise DataError(f"{path.name} is no text: it is full of control characters; expected CSV, Parquet or .xlsx")


def _fetch_csv(source: Path | bytes, path: Path, dialect: Dialect, kinds: Kinds) -> pl.DataFrame:
    """Columns of all rows after the header. DataError naming the line where a row has too many fields."""
    comma = dialect.decimal == ","
    as_text = comma and dialect.separator == ","
    schema = {str(i): pl.String if as_text else kinds.get(i, pl.String) for i in range(len(dialect.columns))}

    def fetch(ragged: bool) -> pl.DataFrame:
        frame = pl.read_csv(
            source, has_header=False, separator=dialect.separator, skip_rows=dialect.skip, schema=schema,
            columns=sorted(kinds), ignore_errors=True, decimal_comma=comma and not as_text, missing_columns="insert",
            quote_char='"' if dialect.quoted else None, truncate_ragged_lines=ragged,
            extra_columns="ignore" if ragged else "raise",
        )  # fmt: skip
        return frame.select(str(i) for i in kinds)

    try:
        frame = fetch(ragged=False)
    except REFUSED_BY_POLARS:
        refuse_long_lines(source, path, dialect)
        try:
            frame = fetch(ragged=True)
        except REFUSED_BY_POLARS as error:
            raise DataError(f"{path.name} cannot be read as CSV: {_first_line(error)}") from None
    if as_text:
        frame = frame.with_columns(
            pl.lit(None, pl.Float64).alias(str(i)) for i, kind in kinds.items() if kind == pl.Float64
        )
    return frame


def _parquet(path: Path) -> Table:
    with _damage_named(path):
        schema = pl.read_parquet_schema(path)
        head = pl.read_parquet(path, n_rows=50)
    names = list(schema)
    for name, kind in schema.items():
        if kind.is_nested() or kind in (pl.Binary, pl.Object):
            head = head.with_columns(pl.lit("?").alias(name))

    def fetch(kinds: Kinds) -> pl.DataFrame:
        for i in kinds:
            if schema[names[i]].is_nested():
                raise DataError(
                    f"{path.name}: column {names[i]!r} holds lists; leave it out with --ignore {names[i]!r}"
                )
        with _damage_named(path):
            frame = pl.read_parquet(path, columns=[names[i] for i in kinds])
            return frame.select(_cast(frame[names[i]], kind).alias(str(i)) for i, kind in kinds.items())

    if not head.height:
        raise DataError(f"{path.name} has columns but no rows of data")
    units, roles = _own(path, names)
    rows = tuple(tuple("" if cell is None else str(cell) for cell in row) for row in head.rows())
    return Table(path, tuple(names), units, rows, fetch, lambda row: row + 1, noun="row", roles=roles)


def _own(path: Path, names: list[str]) -> tuple[tuple[str, ...], KnownRoles | None]:
    """Units and roles of columns, where Limen exported the file."""
    known = history_columns(path)
    if known is None:
        return ("",) * len(names), None
    units = dict(zip(known.sensors, known.units, strict=True))
    roles = KnownRoles(known.time, known.equipment, frozenset(known.sensors))
    return tuple(units.get(name, "") for name in names), roles


def _first_line(error: BaseException) -> str:
    return next(iter(brief(error).splitlines()), "it is damaged")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """DataError where Parquet cannot be read."""
    try:
        yield
    except (*REFUSED_BY_POLARS, OSError) as error:
        raise DataError(f"{path.name} is no Parquet file that can be read: {_first_line(error)}") from None


def _cast(column: pl.Series, kind: type[pl.String] | type[pl.Float64]) -> pl.Series:
    """As numbers where asked and possible; else typed times and numbers as they are, the rest as text."""
    typed = column.dtype
    if typed == pl.Boolean:
        column = column.cast(pl.Float64)
    if kind == pl.Float64 and typed.is_temporal():
        return pl.Series(column.name, [None] * len(column), pl.Float64)
    if kind == pl.Float64 and not typed.is_nested():
        return column.cast(pl.Float64, strict=False)
    return column.cast(pl.String, strict=False) if typed in (pl.Categorical, pl.Enum) else column
