"""`rgbd-insight published`: networks whose taps and inputs are known, and the way from their repository to an audit."""

from __future__ import annotations

import argparse

from rgbd_insight.cli.sources import command
from rgbd_insight.models import TapMap, published, published_networks

FACTORY = "rgbd_network"
CLASSES = 40  # where the map does not say how many
WIDE = 18


def add(commands: argparse._SubParsersAction) -> None:
    """The command `published`."""
    text = "list published networks, or print the way from one's repository to an audit"
    sub = command(commands, "published", run, text)
    sub.add_argument("name", nargs="?", help="one of them; none: list them all")


def run(options: argparse.Namespace) -> None:
    """Print the list, or the lines of one."""
    if options.name is not None:
        print("\n".join(lines_of(published(options.name))))
        return
    for name in published_networks():
        found = published(name)
        streams = ", ".join(dict.fromkeys(tap.stream for tap in found))
        print(f"{name:{WIDE}} {streams:22} {found.about['how']:18} {found.about['paper'].partition(',')[0]}")
    print("\nWhat one needs, from its repository to an audit: rgbd-insight published NAME")


def lines_of(found: TapMap) -> list[str]:
    """Lines for a shell that has the repository's requirements, what is known of the network in front of them.

    Examples
    --------
    >>> lines = lines_of(published("ESANet"))
    >>> [line for line in lines if line.startswith("git")]
    ['git clone https://github.com/TUI-NICR/ESANet']
    """
    about, name = found.about, found.name
    pure = about.get("purity")
    second = next((tap.stream for tap in found if tap.stream not in ("rgb", "fused")), "depth")
    said = [f"{name}: {about['paper']}", f"how the map was established: {about['how']}", about["note"]]
    if pure is not None:
        said.append(f"{second} moves the tap rgb " + (f"from level {pure} on" if pure else "at no level"))
    said += [f"images: {line}" for line in found.adapt.images.lines()]
    said += [f"says so: {address}" for address in found.adapt.images.source]
    lines = [f"# {text}" for text in said]
    if "code" not in about:
        return [*lines, "# It has no repository of its own: give your own factory with --model MODULE:FACTORY."]
    data = "../nyuv2" if second == "depth" else f"../{second}"
    make = about["make"].replace("{classes}", str(found.adapt.images.classes or CLASSES)).rstrip("\n")
    return [
        *lines,
        f"git clone https://github.com/{about['code']}",
        f"cd {about['code'].rpartition('/')[2]}",
        f"cat > {FACTORY}.py <<'END'",
        *make.split("\n"),
        "END",
        f"rgbd-insight data check {data}",
        f"rgbd-insight taps {FACTORY}:make --taps {name} --data folder:{data}:test",
        f"rgbd-insight extract --model {FACTORY}:make --checkpoint WEIGHTS.pth --taps {name} --name {name} --seed 0 "
        f"--role final --data folder:{data}:test --out ../features/{name}",
        f"rgbd-insight audit ../features/{name} --html ../{name}.html",
    ]
