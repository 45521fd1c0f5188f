"""`limen simulate`: a fleet of pump skids as a CSV file, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.contract import MICROSECONDS, DataError
from models.simulate import Fleet, simulate, write_csv
from service.commands.console import aligned
from service.ingest.times import time_text

READINGS_MAX = 20_000_000  # about 4 GB while they are written


def run(
    out: Path, machines: int, ticks: int, interval_seconds: int, start: str, normal: bool, seed: int, as_json: bool
) -> None:
    """Write the file and say which faults are in it. DataError where the fleet cannot be."""
    if machines * ticks > READINGS_MAX:
        raise DataError(
            f"{machines:,} machines of {ticks:,} ticks are {machines * ticks:,} readings; expected at most "
            f"{READINGS_MAX:,}: choose fewer --machines or --ticks"
        )
    fleet = simulate(machines, ticks, interval_seconds, start, faults=() if normal else None, seed=seed)
    write_csv(fleet, out)
    found = as_dict(fleet, out)
    print(json.dumps(found, indent=1) if as_json else text(found))


def as_dict(fleet: Fleet, out: Path) -> dict[str, Any]:
    """What is in the file, for a program."""
    return {
        "file": str(out),
        "equipment": list(fleet.equipment),
        "sensors": list(fleet.sensors),
        "readings": fleet.label.size,
        "interval_seconds": int(fleet.time[1] - fleet.time[0]) / MICROSECONDS,
        "from": time_text(int(fleet.time[0])),
        "to": time_text(int(fleet.time[-1])),
        "faults": [
            {
                "kind": fault.kind,
                "equipment": fleet.equipment[fault.machine],
                "sensors": list(fault.sensors),
                "from": time_text(int(fleet.time[fault.start])),
                "to": time_text(int(fleet.time[fault.end - 1])),
            }
            for fault in sorted(fleet.faults, key=lambda fault: fault.start)
        ],
    }


def text(found: dict[str, Any]) -> str:
    """The same for a person: a line on the file, and one on each fault."""
    head = (
        f"{found['file']}: {found['readings']:,} readings of {len(found['equipment'])} machine(s) and "
        f"{len(found['sensors'])} sensors, {found['from']} to {found['to']}"
    )
    faults = [
        ("fault", fault["kind"], fault["equipment"], f"{fault['from']} to {fault['to']}", ", ".join(fault["sensors"]))
        for fault in found["faults"]
    ]
    return "\n".join([head, *(aligned(faults) if faults else ["no faults: all of it is normal operation"])])
