"""Looks through picture files for what their headers tell: formats, sizes, and what gives the class away."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from training.data.findings import Finding, counted, singles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from training.data.dataset import Dataset
    from training.data.files import FileFacts

_CHANCE = 1e-3
"""Probability below which it is no chance that all pictures with a property are of one class."""
_ODD_ASPECT = 0.1
"""Share by which an aspect ratio may differ from the commonest before squashing makes it another picture."""
_SMALL = 0.75
"""Of the model's side: a picture below it is enlarged by more than a third, which adds work and no detail."""


def check_files(data: Dataset, facts: Sequence[FileFacts], *, height: int, width: int) -> list[Finding]:
    """Return the findings about files, `facts[i]` of `data.sources[i]`, for a model that sees height x width pixels."""
    dark = [s.name for s, fact in zip(data.sources, facts, strict=True) if fact.deep and s.name in data.dark]
    return [
        *_unreadable(data),
        *shallow(dark),
        *_telltale(data, facts),
        *_sizes(data, facts, height, width),
        *_formats(data, facts),
    ]


def summary(data: Dataset, facts: Sequence[FileFacts]) -> list[str]:
    """Say in a few lines what the set is."""
    classes = ", ".join(f"{name} {count}" for name, count in data.counts().items())
    formats = ", ".join(f"{count} {kind}" for kind, count in Counter(fact.format for fact in facts).most_common())
    sizes = Counter((fact.width, fact.height) for fact in facts).most_common()
    more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""  # noqa: PLR2004 - what fits on a line
    listed = ", ".join(f"{width}x{height}" for (width, height), _ in sizes[:3])
    return [f"{len(facts)} pictures in {len(data.labels)} classes: {classes}", f"{formats}; {listed}{more} pixels"]


def shallow(names: Sequence[str]) -> Iterator[Finding]:
    """Report pictures of 16 bits a channel without a value of a quarter of that range: 10 or 12 bits, not scaled."""
    if names:
        yield Finding(
            level="warning",
            kind="shallow",
            text=f"{counted(len(names), 'picture')} with 16 bits a channel and no value above 16,383: nearly black, as "
            "the upper 8 bits are used; 10 or 12 bits of a camera, it seems",
            remedy="scale the values to 16 bits when saving, such as those of 12 bits by 4 bits to the left",
            items=singles(names),
        )


def passed_over(links: Sequence[str], others: Sequence[str]) -> Iterator[Finding]:
    """Report what lies in the folder and is no picture of the set."""
    if links:
        yield Finding(
            level="warning",
            kind="links",
            text=f"{counted(len(links), 'linked folder')} inside a class: links to folders are not followed",
            remedy="put the folder itself there, or links to its pictures",
            items=singles(links),
        )
    if others:
        endings = Counter(PurePosixPath(name).suffix.lower() or "none" for name in others).most_common()
        yield Finding(
            level="note",
            kind="endings",
            text=f"{counted(len(others), 'file')} of other endings: {', '.join(f'{end} {n}' for end, n in endings)}",
            remedy="what is a picture, save it as PNG or JPEG",
            items=singles(others),
        )


def _unreadable(data: Dataset) -> Iterator[Finding]:
    if data.skipped:
        yield Finding(
            level="error",
            kind="unreadable",
            text=counted(len(data.skipped), "unreadable file"),
            remedy="copy them again from the camera or remove them; build leaves them out with --skip-bad",
            items=singles(data.skipped),
        )


def _names(data: Dataset, facts: Sequence[FileFacts], which: Callable[[FileFacts], bool]) -> list[str]:
    return [source.name for source, fact in zip(data.sources, facts, strict=True) if which(fact)]


def _telltale(data: Dataset, facts: Sequence[FileFacts]) -> Iterator[Finding]:
    """Report what belongs to one class alone and has nothing to do with parts."""
    properties: dict[str, Callable[[FileFacts], str]] = {
        "size": lambda fact: f"pictures of {fact.width}x{fact.height} pixels",
        "format": lambda fact: f"{fact.format} files",
        "colour": lambda fact: "grey pictures" if fact.grey else "pictures in colour",
    }
    for kind, describe in properties.items():
        values = [describe(fact) for fact in facts]
        for value, count in Counter(values).items():
            names = [source.name for source, mine in zip(data.sources, values, strict=True) if mine == value]
            classes = {source.label for source, mine in zip(data.sources, values, strict=True) if mine == value}
            label = data.labels[min(classes)].name
            if len(classes) == 1 and (data.counts()[label] / len(facts)) ** count < _CHANCE:
                yield Finding(
                    level="warning",
                    kind=f"telltale-{kind}",
                    text=f"all {count} {value} are {label}: a model may learn the camera, not the part",
                    remedy="photograph every class in the same way",
                    items=singles(names),
                )


def _sizes(data: Dataset, facts: Sequence[FileFacts], height: int, width: int) -> Iterator[Finding]:
    if small := _names(data, facts, lambda fact: min(fact.width / width, fact.height / height) < _SMALL):
        yield Finding(
            level="note",
            kind="small",
            text=f"{counted(len(small), 'picture')} far below the model's {width}x{height} pixels, so enlarged",
            remedy="a smaller --size sees as much of them, faster",
            items=singles(small),
        )
    aspects = [fact.width / fact.height for fact in facts]
    usual = Counter(round(aspect, 2) for aspect in aspects).most_common(1)[0][0]
    odd = [s.name for s, a in zip(data.sources, aspects, strict=True) if abs(a / usual - 1) > _ODD_ASPECT]
    if odd:
        yield Finding(
            level="warning",
            kind="aspect",
            text=f"{counted(len(odd), 'picture')} of another aspect ratio than {usual:g}, distorted by squashing",
            remedy="build with --mode letterbox or centre-crop, or cut them alike",
            items=singles(odd),
        )


def _formats(data: Dataset, facts: Sequence[FileFacts]) -> Iterator[Finding]:
    kinds: dict[str, tuple[str, Callable[[FileFacts], bool]]] = {
        "misnamed": (
            "of another format than the ending says; the content counts",
            lambda fact: fact.misnamed,
        ),
        "deep": ("with 16 bits a channel; the upper 8 are used", lambda fact: fact.deep),
        "turned": ("stored turned or mirrored; the EXIF orientation is followed", lambda fact: fact.turned),
        "alpha": ("with transparency, which is ignored", lambda fact: fact.alpha),
        "palette": ("with a palette; its colours are used", lambda fact: fact.mode.startswith("P")),
    }
    if 0 < sum(fact.grey for fact in facts) < len(facts):
        kinds["grey"] = (
            "in grey among others in colour; grey is repeated in all three channels",
            lambda fact: fact.grey,
        )
    for kind, (what, which) in kinds.items():
        if names := _names(data, facts, which):
            yield Finding(
                level="note", kind=kind, text=f"{counted(len(names), 'picture')} {what}", items=singles(names)
            )
