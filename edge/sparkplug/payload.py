"""Payloads of Sparkplug B: birth and death certificates, verdicts as metrics, and what is asked of a node. No I/O.

Chapters and tck-ids are those of the Eclipse Sparkplug Specification 3.0.0. Importing this loads protobuf, or raises
ConfigError where that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edge import clock
from edge.contract.json import NOT_JSON
from edge.contract.messages import Event, Gap, Verdict
from edge.errors import ConfigError
from edge.record import Record

try:
    from google.protobuf.message import DecodeError

    from edge.sparkplug.sparkplug_b_pb2 import DataType, Payload
except Exception as error:  # Also VersionError, of a protobuf that cannot run what another version of it wrote.
    problem = f"[sparkplug] needs another protobuf ({error}): pip install 'edge-inspect[sparkplug]'"
    raise ConfigError(problem) from error

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from edge.ledger.rows import Row

Value: TypeAlias = str | float | bool | None

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
COUNTERS = {verdict: f"Counters/{verdict}" for verdict in Verdict}
"""Verdicts of each kind that were published since the daemon's start."""
WAITING, LOST = "Ledger/Waiting", "Ledger/Lost"
SOFTWARE, SITE, DEVICE = "Properties/Software", "Properties/Site", "Properties/Device"
METRICS = {
    BD_SEQ: DataType.Int64,
    SOFTWARE: DataType.String,
    SITE: DataType.String,
    DEVICE: DataType.String,
    "Inspection/Event ID": DataType.String,
    "Inspection/Sequence": DataType.Int64,
    "Inspection/Verdict": DataType.String,
    "Inspection/Reason": DataType.String,
    "Inspection/Label": DataType.String,
    "Inspection/Score": DataType.Double,
    "Inspection/Threshold": DataType.Double,
    "Inspection/Camera": DataType.String,
    "Inspection/Source": DataType.String,
    "Inspection/Trigger": DataType.String,
    "Inspection/Model SHA-256": DataType.String,
    "Inspection/Latency ms": DataType.Double,
    "Inspection/Clock Synchronized": DataType.Boolean,
    "Gap/First": DataType.Int64,
    "Gap/Last": DataType.Int64,
    "Gap/Reason": DataType.String,
    "Gap/Verdicts": DataType.String,
    **dict.fromkeys(COUNTERS.values(), DataType.Int64),
    WAITING: DataType.Int64,
    LOST: DataType.Int64,
}
"""All that a node of this kind ever publishes, but for REBIRTH, which has no alias (...-rebirth-name-aliases)."""
_ALIASES = {name: alias for alias, name in enumerate(METRICS, start=1)}
_FIELDS = {
    DataType.Int64: "long_value",
    DataType.String: "string_value",
    DataType.Double: "double_value",
    DataType.Boolean: "boolean_value",
}
LARGEST = 64 << 10
"""Bytes of a command; a host that asks for a rebirth needs 50. A birth certificate, which comes back, has less."""
_TEXT = 10_000
"""Characters of a text, at most: a broker hangs up on a packet that is too large, and would each time it comes."""


class Sample(Record, frozen=True):
    """Values of one moment, by their metrics' names."""

    values: dict[str, Value]
    time: datetime
    historical: bool = False


def sample(entry: Row | Gap, *, historical: bool) -> Sample:
    """Return what is told of a verdict or a gap.

    All of a verdict's metrics, changed or not: it stands for itself, and what is historical may be read out of turn.
    """
    if isinstance(entry, Gap):
        return _gap(entry, historical)
    try:
        event = msgspec.json.decode(entry.json, type=Event)
    except NOT_JSON:
        # An older version may have written it otherwise; it must not hold up the others.
        gap = Gap(first=entry.seq, last=entry.seq, reason="damaged", verdicts={entry.verdict: 1})
        return _gap(gap, historical)
    told: dict[str, Value] = {
        "Event ID": event.id,
        "Sequence": event.seq,
        "Verdict": event.verdict.value,
        "Reason": event.reason,
        "Label": event.label,
        "Score": event.score,
        "Threshold": event.threshold,
        "Camera": event.camera,
        "Source": event.source,
        "Trigger": event.trigger,
        "Model SHA-256": event.model,
        "Latency ms": event.latency_ms.total,
        "Clock Synchronized": event.clock_synced,
    }
    return Sample({f"Inspection/{name}": value for name, value in told.items()}, event.time, historical)


def _gap(gap: Gap, historical: bool) -> Sample:  # noqa: FBT001 - as Sample has it
    verdicts = msgspec.json.encode(gap.verdicts).decode()
    told: dict[str, Value] = {"First": gap.first, "Last": gap.last, "Reason": gap.reason, "Verdicts": verdicts}
    return Sample({f"Gap/{name}": value for name, value in told.items()}, clock.now(), historical)


def birth(bd_seq: int, samples: Iterable[Sample]) -> bytes:
    """Return an NBIRTH, whose seq is 0: every metric there is, null where no sample has it."""
    known = list(samples)
    now, told = clock.now(), {name for each in known for name in each.values}
    rest: dict[str, Value] = {name: None for name in METRICS if name not in told}
    known.append(Sample(rest | {BD_SEQ: bd_seq}, now))
    payload = _payload(0, known)
    for metric in payload.metrics:
        name = list(METRICS)[metric.alias - 1]
        metric.name, metric.datatype = name, METRICS[name]
    payload.metrics.add(name=REBIRTH, timestamp=_ms(now), datatype=DataType.Boolean, boolean_value=False)
    return bytes(payload.SerializeToString())


def death(bd_seq: int) -> bytes:
    """Return an NDEATH: no seq, one metric, which tells the NBIRTH that it belongs to."""
    payload = Payload(timestamp=_ms(clock.now()))
    payload.metrics.add(name=BD_SEQ, timestamp=payload.timestamp, datatype=DataType.Int64, long_value=bd_seq)
    return bytes(payload.SerializeToString())


def data(seq: int, samples: Iterable[Sample]) -> bytes:
    """Return an NDATA: aliases only, no datatypes (payloads-alias-data-cmd-requirement, -metric-datatype-not-req)."""
    return bytes(_payload(seq, samples).SerializeToString())


def asks_rebirth(command: bytes) -> bool:
    """Say whether an NCMD asks for a rebirth; any bytes will do."""
    if len(command) > LARGEST:
        return False
    try:
        metrics = Payload.FromString(command).metrics
        return any(each.name == REBIRTH and each.boolean_value and not each.is_null for each in metrics)
    except (DecodeError, UnicodeDecodeError):
        return False


def _payload(seq: int, samples: Iterable[Sample]) -> Payload:
    """Return a payload with the oldest first (data-publish-nbirth-order)."""
    payload = Payload(timestamp=_ms(clock.now()), seq=seq)
    for each in sorted(samples, key=lambda sample: sample.time):
        for name, value in each.values.items():
            metric = payload.metrics.add(alias=_ALIASES[name], timestamp=_ms(each.time))
            if each.historical:
                metric.is_historical = True
            if value is None:
                metric.is_null = True
            else:
                setattr(metric, _FIELDS[METRICS[name]], value[:_TEXT] if isinstance(value, str) else value)
    return payload


def _ms(time: datetime) -> int:
    """Return milliseconds since 1970; a clock that is further back says 1970."""
    return max(0, round(time.timestamp() * 1000))
