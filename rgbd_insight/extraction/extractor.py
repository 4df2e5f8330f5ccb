"""The model in an extraction: fed a block of samples under each condition, pooled at its taps, scored."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.backends import cudnn

from rgbd_insight.data import Batch
from rgbd_insight.data.batch import joined
from rgbd_insight.extraction.blocks import concept_areas, describe, replacement
from rgbd_insight.extraction.calling import call, check_order, counted
from rgbd_insight.extraction.cells import CellPlan, Reduce, cell_counts, pooled
from rgbd_insight.extraction.loading import Loader
from rgbd_insight.extraction.scoring import Scorer
from rgbd_insight.features import MEASURED, Ablation, TensorKey, guests, partners, parts
from rgbd_insight.hooks import Tap, at_own_precision, evaluating, mute, purity, restless, trace
from rgbd_insight.stats import estimate
from rgbd_insight.utils.distributed import device_for

IMAGES, GROUPS = 64, 5  # from which it is measured how much is the guests'; groups from which there is an interval


class Extractor:
    """A model at its taps, fed with blocks of a loader's data."""

    def __init__(
        self,
        model: nn.Module,
        loader: Loader,
        taps: Sequence[Tap],
        *,
        scorer: Scorer,
        draws: int,
        block: int,
        adapt: Callable[..., Tensor] | None = None,
    ) -> None:
        self.adapt, self.scorer = adapt, scorer
        self.model, self.loader, self.taps, self.draws, self.block = model, loader, taps, draws, block
        data = self.data = loader.data
        self.names = [m.name for m in data.modalities]
        self.alone = len(getattr(model, "modalities", self.names)) == 1
        self.partners = partners(data.groups, len(self.names))  # (M, N), for predictions; "none" takes one of each
        self.guests = guests(data.groups, max(draws, MEASURED))  # for responses
        self._unit_means: dict[tuple[str, int], np.ndarray] = {}
        self._replacements: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}  # by input and by what replaces it
        self.plan: CellPlan | None = None
        self._in_order = False  # whether it was seen that rows come in the order of the samples
        self.unlike: list[str] | None = None  # taps that answer the same images otherwise each time, once that was seen

    def expect(
        self, blocks: Sequence[range], conditions: Sequence[str], ablations: Sequence[Ablation], *, ends: bool
    ) -> None:
        """Tell the loader which samples will be asked for: in blocks, as partners and guests, and if it `ends`, then.

        That partners are not needed after all, as without predictions, costs nothing but their reading.
        """
        given = [*(conditions if self.scorer.task.parts else ()), *(a.inputs for a in ablations)]
        given = [c for c in given if c != "both" and ":" not in c and not self.alone]
        draws = len(self.partners) if "none" in given else min(len(given), 1)
        others = []
        if self.isolates(conditions):
            others += [self._known, *([self._open] if ends else [])]
        if ends:
            others += self._pure
        self.loader.expect(blocks, self.partners[:draws], np.concatenate([[], *others]))

    def prepare(self, conditions: Sequence[str], ablations: Sequence[Ablation]) -> None:
        """Measure, over a block taken evenly from the data, what stands in for muted units and replaced inputs."""
        asked = {*conditions, *(a.inputs for a in ablations)}
        if not any(a.value == "mean" for a in ablations) and not any(":" in c for c in asked):
            return
        rows = np.linspace(0, len(self.data) - 1, min(self.block, len(self.data))).astype(int)
        reference = self.loader.inputs(rows)
        for condition in sorted(c for c in asked if ":" in c):
            kept, _, kind = condition.partition(":")
            for m in self.data.modalities:
                if m.name not in kept.split("+"):
                    self._replacements[m.name, kind] = replacement(reference, m.name, kind, (m.low, m.high))
        if any(a.value == "mean" for a in ablations):
            found, _ = self._run(tuple(reference.inputs.values()), reference.ids, "both")
            self._unit_means = {(tap.stream, tap.level): values.mean(0) for tap, values in found.items()}  # (U,)

    def plan_cells(self, count: int) -> CellPlan:
        """Fix which `count` cells of an image, and which units, are kept; returns the plan."""
        first = self.loader.inputs([0])
        with trace(self.model, self.taps, lambda maps: torch.tensor(maps.shape[1:])) as shapes:
            call(self.model, tuple(first.inputs.values()), self.adapt)
        self.plan = CellPlan.of({tap: shape.tolist() for tap, shape in shapes.items()}, count)
        return self.plan

    def block_of(
        self, rows: range, conditions: Sequence[str], ablations: Sequence[Ablation], cells: Sequence[str] = ()
    ) -> dict:
        """What `FeatureWriter.write` takes for the samples `rows`; `cells` are conditions, as `conditions` are."""
        batch, others = self.loader.block(rows)
        named = tuple(self.data.groups[rows.start : rows.stop])
        if tuple(batch.groups) != named:
            raise ValueError(
                f"a batch's groups must be those of `data.groups`; got {batch.groups[:3]} for {named[:3]} "
                f"in the samples from {batch.ids[0]!r} on: make the dataset name them alike"
            )
        if self.isolates((*conditions, *cells)):
            _ = self._hosts  # of which some are in this block; and the next one is not waited for
        self.loader.read_on(rows)
        responses: dict[str, np.ndarray] = {}
        predictions: dict[str, np.ndarray] = {}
        at_cells: dict[str, np.ndarray] = {}
        maps: dict[str, np.ndarray] = {}
        places = self.plan.places(batch.ids) if self.plan and cells else None  # (B, c, 2)
        truth, predicts = self.scorer.truth(batch), bool(self.scorer.task.parts)
        asked = sorted({*conditions, *cells}, key=lambda c: (c != "both", [*conditions, *cells].index(c)))
        if truth is None and predicts and "both" not in asked and not self.alone:
            truth = self.scorer.task.truth(self._run(tuple(batch.inputs.values()), batch.ids, "both", None)[1])
        for condition in asked:
            reduces, found = self._reduces(condition, cells), {}
            if (condition in conditions and predicts) or not self.isolates([condition]):
                keep = reduces if condition == "both" or self.alone else None
                found, logits = self._run(self._given(condition, batch, others, rows.start), batch.ids, condition, keep)
            if truth is None and predicts:
                truth = self.scorer.task.truth(logits)  # of all inputs, which come first
            if condition in conditions and predicts:
                predictions |= self.scorer.count(condition, logits, truth)
            if self.isolates([condition]):
                found = self._isolated(condition, batch, rows, reduces)
            for tap, values in found.items():
                key, kept = str(TensorKey(condition, tap.stream, tap.level)), values
                if reduces[tap] is not pooled:
                    kept, in_cells, everywhere = self.plan.split(tap, values, places)
                    at_cells[key] = in_cells.astype(np.float32)
                    if self._viewed(tap, condition):
                        maps[key] = everywhere.astype(np.float32)
                if condition in conditions:
                    responses[key] = kept.astype(np.float32)
        for ablation in ablations:
            with mute(self.model, self._silenced(ablation)):
                given = self._given(ablation.inputs, batch, others, rows.start)
                _, logits = self._run(given, batch.ids, ablation.name, None)
            predictions |= self.scorer.count(ablation.name, logits, truth)
        block = {
            "responses": responses,
            "predictions": predictions,
            "samples": describe(batch),
            "areas": concept_areas(batch, len(self.data.concepts)),
        }
        if places is not None:
            counts, sizes = cell_counts(batch, len(self.data.concepts), self.plan.grid)
            present = (2 * counts >= sizes[:, None]).astype(np.uint8).reshape(len(rows), -1)  # (B, g·K)
            at_cells = {"places": self.plan.contents(counts, sizes, places), "responses": at_cells}
            block["cells"] = at_cells | {"maps": maps, "present": {"present": present} if maps else {}}
        return block

    def _viewed(self, tap: Tap, modality: str) -> bool:
        """Whether the tap is what `Features.view` shows of a modality at its level."""
        own = any(t.stream == modality and t.level == tap.level for t in self.taps)
        return modality in self.names and tap.stream == (modality if own else "fused")

    def _reduces(self, condition: str, cells: Sequence[str]) -> dict[Tap, Reduce]:
        """What is kept of every tap's maps: their means, and where asked for what lies in the cells.

        Of the stream of the input that is a guest's nothing is kept in cells: it sees little of the sample.
        """
        able = [tap for tap in self.taps if condition in ("both", tap.stream) or tap.stream not in self.names]
        in_cells = self.plan.reduces(able) if self.plan and condition in cells else {}
        return dict.fromkeys(self.taps, pooled) | in_cells

    def _isolated(
        self, modality: str, batch: Batch, rows: Sequence[int], reduces: dict[Tap, Reduce]
    ) -> dict[Tap, np.ndarray]:
        """What `reduces` makes of the responses to one modality, averaged over the guests whose input is given."""
        totals: dict[Tap, np.ndarray] = {}
        for draw in range(self.draws):
            found = self._beside(modality, batch, self.guests.table[draw, np.asarray(rows)], reduces)
            totals = {tap: totals.get(tap, 0) + values for tap, values in found.items()}
        return {tap: total / self.draws for tap, total in totals.items()}

    def _beside(
        self, modality: str, batch: Batch, hosts: np.ndarray, reduces: dict[Tap, Reduce] | Reduce = pooled
    ) -> dict[Tap, np.ndarray]:
        """Responses (B, U) to one modality of `batch` beside the other inputs of the samples `hosts` (B,)."""
        at = torch.from_numpy(np.searchsorted(self._known, hosts))
        given = tuple(
            batch.inputs[name] if name == modality else images[at] for name, images in self._hosts.inputs.items()
        )
        return self._run(given, batch.ids, modality, reduces)[0]

    @cached_property
    def _known(self) -> np.ndarray:
        """Indices of all samples that are a guest or a reserve somewhere, rising."""
        return np.unique(self.guests.table)

    @cached_property
    def _hosts(self) -> Batch:
        return self.loader.inputs(self._known)

    def isolates(self, conditions: Sequence[str]) -> bool:
        """Whether responses are recorded, under any of `conditions`, beside guests."""
        return not self.alone and bool({*conditions} & {*self.names})

    def isolation(self) -> dict:
        """Who the guests were and how much of every tap is theirs, over up to 64 images and 4 guests or more.

        Returns
        -------
        dict
            "guests" and "reserves", ids in the order of draws; "reserved", how many samples had a reserve; "shares", a
            dict(stream, level, modality, own, guest, both, share, low, high) for each tap and kept modality: `Parts`,
            and the own share of the mean over the draws with its interval over groups (None where there are too few).
        """
        hosts, groups, rows = self.guests.first, np.asarray(self.data.groups), self._open
        found: dict[str, list[dict[Tap, np.ndarray]]] = {name: [] for name in self.names if len(rows) > 1}
        for part in np.split(rows, range(self.block, len(rows), self.block)) if found else ():
            batch = self.loader.inputs(part)
            for modality, blocks in found.items():
                blocks.append(self._crossed(modality, batch, hosts))
        shares = []
        for modality, blocks in found.items():
            for tap in blocks[0]:
                x = np.concatenate([block[tap] for block in blocks])  # (I, D, U)
                where = {"stream": tap.stream, "level": tap.level, "modality": modality}
                shares.append(where | _shares(x, groups[rows], self.draws))
        named = dict(zip(self._known.tolist(), self._hosts.ids, strict=True))
        used, reserve = (given[: self.draws].tolist() for given in (hosts, self.guests.reserve))
        reserved = (self.guests.table[: self.draws] != hosts[: self.draws, None]).any(0)  # (N,)
        return {
            "guests": [named[guest] for guest in used],
            "reserves": [named[guest] for guest in reserve],
            "reserved": int(reserved.sum()),
            "shares": shares,
        }

    @cached_property
    def _open(self) -> np.ndarray:
        """Up to 64 samples, evenly spread among those of whose group no guest is."""
        groups = np.asarray(self.data.groups)
        able = np.flatnonzero(~np.isin(groups, groups[self.guests.first]))
        return able[np.linspace(0, len(able) - 1, min(IMAGES, len(able))).astype(int)]

    def _crossed(self, modality: str, batch: Batch, hosts: np.ndarray) -> dict[Tap, np.ndarray]:
        """Responses (B, D, U) to a batch, each sample beside every one of `hosts`."""
        beside = [self._beside(modality, batch, np.full(len(batch), host)) for host in hosts]
        return {tap: np.stack([one[tap] for one in beside], 1) for tap in beside[0]}

    def purity(self) -> list[dict]:
        """How far each tap moves when one input is swapped, over up to 8 samples and their partners."""
        own, other = (self.loader.inputs(rows) for rows in self._pure)
        return purity(self.model, joined([own, other]), self.taps, adapt=self.adapt)

    @cached_property
    def _pure(self) -> list[np.ndarray]:
        """Up to 8 samples, evenly spread, and their partners."""
        rows = np.linspace(0, len(self.data) - 1, min(8, len(self.data))).astype(int)
        return [rows, self.partners[0, rows]]

    def _given(self, condition: str, own: Batch, others: Sequence[Batch], first: int) -> tuple[Tensor, ...]:
        """What the model is given of a block, the index of whose first sample tells its noise from another's."""
        if condition == "both" or self.alone:
            return tuple(own.inputs.values())
        names, _, kind = condition.partition(":")
        kept = names.split("+")

        def given(index: int, name: str) -> Tensor:
            if name in kept:
                return own.inputs[name]
            if kind:
                return self._stand_in(index, kind, own, first)
            return others[index if names == "none" else 0].inputs[name]  # no two of one partner where nothing is kept

        return tuple(given(index, name) for index, name in enumerate(self.names))

    def _stand_in(self, index: int, kind: str, own: Batch, first: int) -> Tensor:
        """What replaces an input under "zero", "mean" or "noise"."""
        m = self.data.modalities[index]
        shape = own.inputs[m.name].shape  # (B, c, H, W)
        mean, deviation = (x.to(self.loader.device) for x in self._replacements[m.name, kind])
        seed = first + (max(index - 1, 0) << 40)  # no two readings have the same noise
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(self.loader.device)
        x = mean + deviation * noise
        return x.clamp(m.low, m.high) if kind == "noise" else x

    def _run(
        self,
        given: tuple[Tensor, ...],
        ids: Sequence[str],
        condition: str,
        reduces: dict[Tap, Reduce] | Reduce | None = pooled,
    ) -> tuple[dict[Tap, np.ndarray], Tensor]:
        around = trace(self.model, self.taps, reduces, samples=len(ids)) if reduces else nullcontext({})
        with counted(self.model) as calls, around as traced:
            logits = call(self.model, given, self.adapt)  # (B, C, H, W)
        if len(calls) > 1 and reduces and not self._in_order:
            check_order(self.model, given, self.adapt, traced, reduces)
            self._in_order = True
        self.scorer.check(logits, ids)
        if reduces and self.unlike is None:
            self.unlike = self._unlike([x[:1] for x in given])
        found = {}
        for tap, kept in traced.items():
            values = kept.cpu().numpy()  # (B, U)
            if not np.isfinite(values).all():
                sample = ids[int(np.flatnonzero(~np.isfinite(values).all(1))[0])]
                raise ValueError(
                    f"tap {tap} must answer finite numbers; got NaN or infinity for sample {sample!r} "
                    f"under {condition!r}: check the model's weights, or run it in float32"
                )
            found[tap] = values
        return found, logits

    def _unlike(self, given: list[Tensor]) -> list[str]:
        """Taps that answer the same images otherwise the second time, "fused/4", with a warning where there are any."""
        found = restless(self.model, given, self.taps, adapt=self.adapt)
        if found:
            tap, moved = max(found.items(), key=lambda item: item[1])
            warnings.warn(
                f"the network gives other answers to the same images each time, at {len(found)} of {len(self.taps)} "
                f"taps (most at {tap}: by {moved:.2g} of its size). It draws random numbers in evaluation: here the "
                "same ones in every call, so that nothing but the images makes a difference.",
                stacklevel=2,
            )
        return [f"{tap.stream}/{tap.level}" for tap in found]

    def _silenced(self, ablation: Ablation) -> dict[Tap, dict[int, float]]:
        taps = {(tap.stream, tap.level): tap for tap in self.taps}
        held = {}
        for place, units in ablation.units.items():
            held[taps[place]] = {int(u): self._mean(place, int(u)) if ablation.value == "mean" else 0.0 for u in units}
        return held

    def _mean(self, place: tuple[str, int], unit: int) -> float:
        values = self._unit_means[place]
        if unit >= len(values):
            raise ValueError(f"units of {place} must be 0 to {len(values) - 1}; got {unit}")
        return float(values[unit])


def _shares(responses: np.ndarray, groups: np.ndarray, draws: int) -> dict[str, float | None]:
    """Whose the variance of `responses` (I, D, U) is, and the own share of their mean over `draws` of the guests."""
    found, share = parts(responses), None
    if len(set(groups)) >= GROUPS:
        share = estimate(lambda rows, partner: parts(responses[rows]).own_share(draws), groups, null=False)
    ends = {"low": None, "high": None} if share is None else {"low": share.low, "high": min(share.high, 1.0)}
    return asdict(found) | {"share": found.own_share(draws)} | ends


@contextmanager
def at_rest(model: nn.Module, device: str | torch.device | None) -> Iterator[torch.device]:
    """The model on `device` in evaluation mode, repeatable and without gradients; all of it undone afterwards.

    Parameters
    ----------
    model : Module
        Any module.
    device : str or torch.device or None
        None takes a GPU where there is one, else the device the model is on.

    Yields
    ------
    torch.device
        Where the model is.

    Examples
    --------
    >>> model = nn.Conv2d(3, 1, 1)
    >>> with at_rest(model, "cpu") as device:
    ...     device.type, model.training, model(torch.rand(1, 3, 2, 2)).requires_grad
    ('cpu', False, False)
    """
    home = next((p for p in [*model.parameters(), *model.buffers()]), torch.empty(0)).device
    chosen = device_for(device, home)
    try:
        model.to(chosen)
        with (
            evaluating(model),
            at_own_precision(model),
            torch.no_grad(),  # what a module keeps of it can be trained with, which is not so in inference mode
            cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=cudnn.allow_tf32),
        ):
            yield chosen
    finally:
        model.to(home)
