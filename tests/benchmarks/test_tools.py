"""`make bench`: responses of a network's modules, read by this package and by tools for any network."""

import numpy as np
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.hooks import trace
from rgbd_insight.models import build
from tests.benchmarks import _published as published
from tests.benchmarks._race import Way, race
from tests.benchmarks._results import ROWS

IMAGES, BATCH, RUNS = 128, 64, 3


@torch.inference_mode()
def test_reading_a_network_beside_other_tools():
    """Pooled responses of every stream and level in one pass; images are drawn beforehand, and all run the network."""
    data = Scenes(n=IMAGES)
    model = build("sum", classes=len(data.classes)).eval()
    taps = sorted(model.taps(), key=lambda tap: tap.level)  # in the order they run, which nnsight asks for
    batches = [data.batch(range(i, i + BATCH)) for i in range(0, IMAGES, BATCH)]
    inputs = [tuple(batch.inputs.values()) for batch in batches]

    def ours(given):
        with trace(model, taps, pooled) as found:
            model(*given)
        return [found[tap] for tap in taps]

    def whole(read):
        return lambda: torch.cat([torch.cat(list(read(given)), 1) for given in inputs]).numpy()

    ways = [Way("hooks.trace", whole(ours), ours=True)]
    names = [tap.module for tap in taps]
    ways += [Way(name, whole(read), note=note) for name, read, note in published.readers(model, names, pooled)]
    ways.append(Way("bare forward pass", lambda: [model(*given) for given in inputs], note="nothing is read"))
    ways[-1].pick = lambda found: np.zeros(1) if isinstance(found, list) else found[:0].sum(0)[:1]
    rows = race("E", f"reading {len(taps)} modules, {IMAGES} scenes", ways, reference(model, taps, inputs), RUNS)
    rows[-1]["error"] = np.nan
    ROWS.extend(rows)
    assert all(row["error"] <= 1e-4 for row in rows[:-1])
    assert all(rows[0]["seconds"] <= 1.1 * row["seconds"] for row in rows[1:])


def pooled(maps):
    return maps.mean((2, 3))


def reference(model, taps, inputs):
    """In float64, by hooks of torch's own."""
    found = {tap: [] for tap in taps}
    model.double()
    hooks = [
        model.get_submodule(tap.module).register_forward_hook(lambda _, __, maps, tap=tap: found[tap].append(maps))
        for tap in taps
    ]
    for given in inputs:
        model(*(x.double() for x in given))
    for hook in hooks:
        hook.remove()
    model.float()
    return torch.cat([pooled(torch.cat(found[tap])) for tap in taps], 1).numpy()
