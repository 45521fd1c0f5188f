import numpy as np

from service.align import NEVER
from service.equipment import EQUIPMENT_FIELDS, NO_BANK, EquipmentTable


def test_slots_are_given_out_in_order_of_appearance_and_found_by_id() -> None:
    table = EquipmentTable()
    assert [table.add(name) for name in ("b", "a", "ポンプ")] == [0, 1, 2]
    assert table.slots(["ポンプ", "nobody", "b"]).tolist() == [2, -1, 0]
    assert (table.slot("a"), table.slot("nobody"), len(table)) == (1, None, 3)
    assert len(table.slots([])) == 0


def test_a_new_machine_has_no_model_and_no_time() -> None:
    table = EquipmentTable()
    slot = table.add("a")
    assert table.columns["bank"][slot] == NO_BANK
    assert table.columns["last_time"][slot] == table.columns["heard"][slot] == NEVER
    assert not table.columns["silent"][slot]
    assert table.columns["ring_count"][slot] == 0


def test_restored_machines_have_their_slots_and_new_ones_come_after() -> None:
    table = EquipmentTable()
    table.add("old")
    table.restore(["x", "y"], {"last_time": np.array([5, 6])})
    assert (table.slot("old"), table.slot("y"), table.add("z")) == (None, 1, 2)
    assert table.columns["last_time"][:3].tolist() == [5, 6, NEVER]


def test_the_state_of_a_machine_beside_its_model_stays_small() -> None:
    """The bound of 2 KB a machine leaves this much beside the arrays of a model with 32 sensors and 64 memories."""
    assert sum(field.row_bytes for field in EQUIPMENT_FIELDS.values()) < 1100
