from models.exports.findings import Finding, some


def test_a_few_examples_stand_for_many() -> None:
    assert some(["a", "b"], 12) == "a, b and 10 more"
    assert some([]) == ""


def test_a_finding_about_many_things_counts_all_and_keeps_a_few() -> None:
    found = Finding.of("empty_column", "nothing in them", list("abcdefg"))
    assert (found.count, found.examples) == (7, tuple("abcde"))
