from __future__ import annotations

import numpy as np
import pytest

from models.contract import ModelError
from models.feature_choice import COUNTS, choose_features, excerpt, feature_counts
from models.fit import Shape
from models.memory_choice import Choices
from models.preprocess import Segment
from models.train import Options, train
from tests.builders import bent_process, names, process
from tests.models.test_features import SECOND, SHAPE, bent, network
from tests.models.test_memory_choice import cross_fit


def test_features_are_chosen_where_they_win_and_then_predict_better() -> None:
    featured, plain = bent(), bent((0,))
    assert network(featured).tanh is not None
    chosen = next(c for c in featured.feature_candidates if c.chosen)
    assert chosen.features in (16, 32)
    assert network(featured).units == 3 + chosen.features
    fresh = bent_process(2)
    errors = [np.mean(t.detector.run(fresh).residual[20:, 1] ** 2) for t in (featured, plain)]
    assert errors[0] < 0.85 * errors[1]
    tried = [c.features for c in featured.manifest.fit.feature_candidates]
    assert tried == [0, 16, 32][: len(featured.feature_candidates)]


def test_plain_is_chosen_where_the_process_is_linear() -> None:
    x = process(1, 1500)
    options = Options(shape=SHAPE, features=COUNTS)
    tried = train([Segment("m", x)], names(4), SECOND, options)
    plain = train([Segment("m", x)], names(4), SECOND, Options(shape=SHAPE))
    assert [(c.features, c.chosen) for c in tried.feature_candidates] == [(0, True), (16, False)]
    assert tried.manifest.memory_id == plain.manifest.memory_id


def test_a_memory_that_is_free_grows_and_features_have_to_beat_a_plain_one_of_its_size() -> None:
    z = bent_process(3)
    choices = Choices((4, 6), (4,), (0.9,))
    cross = cross_fit([(z - z.mean(0)) / z.std(0)], choices)
    best, tried = choose_features(cross.of_shape(Shape(6, 4, 0.9)), (0, 8), True, 0)
    assert [(c.features, c.shape.memory_size) for c in tried] == [(0, 6), (0, 12), (8, 14)]
    assert (best.feature_count, best.shape.memory_size) == (8, 14)


def test_many_rows_are_tried_on_an_excerpt_of_every_block() -> None:
    cross = cross_fit([process(1, 2000), process(2, 1000)], Choices((4,), (4,), (0.9,))).of_shape(Shape(4, 4, 0.9))
    part = excerpt(cross, 600)
    assert [sum(p.stop for p in pieces) for pieces in part.pieces] == [120] * 5
    assert excerpt(cross, 3000) is cross
    assert len(excerpt(cross, 10).runs[0]) == 8 * 4


@pytest.mark.parametrize("text", ["many", "-1", "257", "1.5"])
def test_a_number_of_features_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="expected auto, none, or a number up to 256"):
        feature_counts(text)
