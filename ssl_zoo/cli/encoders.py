"""The command that tells which published encoders there are, what is known of them, and whether a file is one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_zoo.cli.app import AsJson, app, replying
from ssl_zoo.cli.zoo import fact
from ssl_zoo.errors import UserError, unknown

if TYPE_CHECKING:
    from ssl_zoo.encoders.entry import Entry
    from ssl_zoo.encoders.imagenet import ImageNetSpec


@app.command()
def encoders(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME|NAME:FILE]...", help="All that is known of these, or whether a file fits."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Published encoders: licence, input, and the test sets that they have seen. With NAME:FILE, check a file.

    Example: ssl-zoo encoders usfm ultrasam:/path/UltraSam.pth

    Example: ssl-zoo encoders --json
    """
    from ssl_zoo.encoders.imagenet import parse_imagenet
    from ssl_zoo.encoders.published import PUBLISHED, check_published, parse_published

    told = []
    with replying(as_json) as reply:
        for name in names or []:
            if name in PUBLISHED:
                print("\n".join([_block(PUBLISHED[name]), *_details(PUBLISHED[name])]))
                told.append(_facts(PUBLISHED[name]))
            elif parse_published(name) is not None:
                checked = check_published(name)
                print(f"{name}: {checked.sentence()}")
                told.append({"name": name, "fits": checked.sentence()})
            elif (imagenet := parse_imagenet(name)) is not None:
                about = _imagenet(name, imagenet)
                print(about)
                told.append({"name": name, "about": about})
            else:
                raise unknown("encoder", name.partition(":")[0].partition("@")[0], [*PUBLISHED, "imagenet"])
        if not names:
            print("\n\n".join(_block(entry) for entry in PUBLISHED.values()))
            print(f"\n{IMAGENET}\n\n{_overlap_table()}")
            told = [_facts(entry) for entry in PUBLISHED.values()]
        reply(told)


def _facts(entry: Entry) -> dict[str, Any]:
    """An entry as scripts want it, with what is known of the test sets that it has seen."""
    from ssl_zoo.encoders.overlaps import overlap

    facts = {name: value for name, value in dataclasses.asdict(entry).items() if not callable(value)}
    return {**facts, "test_sets": {source: overlap(entry.name, source) for source in _sources()}}


IMAGENET = "\n".join(
    [
        "imagenet: any timm model with its ImageNet weights",
        fact("use as", "imagenet@resnet50 (fetched by timm) or imagenet@resnet50:/path/file (timm's or torchvision's)"),
    ]
)


def _imagenet(name: str, spec: ImageNetSpec) -> str:
    """Of `imagenet@resnet50` the licence that timm gives; of a file whether it fits. Nothing is fetched."""
    import timm

    from ssl_zoo.encoders.imagenet import check_imagenet, own_size

    if spec.file and not spec.backbone:
        raise UserError(f"'{name}': which network? Write 'imagenet@resnet50:{spec.file}' or another model of timm")
    if spec.file:
        account = check_imagenet(spec.backbone, spec.file, size=own_size(spec.backbone), channels=3)
        return f"{name}: {account.sentence()}"
    if not spec.backbone:
        return IMAGENET
    config = timm.get_pretrained_cfg(spec.backbone)
    if config is None:
        return f"{IMAGENET}\n{fact('weights', f'timm has none for {spec.backbone}')}"
    given = fact("licence", f"{config.license or 'not stated'}, by timm ({config.architecture}.{config.tag})")
    return f"{IMAGENET}\n{given}"


def _block(entry: Entry) -> str:
    """The facts that decide whether one may and wants to use an encoder."""
    from ssl_zoo.encoders.fitting import FITTINGS

    size = f"{entry.size} x {entry.size}" + ("" if entry.other_sizes else " only")
    return "\n".join(
        [
            f"{entry.name}: {entry.title}",
            fact("licence", entry.licence),
            fact("weights", entry.weights),
            fact("use as", f"{entry.name}:/path/file"),
            fact("input", f"{size}, {entry.fitting} ({FITTINGS[entry.fitting]}), scaled by {entry.resampling}"),
            fact("features", f"{entry.features}: {entry.pooling}"),
            fact("pre-training", entry.pretraining),
            fact("has seen", ", ".join(_seen(entry.name)) or _nothing(entry)),
        ]
    )


def _details(entry: Entry) -> list[str]:
    """What the list leaves out, with what is inferred and what is not known."""
    values = [f"{name} {', '.join(f'{value:g}' for value in getattr(entry, name))}" for name in ("mean", "std")]
    return [
        fact("paper", entry.paper),
        fact("network", f"{entry.backbone} {dict(entry.arguments) or ''}".strip()),
        fact("normalisation", f"{values[0]}; {values[1]}; grey images are repeated for three colours"),
        fact("prefix tokens", str(entry.prefix_tokens)),
        fact("data", ", ".join(entry.pretraining_data) or "not published"),
        *(fact("inferred", sentence) for sentence in entry.inferred),
        *(fact("not known", sentence) for sentence in entry.unknown),
    ]


def _sources() -> list[str]:
    from ssl_zoo.encoders.overlaps import DATA_SETS

    return list(DATA_SETS)


def _seen(name: str) -> list[str]:
    from ssl_zoo.encoders.overlaps import SEEN, overlap

    return [source for source in _sources() if overlap(name, source) == SEEN]


def _nothing(entry: Entry) -> str:
    return "none of the sources here" + ("" if entry.data_is_known else ", as far as is published")


def _overlap_table() -> str:
    """One row for each data set, one column for each encoder."""
    from ssl_zoo.encoders.overlaps import NOT_SEEN, SEEN, ULTRABENCH, overlap
    from ssl_zoo.encoders.published import PUBLISHED

    signs = {SEEN: "SEEN", NOT_SEEN: "no"}
    wide = max(map(len, PUBLISHED)) + 2
    lines = ["test sets seen in pre-training (?: the list of what was seen is not published in full)"]
    lines.append(f"  {'':<26}" + "".join(f"{name:<{wide}}" for name in PUBLISHED))
    for source in _sources():
        label = f"{source} (UltraBench)" if source in ULTRABENCH else source
        row = "".join(f"{signs.get(overlap(name, source), '?'):<{wide}}" for name in PUBLISHED)
        lines.append(f"  {label:<26}{row}".rstrip())
    return "\n".join(lines)
