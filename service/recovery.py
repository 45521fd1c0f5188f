"""From a shard to a snapshot and back: after a stop and a start, scores go on as if nothing had happened."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.artifact import LoadedModel
from models.contract import brief
from models.disk import remove_leftovers
from service import integrity, snapshot, waiting_snapshot
from service.alarms import Alarm
from service.assembly import Waiting
from service.bank import Bank
from service.configuration import Configuration
from service.equipment import EQUIPMENT_FIELDS, NO_BANK
from service.journal import Journal, JournalError
from service.merging import groups
from service.replay import ModelOf, replay_together
from service.shard import Shard
from service.snapshot import Arrays, BankRecord, Header, NewerSnapshot, Snapshot, SnapshotError

Told = Callable[[int, int], None]  # records and readings that are done

log = logging.getLogger("limen")


def capture(shard: Shard) -> Snapshot:
    """A copy of all that a shard keeps: it may be written from another thread while the shard goes on. A model whose
    machines cannot be copied is left out, with a line in the log: its machines start anew, the others go on."""
    table = shard.equipment_table
    arrays: Arrays = {
        "ids": snapshot.text(msgspec.json.encode(table.ids)),
        "alarms": snapshot.text(shard.book.saved()),
        "configuration": snapshot.text(msgspec.json.encode(shard.configuration)),
        **({"shifts": snapshot.text(shard.sources.saved())} if shard.sources.shifts else {}),
        **{f"equipment.{name}": array for name, array in table.columns.copied().items()},
    }
    if shard.waiting.machines:
        arrays["waiting"] = snapshot.text(waiting_snapshot.saved(shard.waiting.machines))
    records: list[BankRecord] = []
    for bank in shard.banks.values():
        try:
            record, copied = _record(bank), _copied(bank)
        except Exception as error:
            name = f"model {bank.model.name} version {bank.model.version}"
            log.error("the machines of %s are left out of the snapshot: %s", name, error, exc_info=error)
        else:
            records.append(record)
            arrays |= copied
    header = Header(
        format=snapshot.FORMAT,
        shard=shard.number,
        sequence=shard.sequence,
        engine=snapshot.engine_id(),
        equipment=len(table),
        fields=snapshot.describe(table.columns),
        banks=tuple(records),
    )
    return Snapshot(header, arrays)


def make_room(shard: Shard) -> None:
    """Take memory for the next capture, in another thread: readings wait for a capture."""
    for columns in [shard.columns, *(bank.columns for bank in list(shard.banks.values()))]:
        columns.make_room()


def _copied(bank: Bank) -> Arrays:
    states = {f"bank.{bank.number}.{name}": array for name, array in bank.columns.copied().items()}
    drift = bank.drift_state()
    return states | {f"drift.{bank.number}.{name}": array for name, array in drift.items()}


def _record(bank: Bank) -> BankRecord:
    fields = snapshot.describe(bank.columns)
    return BankRecord(bank.number, bank.model.artifact_id, bank.columns.used, tuple(bank.free), fields)


def restore(shard: Shard, found: Snapshot, model_of: ModelOf) -> list[str]:
    """Put an empty shard into the state of a snapshot. Machines of a model that is gone start anew, and their open
    alarms end; returns a sentence on each such model. SnapshotError, with the shard unchanged, where the snapshot does
    not fit this program."""
    header, arrays = found.header, found.arrays
    if header.shard != shard.number:
        raise SnapshotError(f"the snapshot is of shard {header.shard}; expected {shard.number}")
    integrity.check_header(header, arrays)
    ids, alarms, configuration = _ids(arrays, header), _alarms(arrays), _configuration(arrays)
    shifts: dict[str, dict[str, int]] = (
        _decoded(arrays, "shifts", dict[str, dict[str, int]]) if "shifts" in arrays else {}
    )
    waiting = _waiting(arrays)
    columns = snapshot.take(arrays, "equipment.", header.fields, EQUIPMENT_FIELDS, header.equipment)
    integrity.check_shifts(shifts)
    machines = integrity.Machines(ids, columns)
    machines.check(waiting, alarms)
    notes, banks = [], []
    for record in header.banks:
        machines.check_rows(record)
        model = model_of(record.artifact_id)
        if model is None:
            notes.append(f"model {record.artifact_id[:12]} of the snapshot is gone; its machines start anew")
        else:
            banks.append(_bank(shard, record, model, arrays))
            machines.check_centres(record, model.detector)
            integrity.check_states(record, banks[-1].columns, model.detector)
    shard.sequence = header.sequence
    shard.equipment_table.restore(ids, columns)
    shard.book.restore(alarms)
    shard.configuration = configuration
    shard.sources.restore(shifts)
    shard.waiting.restore(waiting)
    shard.adopt(banks)
    own = shard.columns
    own["generation"][: len(shard)] = -1
    numbers = own["bank"][: len(shard)]
    for slot in np.flatnonzero(~np.isin(numbers, [NO_BANK, *(bank.number for bank in banks)])).tolist():
        shard.leave(slot)
    return notes


def _ids(arrays: Arrays, header: Header) -> list[str]:
    ids: list[str] = _decoded(arrays, "ids", list[str])
    if len(ids) != header.equipment:
        raise SnapshotError(f"the snapshot has {len(ids)} equipment ids; expected {header.equipment}")
    return ids


def _alarms(arrays: Arrays) -> list[Alarm]:
    alarms: list[Alarm] = _decoded(arrays, "alarms", list[Alarm])
    return alarms


def _configuration(arrays: Arrays) -> Configuration:
    if "configuration" not in arrays:
        return Configuration()
    configuration: Configuration = _decoded(arrays, "configuration", Configuration)
    return configuration


def _waiting(arrays: Arrays) -> dict[int, Waiting]:
    try:
        return waiting_snapshot.restored(arrays["waiting"].tobytes()) if "waiting" in arrays else {}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SnapshotError(f"what waits in the snapshot is not as this program writes it: {brief(error)}") from None


def _decoded(arrays: Arrays, name: str, kind: Any) -> Any:
    if name not in arrays:
        raise SnapshotError(f"the snapshot lacks its {name}")
    try:
        return msgspec.json.decode(arrays[name].tobytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SnapshotError(f"the {name} of the snapshot are not as this program writes them: {brief(error)}") from None


def _bank(shard: Shard, record: BankRecord, model: LoadedModel, arrays: Arrays) -> Bank:
    bank = Bank(model, record.number, shard.limits.drift_half_life)
    taken = snapshot.take(arrays, f"bank.{record.number}.", record.fields, bank.columns.fields, record.rows)
    bank.columns.restore(taken, record.rows)
    bank.free = list(record.free)
    prefix = f"drift.{record.number}."
    drift = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    try:
        bank.restore_drift(drift)
    except ValueError as error:
        raise SnapshotError(f"the snapshot does not fit model {model.name}: {error}") from None
    return bank


def catch_up(shard: Shard, journal: Journal, model_of: ModelOf, told: Told = lambda records, readings: None) -> int:
    """Replay the records that came after the snapshot; how many readings they hold. `told` is called now and then
    with the records and readings so far. JournalError where records are missing, RecordError where one is damaged."""
    first, start, done = journal.first_sequence(), shard.sequence, 0
    if first is not None and shard.sequence < first:
        raise _lost(shard.sequence, first)
    for group in groups(journal.read(shard.sequence)):
        if group[0].sequence != shard.sequence:
            raise _lost(shard.sequence, group[0].sequence)
        replay_together(shard, group, model_of)
        done += sum(len(readings.time) for record in group for readings in record.readings)
        told(shard.sequence - start, done)
    shard.counters.alarms.clear()  # those of a replay were counted when they opened
    if shard.sequence < journal.next_sequence:
        raise _lost(shard.sequence, journal.next_sequence)
    journal.skip_to(shard.sequence)
    return done


def _lost(first: int, after: int) -> JournalError:
    which = f"record {first} is" if after == first + 1 else f"records {first} to {after - 1} are"
    return JournalError(f"{which} neither in a snapshot nor in the journal: put back the snapshots or a backup")


def recover(shard: Shard, folder: Path, model_of: ModelOf) -> tuple[Path | None, list[str]]:
    """Restore the newest snapshot that can be trusted. Returns its path (None where there is none) and a sentence on
    everything that could not be used. A file that is refused is put aside, so that it does not stay the newest; one of
    a newer program is left where it is. What a crash left of one that was being written is removed."""
    notes: list[str] = []
    remove_leftovers(folder, snapshot.LEFTOVERS)
    for path in snapshot.paths(folder) if folder.is_dir() else []:
        try:
            notes += restore(shard, snapshot.read(path), model_of)
        except NewerSnapshot as error:
            notes.append(f"{path.name} is not used: {error}")
        except SnapshotError as error:
            notes.append(f"{path.name} is not used and put aside as {snapshot.put_aside(path).name}: {error}")
        else:
            return path, notes
    return None, notes
