"""What recording costs beside running the model: `make bench` prints it and adds it to the table of results."""

import numpy as np
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.models import build
from rgbd_insight.recorder import extract
from tests.benchmarks._race import Way, race
from tests.benchmarks._results import ROWS

IMAGES, BATCH = 512, 64


def test_pooled_responses_cost_little_more_than_the_forward_pass(tmp_path):
    data = Scenes(n=IMAGES)
    model, number = build("sum", classes=len(data.classes)), iter(range(100))

    def bare():
        with torch.inference_mode():
            for start in range(0, IMAGES, BATCH):
                batch = data.batch(range(start, min(start + BATCH, IMAGES)))
                model.eval()(batch.rgb, batch.depth)

    def recorded():
        extract(model, data, out=tmp_path / str(next(number)), batch_size=BATCH, conditions=("both",), progress=False)

    ways = [Way("extract, condition both", recorded, ours=True, note="data, purity and files included"),
            Way("bare forward pass", bare, note="data included")]  # fmt: skip
    made = race("E", "pooled responses of 512 scenes", ways)
    ROWS.extend(made)
    ratio = np.median(np.array(ways[0].seconds) / np.array(ways[1].seconds))
    print(f"  extraction takes {ratio:.2f} times the bare forward pass")
    assert ratio <= 1.25
