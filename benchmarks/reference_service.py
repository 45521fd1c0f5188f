"""What a user would write: FastAPI, pydantic, and a torch LSTM cell stepped once a reading; reference of serving.py.

usage: uvicorn benchmarks.reference_service:app        needs torch
"""

from __future__ import annotations

from datetime import datetime

import torch
from fastapi import FastAPI
from pydantic import BaseModel

SENSORS, HIDDEN = 32, 64

torch.set_num_threads(1)
torch.manual_seed(0)
cell = torch.nn.LSTMCell(SENSORS, HIDDEN)
readout = torch.nn.Linear(HIDDEN, SENSORS)
memories: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
app = FastAPI()


class Reading(BaseModel):
    equipment: str
    time: datetime
    values: dict[str, float | None]


class Readings(BaseModel):
    readings: list[Reading]


class Result(BaseModel):
    equipment: str
    time: datetime
    score: float
    alarm: bool


@app.post("/v1/readings")
async def score(body: Readings) -> list[Result]:
    """Score each reading by the squared error of the prediction made at the one before it."""
    results = []
    with torch.inference_mode():
        for reading in body.readings:
            x = torch.tensor([[value or 0.0 for value in reading.values.values()]])
            memory = memories.get(reading.equipment)
            error = 0.0
            if memory is not None:
                error = float(((readout(memory[0]) - x) ** 2).mean())
            memories[reading.equipment] = cell(x, memory)
            results.append(Result(equipment=reading.equipment, time=reading.time, score=error, alarm=error > 1))
    return results
