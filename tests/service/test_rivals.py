"""A rival of the LMN in the registry, served over HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from models import artifact
from models.fit import Shape
from models.preprocess import Segment
from models.train import Options, train
from service.lifecycle import Service
from tests.builders import RIVALS, names, need, process
from tests.service.running import run, settings, time_of

ROWS, FAULTY = 160, slice(120, 160)


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_scores_over_http_as_by_itself(method: str, tmp_path: Path) -> None:
    need(method)
    scores_over_http(Options(Shape(8, 4, 0.95), method=method, name="rival"), tmp_path)


def test_features_score_over_http_as_by_themselves(tmp_path: Path) -> None:
    scores_over_http(Options(Shape(16, 4, 0.95), features=(8,), name="bent"), tmp_path)


def scores_over_http(options: Options, tmp_path: Path) -> None:
    training = train([Segment("machine", process(0))], names(4), 1_000_000, options)
    artifact.save(training.manifest, training.detector, training.drift, tmp_path / "rival", training.horizons)
    x = process(3, ROWS)
    x[20, 1] = np.nan
    x[FAULTY, 2] += 6.0

    async def scenario(client: httpx.AsyncClient, service: Service) -> None:
        values = [[None if np.isnan(value) else value for value in row] for row in x.tolist()]
        body: dict[str, Any] = {"equipment": "machine", "sensors": list(names(4)), "values": values}
        answer = await client.post("/v1/readings", json=body | {"times": [time_of(tick) for tick in range(ROWS)]})
        assert answer.status_code == 200, answer.text
        found = np.array(answer.json()["batches"][0]["score"], np.float64)
        own = training.detector.run(x, equipment="machine").score
        np.testing.assert_allclose(found, own, rtol=1e-5)
        assert np.nanmax(found[FAULTY]) > 1
        asked = await client.get("/v1/equipment/machine/forecast", params={"horizon": 2})
        assert asked.status_code == 200, asked.text

    run(settings(tmp_path / "data", model=tmp_path / "rival"), scenario)


@pytest.mark.parametrize("method", ["pca", "k-means", pytest.param("lstm", marks=pytest.mark.prove)])
def test_what_a_rival_remembers_survives_a_kill(method: str, tmp_path: Path) -> None:
    """The folder as a kill in the middle leaves it, taken while the service runs: later scores are the same bits."""
    need(method)
    options = Options(Shape(8, 4, 0.95), method=method, name="rival")
    training = train([Segment("machine", process(0))], names(4), 1_000_000, options)
    artifact.save(training.manifest, training.detector, training.drift, tmp_path / "rival", training.horizons)
    x, found = process(3, ROWS), []

    async def post(client: httpx.AsyncClient, rows: slice) -> list[float | None]:
        body: dict[str, Any] = {"equipment": "machine", "sensors": list(names(4)), "values": x[rows].tolist()}
        times = [time_of(tick) for tick in range(rows.start, rows.stop)]
        answer = await client.post("/v1/readings", json=body | {"times": times})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["batches"][0]["score"])

    async def whole(client: httpx.AsyncClient, service: Service) -> None:
        await post(client, slice(0, 90))
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
        found.append(await post(client, slice(90, ROWS)))

    async def again(client: httpx.AsyncClient, service: Service) -> None:
        found.append(await post(client, slice(90, ROWS)))

    run(settings(tmp_path / "data", model=tmp_path / "rival"), whole)
    run(settings(tmp_path / "killed", model=None), again)
    assert None not in found[0]
    assert found[0] == found[1]
