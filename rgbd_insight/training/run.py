"""One training run: a step, an epoch, what identifies it, and on a GPU the replay of a step. Use `train` instead."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.backends import cudnn
from tqdm.auto import tqdm

from rgbd_insight.data import IGNORE
from rgbd_insight.features.schema import COSINE
from rgbd_insight.models import Network
from rgbd_insight.training import augmentation, state
from rgbd_insight.training.cache import Cache
from rgbd_insight.training.recipe import Recipe
from rgbd_insight.utils.distributed import processes

WARM = 3  # steps before a step is captured: libraries choose their kernels and their memory in them


def _computes_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there: in software, on most laptops, it is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


class Run:
    """One model on one training set: a step, an epoch, and what identifies the run."""

    def __init__(self, model: Network, cache: Cache, recipe: Recipe) -> None:
        cache.check_labels(model.classes)
        self.model, self.cache, self.recipe = model, cache, recipe
        self.encoders, self.team = model.encoders, processes()
        if recipe.alignment is not None and (self.team.count > 1 or len(self.encoders) != 2):
            raise ValueError(
                f"`alignment` must be left out for {model.fusion!r} in {self.team.count} processes: it compares two "
                "encoders over all images of a batch; train a fusion that has two of them in one process"
            )
        most = 1 / len(model.modalities)
        if len(model.modalities) > 1 and recipe.modality_dropout > most:
            raise ValueError(
                f"`modality_dropout` must be 0 to {most:.3g} for {len(model.modalities)} modalities; got "
                f"{recipe.modality_dropout}: it is drawn for each input, and never leaves out two"
            )

    def prepare(self, device: torch.device, seed: int) -> None:
        """Bring everything to `device` and make the optimizer."""
        recipe, self.device, self.seed = self.recipe, device, seed
        self.half = recipe.precision == "bf16" or (recipe.precision is None and _computes_bf16(device))
        # measured: on a CPU group normalisation in bfloat16 is several times slower with channels last
        packed = device.type == "cuda" or not self.half
        self.format = torch.channels_last if packed else torch.contiguous_format
        self.model.to(device, memory_format=self.format)
        self.model.epoch = 0
        weights = torch.zeros(IGNORE + 1)  # of the labels, those that do not count included
        weights[: self.model.classes] = self.cache.class_weights(self.model.classes)
        self.weights, self.cache = weights.to(device), self.cache.to(device)
        self.steps = math.ceil(len(self.cache) / recipe.batch_size)
        self.replay = device.type == "cuda" and self.team.count == 1
        # what is replayed reads its learning rate from the device
        fast = self.replay
        self.optimizer = torch.optim.AdamW(
            [
                {"params": part, "lr": torch.tensor(0.0, device=device) if fast else 0.0, "peak": peak}
                for part, peak in self._parts()
            ],
            weight_decay=recipe.weight_decay,
            fused=fast or None,
            capturable=fast,
        )
        self.step = Replayed(self._step) if self.replay else self._step
        precision = "bf16" if self.half else "fp32"
        identity = {"data": self.cache.fingerprint, "seed": seed, **asdict(recipe), "precision": precision}
        self.identity = json.loads(json.dumps({"model": self.model.config, **identity, "device": device.type}))

    def _parts(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters of the encoders and all others, with the peak of their learning rate."""
        of_encoders = {p for name in self.encoders for p in getattr(self.model, f"encoder_{name}").parameters()}
        others = [p for p in self.model.parameters() if p not in of_encoders]
        encoders = [p for p in self.model.parameters() if p in of_encoders]
        return [(others, self.recipe.lr), (encoders, self.recipe.lr * self.recipe.encoder_lr)]

    def found(self, out: Path) -> list[dict]:
        """Curves of the epochs already done in `out`, whose state is restored; empty where there are none."""
        kept = state.read(out)
        if kept is None:
            return []
        about, tensors = kept
        for key, value in self.identity.items():
            if about["run"].get(key) != value:
                raise ValueError(
                    f"`out` must be empty or hold this run; {out} differs in {key!r} ({about['run'].get(key)!r} there, "
                    f"{value!r} here): choose another folder, or resume=False to start again"
                )
        state.restore(tensors, self.model, self.optimizer)
        self.model.epoch = len(about["curves"])
        return about["curves"]

    def epoch(self, epoch: int, progress: bool) -> dict:
        """Train for one epoch and return its row of the curves."""
        self.model.train()
        draw = torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{epoch}".encode()))
        order = torch.randperm(len(self.cache), generator=draw)
        draws = [torch.rand(n, len(order), generator=draw).T for n in (2, augmentation.DRAWS)]
        # the same in every process; to the device once an epoch: on a GPU every copy from the host is a wait
        given = [x.contiguous().to(self.device) for x in (order, *draws)]
        measured = []
        total, name = self.recipe.epochs, f"{self.model.fusion} epoch {epoch}"
        size = self.recipe.batch_size
        bar = tqdm(range(self.steps), desc=f"{name}/{total}", disable=not progress, leave=epoch == total)
        for step in bar:
            lr = self._rate((epoch - 1) * self.steps + step)
            measured.append(self.step(*(x[step * size : (step + 1) * size] for x in given)))
            if len(measured) % 20 == 0 or len(measured) == self.steps:  # rarely: on a GPU looking means waiting
                _check_finite(measured, epoch)
                bar.set_postfix(loss=f"{float(measured[-1]['loss']):.3f}")
        self.model.epoch = epoch
        mean = {key: float(torch.stack([row[key] for row in measured]).double().mean()) for key in measured[0]}
        mean["accuracy"] = mean.pop("right") / max(mean.pop("labelled"), 1e-9)
        return {"epoch": epoch, "loss": mean.pop("loss"), "accuracy": mean.pop("accuracy"), "lr": lr, **mean}

    def _rate(self, step: int) -> float:
        """Set and return the learning rate: a linear rise, then half a cosine to 1 % of the peak."""
        total = self.recipe.epochs * self.steps
        rise = max(1, round(self.recipe.warmup * total))
        done = (step - rise) / max(1, total - rise)
        share = (step + 1) / rise if step < rise else 0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2
        for group in self.optimizer.param_groups:
            if self.replay:
                group["lr"].fill_(group["peak"] * share)
            else:
                group["lr"] = group["peak"] * share
        return self.recipe.lr * share

    def _step(self, rows: Tensor, chances: Tensor, moves: Tensor) -> dict[str, Tensor]:
        """One step on the samples `rows`, with draws for each of them; what was measured stays on the device."""
        inputs, labels = self._augmented(rows, chances, moves)  # this process's share of them
        weight = self.team.sum(self.weights[labels].sum()).clamp_min(1e-6)  # a batch without labels teaches nothing
        self.optimizer.zero_grad()
        if len(labels):
            row = self._backward(inputs, labels, weight)
        else:  # more processes than samples in the last batch
            none = torch.zeros((), dtype=torch.long, device=self.device)
            row = {"loss": weight.new_zeros(()), "right": none, "labelled": none}
        row = {name: self.team.sum(x) for name, x in row.items()}
        self.team.sum_gradients(self.model)
        row |= self._gradients()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        return row

    def _backward(self, inputs: Sequence[Tensor], labels: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """The gradients of these samples' part of the loss, `weight` being that of all samples of the step."""
        aligned = self.recipe.alignment
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.half),
            nullcontext() if aligned is None else aligned.watching(self.model) as traced,
        ):
            scores = self.model(*inputs)  # (B, classes, H, W)
        labelled = labels != IGNORE  # (B, H, W)
        # written out: on a GPU the sum inside F.cross_entropy of maps comes out differently every time
        picked = scores.float().log_softmax(1).gather(1, labels.clamp_max(scores.shape[1] - 1)[:, None])[:, 0]
        loss = -(picked * self.weights[labels]).sum() / weight
        penalty = self.model.penalty() if self.team.first else None  # once, however many processes there are
        more = [] if aligned is None else [aligned(traced)]
        sum(more if penalty is None else [*more, penalty], start=loss).backward()
        return {"loss": loss.detach(), "right": (scores.argmax(1) == labels).sum(), "labelled": labelled.sum()}

    def _augmented(self, rows: Tensor, chances: Tensor, moves: Tensor) -> tuple[list[Tensor], Tensor]:
        """Inputs and labels of this process's share of the samples `rows`, moved and left out as the recipe says."""
        rows, chances, moves = (x[self.team.share] for x in (rows, chances, moves))
        mirror, left_out = chances[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
        rgb, depth, labels, *others = self.cache.batch(rows)
        if self.recipe.zoom > 1:
            readings, counts = torch.cat([depth, *others], 1), [x.shape[1] for x in (depth, *others)]
            rgb, readings, labels = augmentation.zoomed(rgb, readings, labels, moves[:, :3], self.recipe.zoom)
            depth, *others = readings.split(counts, 1)
        if self.recipe.jitter:
            rgb = augmentation.coloured(rgb, moves[:, 3:], self.recipe.jitter)
        if self.recipe.flip:
            rgb, depth, *others = (torch.where(mirror < 0.5, x.flip(-1), x) for x in (rgb, depth, *others))
            labels = torch.where(mirror[:, 0] < 0.5, labels.flip(-1), labels)
        p = self.recipe.modality_dropout
        if p and len(self.model.modalities) > 1:
            rgb = torch.where(left_out < p, self.model.config["rgb_scale"][0], rgb)
            depth, *others = (
                torch.where((left_out >= i * p) & (left_out < (i + 1) * p), 0.0, x)
                for i, x in enumerate((depth, *others), 1)
            )
        return [rgb.contiguous(memory_format=self.format), depth, *others], labels

    def _gradients(self) -> dict[str, Tensor]:
        """The gradient norm of each encoder, and the cosine between every two."""
        parts = {name: dict(getattr(self.model, f"encoder_{name}").named_parameters()) for name in self.encoders}
        grads = {name: {key: p.grad for key, p in part.items() if p.grad is not None} for name, part in parts.items()}
        row = {f"gradient_{name}": torch.nn.utils.get_total_norm(part.values()) for name, part in grads.items()}
        for a, b in combinations(grads, 2):
            one, two = grads[a], grads[b]
            shared = [key for key in one if key in two and not key.startswith(("stem", "layer1"))]
            x, y = (torch.cat([part[key].flatten() for key in shared]) for part in (one, two))
            row[COSINE if len(grads) == 2 else f"{COSINE}_{a}+{b}"] = F.cosine_similarity(x, y, dim=0)
        return row


def _check_finite(measured: list[dict[str, Tensor]], epoch: int) -> None:
    losses = torch.stack([row["loss"] for row in measured])
    if not losses.isfinite().all():
        step = int((~losses.isfinite()).nonzero()[0])
        raise FloatingPointError(
            f"the loss must be finite; got {float(losses[step])} in epoch {epoch}, step {step}: lower `lr`, set "
            'precision="fp32", or check the data for values that are not finite'
        )


class Replayed:
    """A training step as a CUDA graph: launching its thousand small kernels one by one takes longer than they do.

    Parameters
    ----------
    step : callable
        Takes tensors on a GPU, changes weights in place and returns tensors; no value is looked at on the way.

    Notes
    -----
    The first steps, and batches of another size, are taken as they are; the arithmetic is the same.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]]) -> None:
        self.step, self.taken, self.graph = step, 0, None
        self.side = torch.cuda.Stream()

    def __call__(self, *given: Tensor) -> dict[str, Tensor]:
        """Take one step."""
        if self.graph is None and self.taken >= WARM:
            self._capture(given)
        if self.graph is None or given[0].shape != self.given[0].shape:
            self.taken += 1
            return self._aside(given)
        for kept, new in zip(self.given, given, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return {name: x.clone() for name, x in self.returned.items()}

    def _aside(self, given: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """On a stream of its own, as a step must be before it can be captured."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            returned = self.step(*given)
        torch.cuda.current_stream().wait_stream(self.side)
        return returned

    def _capture(self, given: tuple[Tensor, ...]) -> None:
        self.given = [x.clone() for x in given]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.side):
            self.returned = self.step(*self.given)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside the ``with``, a GPU adds up in the same order every time.

    Parameters
    ----------
    device : torch.device
        Where the arithmetic is done; on a CPU nothing needs to be set.

    Examples
    --------
    >>> with repeatable(torch.device("cpu")):
    ...     float(torch.ones(3).sum())
    3.0
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the library is first used
    if device.type != "cuda":
        yield
        return
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32):
        yield
