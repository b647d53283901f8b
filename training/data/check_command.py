"""`edge-train data check`: what is wrong with a folder of labelled pictures, before hours go into training on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.command import add_command, to_path
from edge.contract.preprocess import PreprocessSpec
from edge.errors import ConfigError, DataError, RuntimeUnavailableError
from training import progress
from training.data import sheet_file
from training.recipe import ALPHAS, IMAGENET, Model, Recipe

if TYPE_CHECKING:
    from argparse import Namespace

    from training.data.dataset import Dataset
    from training.data.embedding import Floats
    from training.data.findings import Finding

_DESCRIPTION = """Look through labelled pictures for what would spoil a model or flatter its report.

Finds unreadable files, copies and near copies (also under two labels), wrong labels, classes that are too few or too
rare, odd sizes and formats, and whether a random split would leak. The pictures lie in a folder per class.
"""
_EXAMPLES = """examples:
  edge-train data check parts/
      a verdict, then what was found, the worst first
  edge-train data check parts/ --out sheet.png
      also a contact sheet of the suspicious pictures: the quickest way to judge them
  edge-train data check parts/ --weights none --strict
      without the pretrained network; fail (exit code 8) if anything must be mended

"""
_TYPICAL = 8
_PLAIN = "plain features (small grey picture, colours, edges)"


def add_parser(subparsers: Any) -> None:
    """Add the command to `edge-train data`."""
    summary = "look through labelled pictures for mistakes"
    parser = add_command(subparsers, "check", summary=summary, description=_DESCRIPTION, examples=_EXAMPLES)
    add = parser.add_argument
    add("data", type=to_path, metavar="DIR", help="labelled pictures, a folder per class")
    add(
        "--pass", dest="passing", nargs="+", action="extend", default=[], metavar="CLASS",
        help="classes that mean an intact part",
    )  # fmt: skip
    add(
        "--weights", metavar="imagenet|none|FILE",
        help="of the network that compares pictures (default: imagenet if it can be had, else none: plain features)",
    )  # fmt: skip
    alphas = ", ".join(map(str, ALPHAS["mobilenet-v2"]))
    add("--alpha", type=float, default=0.35, help=f"width of that network: {alphas} (default 0.35)")
    add(
        "--group-by", default="none", metavar="RULE",
        help="which pictures show one part: none, folder, near-duplicate or regex:PATTERN (default none)",
    )  # fmt: skip
    add("--out", type=to_path, metavar="FILE", help="draw a contact sheet, .png or .jpg; replaces an earlier one")
    add("--json", action="store_true", help="print everything, every name, as JSON")
    add("--strict", action="store_true", help="fail if anything must be mended")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Read the set once, look through it, print what was found; raises DataError if --strict and errors were."""
    from training.data import check, file_check, files, groups
    from training.data import findings as told

    if arguments.out:
        sheet_file.require_room(arguments.out, arguments.data)
    _require_network(arguments)
    rule = groups.read_rule(arguments.group_by)
    data = _read(arguments)
    facts = files.describe_all([arguments.data / source.name for source in data.sources])
    keys = groups.group_keys(rule, data)[0]
    vectors, features = _embed(data, arguments)
    with progress.stage("looking for copies", 1) as advance:
        related = check.relations(data, keys)
        advance()
    height, width = data.pixels.shape[1:3]
    listed = told.in_order(
        [
            *file_check.check_files(data, facts, height=height, width=width),
            *file_check.passed_over(*files.left_out(arguments.data)),
            *check.check(data, related, vectors, group_by=rule.text),
        ]
    )
    _print(arguments, [*file_check.summary(data, facts), f"compared by {features}"], listed)
    if arguments.out:
        _draw(arguments.out, f"{arguments.data}", data, listed, check.typical(data, vectors, _TYPICAL))
    errors = [finding for finding in listed if finding.level == "error"]
    if arguments.strict and errors:
        raise DataError(f"{arguments.data}: {len(errors)} to mend, the first: {errors[0].text}; {errors[0].remedy}")
    return 0


def _read(arguments: Namespace) -> Dataset:
    from training.data import dataset

    labels = dataset.folder_labels(arguments.data, arguments.passing)
    sources = dataset.folder_sources(arguments.data, labels)
    title = f"reading {arguments.data}"
    return dataset.read(labels, sources, canvas=Recipe().canvas, spec=PreprocessSpec(), skip_bad=True, title=title)


def _require_network(arguments: Namespace) -> None:
    """Refuse what would fail only after the reading; raises ConfigError or DataError."""
    widths = ALPHAS["mobilenet-v2"]
    if arguments.alpha not in widths:
        raise ConfigError(f"--alpha {arguments.alpha:g} is not one of {', '.join(f'{width:g}' for width in widths)}")
    if arguments.weights not in (None, "none", IMAGENET) and not Path(arguments.weights).is_file():
        raise DataError(
            f"--weights {arguments.weights}: no such file; or say {IMAGENET} to download, none for plain features"
        )


def _embed(data: Dataset, arguments: Namespace) -> tuple[Floats, str]:
    """Return the pictures' vectors, and what they are."""
    from training.data.embedding import embed

    if arguments.weights == "none":
        return embed(data, None), _PLAIN
    weights = arguments.weights or IMAGENET
    try:
        recipe = Recipe(model=Model(alpha=arguments.alpha))
        return embed(data, weights, recipe), f"the pretrained network ({weights}, alpha {arguments.alpha:g})"
    except (DataError, RuntimeUnavailableError) as error:
        if arguments.weights:
            raise
        return embed(data, None), f"{_PLAIN}: {error}"


def _print(arguments: Namespace, facts: list[str], findings: list[Finding]) -> None:
    from training.data import findings as told

    if arguments.json:
        content = {"verdict": told.verdict(findings), "facts": facts, "findings": told.plain(findings)}
        print(json.dumps(content, indent=1))
    else:
        print(told.text(f"{arguments.data}", facts, findings))


def _draw(path: Path, title: str, data: Dataset, findings: list[Finding], typical: dict[str, tuple[str, ...]]) -> None:
    from training.data import check_sheet as sheet
    from training.data.findings import verdict

    known = {source.name for source in data.sources}
    sheet_file.save(sheet.draw(f"{title}: {verdict(findings)}", data, sheet.sections(findings, typical, known)), path)
    print(f"contact sheet: {path}", file=sys.stderr)
