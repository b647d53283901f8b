"""Contract 4, the other way: what may be asked of a device, on cmd/<name>, and what it answers on reply/<name>.

`python -m edge.contract.commands` rewrites schema/cmd-*.json and schema/reply.json from the classes here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from edge.contract.messages import SCHEMA_FOLDER, Message, Verdict, schema, write_schemas

LARGEST = 4_096
"""Bytes of a request."""
MOST_EVENTS = 100
"""Verdicts in one answer."""
MOST_REPLAYED = 100_000


def _doc(text: str, **limits: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **limits)


Transaction: TypeAlias = Annotated[
    str,
    _doc(
        "the asker's word for this request: in the reply too; the same word is not obeyed twice",
        pattern=r"^[A-Za-z0-9_.:-]{1,64}$(?!\n)",
    ),
]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every request has; the fields of a command come beside it."""

    transaction: Transaction


class Capture(Request, frozen=True, kw_only=True):
    """Judge the next frame, and publish its picture whatever the verdict is."""


class Trigger(Request, frozen=True, kw_only=True):
    """Judge the part that is before the camera now, where `trigger.kind` is mqtt; answered when the verdict is there.

    `data.event` is the verdict's id, `data.verdict` what it says.
    """


class Pause(Request, frozen=True, kw_only=True):
    """Judge nothing until `resume` or the next start."""

    on: Annotated[bool, _doc("false: the same as `resume`, for a switch, which has one topic for both")] = True


class Resume(Request, frozen=True, kw_only=True):
    """Judge again."""


class Threshold(Request, frozen=True, kw_only=True):
    """Decide by another threshold, from now on and after a restart."""

    value: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=1)] | None,
        _doc("P(defect) from which a frame is DEFECT; null: the configuration's or the bundle's own rule"),
    ]


class Config(Request, frozen=True, kw_only=True):
    """Tell the settings that may be changed, or change some of them, from now on and after a restart."""

    set: Annotated[dict[str, Any], _doc("new values by key; null: as the configuration file says")] = msgspec.field(
        default_factory=dict
    )


class History(Request, frozen=True, kw_only=True):
    """Tell the newest verdicts in `data.events`; `data.before`, if given: go on with that as `before`."""

    before: Annotated[
        Number | None,
        _doc("those with a lower `seq`: the last one's of an answer, or its `data.before`; null: from the last on"),
    ] = None
    verdict: Annotated[Verdict | None, _doc("of this kind only; null: all")] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_EVENTS)] = 20


class Replay(Request, frozen=True, kw_only=True):
    """Publish verdicts again, marked historical, behind those that wait."""

    first: Annotated[Number, _doc("the first `seq`")]
    last: Annotated[Number, _doc(f"the last `seq`; {MOST_REPLAYED:,} verdicts at once at most")]

    def __post_init__(self) -> None:
        """Refuse an empty or an endless range; raises ValueError."""
        if not 0 <= self.last - self.first < MOST_REPLAYED:
            raise ValueError(f"last must be from first to first + {MOST_REPLAYED - 1}")


class AskHealth(Request, frozen=True, kw_only=True):
    """Tell how the device fares, now."""


class AskModel(Request, frozen=True, kw_only=True):
    """Tell what it judges with."""


class Restart(Request, frozen=True, kw_only=True):
    """End, so that the service manager starts the daemon anew."""


COMMANDS: dict[str, type[Request]] = {
    "capture": Capture,
    "pause": Pause,
    "resume": Resume,
    "threshold": Threshold,
    "config": Config,
    "history": History,
    "replay": Replay,
    "health": AskHealth,
    "model": AskModel,
    "restart": Restart,
    "trigger": Trigger,
}


class Reply(Message, frozen=True, kw_only=True):
    """`reply/<name>`: what became of a request. QoS 1, never retained."""

    transaction: Annotated[str, _doc("the request's; empty if it could not be read")]
    status: Annotated[
        Literal["ok", "refused", "failed"], _doc("refused: it was not obeyed; failed: it was tried in vain")
    ]
    error: Annotated[str, _doc("why not; empty if it was")] = ""
    data: Annotated[dict[str, Any], _doc("what was asked for")] = msgspec.field(default_factory=dict)


def schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (2020-12) of each command's request, as cmd-<name>, and of the reply."""
    requests = {f"cmd-{name}": schema(f"cmd-{name}", kind) for name, kind in COMMANDS.items()}
    return {**requests, "reply": schema("reply", Reply)}


if __name__ == "__main__":
    write_schemas(SCHEMA_FOLDER, schemas())
