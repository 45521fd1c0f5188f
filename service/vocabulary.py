"""The words that answers are written in, a sentence each: for the page at /docs and the OpenAPI document."""

from __future__ import annotations

from models.score import MOVED, SPANS, STATISTICS, VECTOR_SPAN
from service.ring import RING_RESULTS

STATUS = {
    "scored": "It has a score.",
    "warming": "The memory of the machine has not seen enough yet; no score.",
    "held": "It waits until nothing can come before it, or to be joined; its result is in the recent scores later.",
    "unscored": "It was taken in without a score: no sensor of the model had a value.",
    "duplicate": "The same reading came before; the answer repeats what was said then.",
    "late": "It is older than the last reading of its machine, and was left out.",
    "rejected": "It was not taken in; `reason` says why.",
}
REASON = {
    "conflict": "Another value of a sensor came at this time before, and it stands.",
    "future": "It is too far ahead of the clock.",
    "too_old": "Not used yet.",
    "unknown_equipment": "Not used yet.",
    "no_model": "No model serves this machine.",
    "no_sensor": "No sensor of the model is in it, or none has a value.",
    "bad_value": "It could not be read; `detail` says what and where.",
    "already_processed": "Its tick was judged before: as `duplicate`, the reading is older than what is remembered; as "
    "`late`, it brings sensors that had not come, or is a point that is not known to have come.",
    "gap": "The memory started anew after a gap.",
    "stopped": "Not used yet.",
    "limit": "A bound of the settings is reached.",
}
FLAGS = {
    "historical": "It is older than the setting `historical_seconds` says: scored as usual; an alarm that it opens "
    "counts only where it is still open at a reading that is not.",
    "imputed": "A sensor was missing, and its estimate stood in for it.",
    "unseen_mode": "Not used yet.",
    "maintenance": "Not used yet.",
    "sensor_fault": "Not used yet.",
}
LEADING = dict(
    zip(
        (*STATISTICS, MOVED),
        (
            "How far all sensors together are from what was expected at this reading.",
            f"The same, smoothed over {SPANS[0]} readings.",
            f"The same, smoothed over {SPANS[1]} readings: it finds what is small and lasts.",
            f"The deviation of each sensor, smoothed over {VECTOR_SPAN} readings: it finds sensors that stay off "
            "to one side.",
            "A sensor that never moved in training has moved.",
        ),
        strict=True,
    )
)
KIND = {
    "process": "The readings of a machine are not as the model expects: scores of 1 and more, again and again.",
    "silent": "A machine has not been heard from for several intervals of its model.",
    "sampling_mismatch": "A machine sends at another interval than its model was trained at: its scores are of no use.",
}
WORDS = {"status": STATUS, "reason": REASON, "flags": FLAGS, "leading": LEADING, "kind": KIND}

TYPES = (
    *("Answer", "Result", "BatchResult", "RefusedReading", "Advice"),
    *("EquipmentEntry", "EquipmentDetail", "SensorView", "RecentScores", "ScoreEntry"),
    *("AlarmView", "Opening", "SensorShare"),
    *("MachineForecast", "SensorForecast", "LimitForecast"),
)  # whose fields are explained
FIELDS = {
    "score": "1 is the threshold of the promised false-alarm rate; the higher, the less normal. Null where "
    "there is none.",
    "p_value": "Share of normal readings, held out in training, with a score at least as high.",
    "alarm": "Whether an alarm of kind process is open.",
    "leading": "The statistic that made the score.",
    "statistic": "The squared prediction error of the last reading.",
    "contribution": "What the sensor adds to `statistic`, the squared prediction error of that reading; all of them "
    "sum to it, and single ones may be negative.",
    "share": "The sensor's part, 0 to 1, of the statistic that made the score, which `leading` names: where that one "
    "is smoothed, it looks back further than `contribution`.",
    "sensors": "Those with the greatest shares, none under 0.01.",
    "opening": "Score and sensors of the reading that opened the alarm; null for other kinds.",
    "peak": "The greatest score while the alarm was open.",
    "historical": "Whether a reading that was historical opened it, and no other found it open: it is not in the "
    "metrics.",
    "held": "Ticks that wait: for readings before them, or for sensors that come apart.",
    "EquipmentDetail.alarm": "The open alarm of kind process, if there is one.",
    "EquipmentDetail.interval_seconds": "The time between two readings that the model was trained at.",
    "observed_interval_seconds": f"The median of the times between the last {RING_RESULTS} readings; null before there "
    "are two.",
    "EquipmentDetail.sensors": "All sensors of the model, in its order; none before the first reading.",
    "scores": f"The last {RING_RESULTS} readings at most, oldest first. With parameters, a page of the history.",
    "now": "Its last value; where that is missing, what is expected next.",
    "lower": "Null where no interval is known: too far ahead for what training held out, or a constant sensor moved.",
    "upper": "As `lower`.",
    "limits": "When each of the limits asked for is reached.",
    "rising": "Whether the sensor stands below the limit now.",
    "earliest": "When the near end of the interval gets there; null: not within the horizon.",
    "latest": "When the far end does; null: not within the horizon.",
    "LimitForecast.expected": "When the forecast does; null: not within the horizon.",
    "interval_ticks_max": "Ticks ahead up to which intervals are known.",
    "MachineForecast.sensors": "Those asked for, or all of the model.",
    "next": "With parameters only: the `cursor` that asks on; null where there is no more. A page without entries may "
    "have a next one.",
    "warnings": "Sentences on sensors that no model knows.",
    "readings": "How many it concerns.",
    "detail": "Why there is no score, and what to do.",
}


def sentence(kind: str, field: str) -> str:
    """What a field of a type of answer holds: what it is, and the words that it may be; "" where its name says it all.

    >>> sentence("AlarmView", "kind")[:33], sentence("Health", "status")
    ('process: The readings of a machin', '')
    """
    if kind not in TYPES:
        return ""
    words = [f"{word}: {meaning}" for word, meaning in WORDS.get(field, {}).items()]
    return " ".join(filter(None, [FIELDS.get(f"{kind}.{field}", FIELDS.get(field, "")), *words]))
