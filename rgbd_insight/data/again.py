"""Planted scenes drawn again from what features say of them: no image needs to be kept beside the responses."""

from __future__ import annotations

import ast

from rgbd_insight.data.depth import Sensor
from rgbd_insight.data.scenes import VERSION, Scenes
from rgbd_insight.features import Features


def redraw(features: Features) -> Scenes:
    """The planted scenes that `features` were extracted from, sample for sample.

    Parameters
    ----------
    features : extracted from `Scenes`.

    Returns
    -------
    Scenes with the same fingerprint.

    Raises
    ------
    ValueError
        Where the features are of other data, or of scenes that another version of the package drew.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> features = ri.load("book/features/scenes")
    >>> redraw(features).batch([0]).ids[0] == features.samples["id"][0]
    True
    """
    made = dict(features.manifest["fingerprint"])
    name, version = made.pop("name", features.manifest["name"]), made.pop("version", None)
    if name != Scenes.name or "split" not in made:
        raise ValueError(f"`features` must be of planted scenes, drawn from a seed; {features.path} is of {name!r}")
    if version != VERSION:
        raise ValueError(
            f"`features` must be of scenes of version {VERSION}; {features.path} has {version!r}. Extract them again."
        )
    return Scenes(**made | {"sensor": _sensor(made["sensor"])})


def _sensor(text: str | None) -> Sensor | None:
    """The sensor that is written as `text`; literals only, since features may come from anywhere."""
    if text is None:
        return None
    call = ast.parse(text, mode="eval").body
    return Sensor(**{word.arg: ast.literal_eval(word.value) for word in call.keywords})
