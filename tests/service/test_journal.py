import asyncio

import pytest

from service.journal import Record, Unjournaled


def record(sequence: int) -> Record:
    return Record("readings", 0, sequence, 0, [], [])


def test_records_get_the_sequence_that_was_announced() -> None:
    journal = Unjournaled(7)
    assert [journal.next_sequence, journal.append(record(7)), journal.next_sequence] == [7, 7, 8]
    asyncio.run(journal.sync())
    journal.close()


@pytest.mark.parametrize("sequence", [6, 8])
def test_a_record_out_of_its_order_is_refused(sequence: int) -> None:
    journal = Unjournaled(7)
    with pytest.raises(ValueError, match=f"has sequence {sequence}; expected 7"):
        journal.append(record(sequence))
    assert journal.next_sequence == 7
