"""The training loop: it learns, repeats, goes on after a kill, and padding enters nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.contract import ModelError  # noqa: E402
from models.gradient import GradientNetwork  # noqa: E402
from models.harness import Schedule, Sequence, Trained, mean_loss, predict, train  # noqa: E402

SCHEDULE = Schedule(learning_rate=1e-2, batch=4, epochs_max=8, patience=8, stretch=16)


def squares(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (outputs - wanted) ** 2


def sequences(seed: int, count: int = 20) -> list[Sequence]:
    """The sum of the last two inputs is wanted; lengths differ."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        x = rng.normal(size=(int(rng.integers(5, 60)), 2)).astype(np.float32)
        found.append(Sequence(x, x + np.vstack([np.zeros((1, 2), np.float32), x[:-1]])))
    return found


def network() -> GradientNetwork:
    return GradientNetwork(2, 2, 6, 8, "B", "orthogonal", seed=1)


def fitted(
    net: GradientNetwork, schedule: Schedule = SCHEDULE, checkpoint: Path | None = None, killed_after: int = 10**9
) -> Trained:
    """Trained; the process 'ends' while it judges that epoch."""
    held, judged = sequences(1), 0

    def criterion(now: GradientNetwork) -> float:
        nonlocal judged
        judged += 1
        if judged > killed_after:
            raise KeyboardInterrupt
        return mean_loss(now, held, squares)

    return train(net, sequences(0), criterion, squares, schedule, checkpoint)  # type: ignore[arg-type]


def weights(net: GradientNetwork) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in net.parameters()]


def same(one: GradientNetwork, two: GradientNetwork) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(two), strict=True))


def test_it_learns_and_keeps_the_best_weights() -> None:
    net = network()
    trained = fitted(net)
    found = [epoch.criterion for epoch in trained.curve]
    assert min(found) < 0.5 * found[0]
    assert trained.best == int(np.argmin(found)) + 1
    assert mean_loss(net, sequences(1), squares) == pytest.approx(min(found))


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    one, two, other = network(), network(), network()
    fitted(one)
    fitted(two)
    fitted(other, replace(SCHEDULE, seed=1))
    assert same(one, two)
    assert not same(one, other)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path, dropout: float) -> None:
    schedule = replace(SCHEDULE, dropout=dropout, weight_dropout=dropout, decay=0.7)
    whole, resumed, path = network(), network(), tmp_path / "checkpoint"
    curve = fitted(whole, schedule).curve
    with pytest.raises(KeyboardInterrupt):
        fitted(network(), schedule, path, killed_after=4)
    again = fitted(resumed, schedule, path)
    assert same(whole, resumed)
    assert [e.criterion for e in again.curve] == [e.criterion for e in curve]


def spoilt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("schedule", "change", "said"),
    [
        (replace(SCHEDULE, seed=5), lambda path: None, "is a checkpoint of other data or settings"),
        (SCHEDULE, spoilt, "is no checkpoint"),
    ],
)
def test_a_checkpoint_of_another_run_or_half_of_one_is_refused(
    tmp_path: Path, schedule: Schedule, change: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "checkpoint"
    fitted(network(), replace(SCHEDULE, epochs_max=2), path)
    change(path)
    with pytest.raises(ModelError, match=said):
        fitted(network(), replace(schedule, epochs_max=2), path)


def test_it_stops_when_nothing_gets_better() -> None:
    constant = train(network(), sequences(0), lambda net: 1.0, squares, replace(SCHEDULE, patience=2))
    assert (len(constant.curve), constant.best) == (2, 0)


def test_it_stops_when_it_is_good_enough() -> None:
    criteria = iter([3.0, 2.0, 1.0, 0.5, 0.1])
    trained = train(network(), sequences(0), lambda net: next(criteria), squares, replace(SCHEDULE, enough=1.0))
    assert (len(trained.curve), trained.best) == (2, 2)


def test_what_is_padded_changes_nothing() -> None:
    net, found = network(), sequences(3, 6)
    together, alone = predict(net, found), [predict(net, [s])[0] for s in found]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    by_hand = np.concatenate([(o - s.wanted) ** 2 for o, s in zip(alone, found, strict=True)])
    assert mean_loss(net, found, squares) == pytest.approx(float(by_hand.mean()), rel=1e-6)


def test_what_weighs_nothing_is_not_learned_from() -> None:
    known, spoilt = sequences(0), []
    for s in known:
        weight, wanted = np.ones_like(s.wanted), s.wanted.copy()
        weight[::3], wanted[::3] = 0, 1e6
        spoilt.append(Sequence(s.inputs, wanted, weight))
    zeroed = [Sequence(s.inputs, np.where(s.weight == 0, 0, s.wanted).astype(np.float32), s.weight) for s in spoilt]
    one, two = network(), network()
    for net, data in ((one, spoilt), (two, zeroed)):
        train(net, data, lambda now: mean_loss(now, known, squares), squares, replace(SCHEDULE, epochs_max=2))
    assert same(one, two)


def test_an_error_that_is_no_number_is_told() -> None:
    with pytest.raises(ModelError, match="no finite error at learning rate"):
        train(network(), sequences(0), lambda net: float("nan"), squares, SCHEDULE)
