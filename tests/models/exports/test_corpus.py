"""Exports as historians, loggers and control systems write them (in `corpus/`, written by us), each read as it is."""

from pathlib import Path

import numpy as np
import pytest

from models.contract import DataError
from models.data import DataOptions, Recording, read
from tests.models.exports.exporting import kinds

CORPUS = Path(__file__).parent / "corpus"
SECOND = 1_000_000


def export(name: str, **options: object) -> Recording:
    return read([CORPUS / name], DataOptions(**options))  # type: ignore[arg-type]


CASES = {
    "american_newest_first.csv": (("Flow (gpm)", "Motor Amps"), ("gpm", "A"), "13:00:00Z", 60, [500, 38]),
    "date_and_time_apart.csv": (("Flow", "Pressure"), ("", ""), "13:00:00Z", 10, [100, 4.5]),
    "epoch_milliseconds.csv": (("flow", "pressure"), ("", ""), "13:00:00Z", 10, [100, 4]),
    "excel_serial_dates.csv": (("Flow", "Pressure"), ("", ""), "12:00:00Z", 60, [100, 4]),
    "german_control_system.csv": (
        ("Durchfluss [m³/h]", "Druck [bar]", "Temperatur [°C]"), ("m³/h", "bar", "°C"), "13:00:00Z", 10,
        [119.5, 4.25, 20],
    ),
    "japanese_logger.csv": (
        ("入口圧力", "モータ電流", "振動ｾﾝｻ"), ("MPa", "A", "mm/s"), "13:00:00Z", 10, [0.5, 20, 1.1]
    ),
    "japanese_weekdays.csv": (("流量", "温度", "運転"), ("", "", ""), "13:00:00Z", 60, [100, 20, 0]),
    "offsets_and_fractions.csv": (("flow", "pressure"), ("", ""), "13:00:00.250Z", 1, [0, 0]),
    "opc_quality.csv": (("ns=2;s=Flow",), ("",), "13:00:00.500Z", 1, [0]),
    "spreadsheet_unicode_text.txt": (("flow", "pressure"), ("", ""), "13:00:00Z", 60, [100, 4]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_export_is_read_without_any_option(name: str) -> None:
    sensors, units, first, seconds, values = CASES[name]
    found = export(name)
    assert (found.sensors, found.units, found.interval) == (sensors, units, seconds * SECOND)
    assert found.row_time[int(found.series[0].row[0])] == f"2026-11-24T{first}"
    assert found.series[0].values[0].tolist() == values
    assert found.series[0].use.all()


def test_every_export_is_read_by_a_test() -> None:
    others = {"historian_long.csv", "historian_tags.csv", "clock_change_berlin.csv"}
    others |= {"japanese_calendar.csv", "japanese_switches.csv"}
    assert {path.name for path in CORPUS.iterdir()} == {*CASES, *others}


def test_a_long_export_of_a_historian_is_read_with_its_map() -> None:
    found = export("historian_long.csv", map=CORPUS / "historian_tags.csv")
    assert (found.sensors, found.units) == (("flow", "discharge pressure"), ("m3/h", "bar"))
    assert [series.equipment for series in found.series] == ["pump-7"]
    assert np.argwhere(np.isnan(found.series[0].values)).tolist() == [[2, 0], [3, 1]]
    assert kinds(found) == ["bad_quality", "zone", "missing_word"]


def test_the_hour_that_a_clock_change_repeats_is_told_by_the_order_of_rows() -> None:
    found = export("clock_change_berlin.csv", timezone="Europe/Berlin")
    assert (np.diff(found.series[0].time) == 1800 * SECOND).all()
    assert found.row_time[0] == "2026-10-24T23:30:00Z"
    assert kinds(found) == []


def test_a_code_of_bad_quality_leaves_a_value_out() -> None:
    assert np.isnan(export("opc_quality.csv").series[0].values[2, 0])


def test_two_machines_in_one_file_are_two_series() -> None:
    assert [series.equipment for series in export("epoch_milliseconds.csv").series] == ["skid-1", "skid-2"]


@pytest.mark.parametrize(
    ("name", "column", "word", "sensor"),
    [
        ("japanese_calendar.csv", "判定", "良", "圧力[MPa]"),
        ("japanese_switches.csv", "state", "入", "flow"),
    ],
)
def test_a_column_of_single_kanji_is_refused_as_it_is_written(name: str, column: str, word: str, sensor: str) -> None:
    with pytest.raises(DataError, match=f"text and no number in '{column}' \\('{word}'\\)"):
        export(name)
    found = export(name, ignore=(column,))
    assert (found.sensors, found.interval, found.row_time[0]) == ((sensor,), 10 * SECOND, "2026-11-24T13:00:00Z")
