"""Whether a data folder is whole: every record of the journal, every snapshot, every model, that they fit together, and
every exported day.

Only reads, so the service may be running. Where a start would go on without something or refuse, that is damage;
everything that was looked at is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from models.artifact import LoadedModel, load
from models.contract import DataError, ModelError, brief
from models.exports.files import REFUSED_BY_POLARS
from models.exports.history import history_columns
from models.manifest import valid_name
from service import history, recovery, snapshot
from service.configuration import Configuration
from service.history import HISTORY
from service.journal_end import marked, missing_end
from service.journal_reader import JournalError, JournalFile, OlderJournal
from service.records import Record, RecordError
from service.registry import RegistryError, read_index
from service.settings import JOURNAL, MODELS, SNAPSHOTS
from service.shard import Shard
from service.snapshot import SnapshotError

TOLD_MAX = 100  # damaged records that are named
TOLD_EVERY = 64  # records
ANEW = "no backup has it; limen journal export writes it anew, as far as the journal has its records"

Told = Callable[[str, float], object]  # what is being looked at, and the share of it that was


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at, and what it is; `damage` where it is not as it should be."""

    part: str  # journal, snapshots, models or history
    text: str
    damage: bool = False


@dataclass(slots=True)
class Report:
    """What was found in a data folder. `first` and `last` are the oldest record and the newest one (0: none)."""

    findings: list[Finding] = field(default_factory=list)
    records: int = 0
    readings: int = 0
    first: int = 0
    last: int = 0
    changes: list[Record] = field(default_factory=list)  # of models and settings
    configuration: Configuration = field(default_factory=Configuration)  # as recorded last

    @property
    def damage(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.damage]

    def add(self, part: str, text: str, damage: bool = False) -> None:
        """Take in a finding."""
        self.findings.append(Finding(part, text, damage))


def verify(data_dir: Path, told: Told = lambda stage, share: None) -> Report:
    """Look at everything in a data folder. JournalError where it is none."""
    check_is_data_folder(data_dir)
    report = Report()
    paths = snapshot.paths(data_dir / SNAPSHOTS)  # before the journal, which a running service takes further
    _journal(report, data_dir / JOURNAL, told)
    models = _models(report, data_dir / MODELS, told)
    saved = list(_snapshots(report, paths, models, told))
    for path in sorted((data_dir / SNAPSHOTS).glob(f"{snapshot.ASIDE}*")):
        report.add("snapshots", f"{path.name} was put aside by a start that could not use it")
    _history(report, data_dir / HISTORY, told)
    newest = max(saved, key=lambda shard: shard.sequence, default=Shard(lambda equipment: None))
    _fit(report, newest.sequence)
    _configure(report, newest)
    return report


def check_is_data_folder(data_dir: Path) -> None:
    """JournalError where a folder holds nothing of a service."""
    if not any((data_dir / name).exists() for name in (JOURNAL, SNAPSHOTS, MODELS)):
        raise JournalError(f"{data_dir} is no data folder: it holds neither journal nor snapshots nor models")


# -- the journal -----------------------------------------------------------------------------------------------------


def _journal(report: Report, path: Path, told: Told) -> None:
    safe = marked(path)  # before the journal, which a running service takes further
    if not path.exists() and not safe:
        report.add("journal", "there is none: the service has not run, or without its journal")
        return
    troubles = []
    try:
        journal = JournalFile(path)
        report.first, report.last = journal.first_sequence() or 0, journal.last_sequence()
        for found in journal.examine():
            if found.trouble:
                troubles.append(found.trouble)
            if found.record is not None:
                _count(report, found.record)
            if found.sequence % TOLD_EVERY == 0:
                told("records", (found.sequence - report.first + 1) / max(report.last - report.first + 1, 1))
        if report.last < safe:
            troubles.append(missing_end(path, report.last, safe))
    except OlderJournal as error:
        report.add("journal", f"{error}; its records were not looked at")
        return
    except JournalError as error:
        troubles.append(str(error))
    for trouble in troubles[:TOLD_MAX]:
        report.add("journal", trouble, damage=True)
    if len(troubles) > TOLD_MAX:
        report.add("journal", f"and {len(troubles) - TOLD_MAX} more", damage=True)
    if not troubles:
        which = f"records {report.first} to {report.last}" if report.records else "no record"
        report.add("journal", f"{which}, {report.readings:,} readings: whole")


def _count(report: Report, record: Record) -> None:
    report.records += 1
    report.readings += sum(len(part.time) for part in record.readings)
    if record.kind in ("activate", "settings"):
        report.changes.append(record)


# -- models ----------------------------------------------------------------------------------------------------------


def _models(report: Report, folder: Path, told: Told) -> dict[str, LoadedModel]:
    """The models that can be used, by artifact id."""
    try:
        active = dict(read_index(folder).active)
    except RegistryError as error:
        report.add("models", str(error), damage=True)
        active = {}
    models, versions = {}, list(version_folders(folder))
    for place, (name, number) in enumerate(versions):
        which = f"model {name} version {number}{', which is active' if active.get(name) == number else ''}"
        told("models", place / len(versions))
        try:
            model = load(folder / name / str(number))
        except (ModelError, OSError) as error:
            report.add("models", f"{which}, is damaged: {error}", damage=True)
        else:
            models[model.artifact_id] = model
            report.add("models", f"{which}: whole")
    for name, number in sorted(active.items()):
        if (name, number) not in versions:
            report.add("models", f"model {name} version {number} is active and not there", damage=True)
    return models


def version_folders(folder: Path) -> Iterator[tuple[str, int]]:
    """Name and number of every version in a folder of models."""
    for path in sorted(folder.glob("*/*")):
        if path.is_dir() and path.name.isdecimal() and valid_name(path.parent.name):
            yield path.parent.name, int(path.name)


# -- snapshots -------------------------------------------------------------------------------------------------------


def _snapshots(report: Report, paths: list[Path], models: dict[str, LoadedModel], told: Told) -> Iterator[Shard]:
    """The states of the snapshots that a start can use."""
    for place, path in enumerate(paths):
        told("snapshots", place / len(paths))
        shard = Shard(lambda equipment: None)
        try:
            notes = recovery.restore(shard, snapshot.read(path), models.get)
        except SnapshotError as error:
            if path.exists():  # a running service removes the oldest
                report.add("snapshots", str(error), damage=True)
            continue
        report.add("snapshots", "; ".join([f"{path.name}, {len(shard):,} machines: whole", *notes]))
        yield shard


def _history(report: Report, folder: Path, told: Told) -> None:
    """The exported days."""
    paths = sorted(path for day in history.days(folder) for path in day.glob("*.parquet"))
    whole = 0
    for place, path in enumerate(paths):
        told("history", place / len(paths))
        try:
            whole += history_columns(path) is not None
        except (DataError, *REFUSED_BY_POLARS, OSError) as error:
            if path.exists():  # a running service removes the oldest
                report.add("history", f"{path.parent.name}: {brief(error)}; {ANEW}", damage=True)
    if whole:
        report.add("history", f"{whole:,} exported files: whole")


def _fit(report: Report, newest: int) -> None:
    """The newest snapshot, or nothing before record 1, and the records after it make up the state."""
    if report.records and newest < report.first:
        missing = f"records {newest} to {report.first - 1} are neither in a snapshot nor in the journal"
        report.add("journal", missing, damage=True)
    if report.last and newest > report.last + 1:
        text = f"the newest snapshot holds records up to {newest - 1}, the journal up to {report.last}"
        report.add("journal", f"{text}: its end is missing, or the service ran without it", damage=True)


def _configure(report: Report, newest: Shard) -> None:
    report.configuration = newest.configuration
    for record in report.changes:
        if record.sequence >= newest.sequence:
            try:
                report.configuration = report.configuration.after(record)
            except RecordError as error:
                report.add("journal", str(error), damage=True)
