"""Small files in exactly the layouts in which NYU Depth v2 and SUN RGB-D are distributed."""

import tomllib
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

import rgbd_insight.data
from rgbd_insight.data.sunrgbd import NAMES

ABOUT = tomllib.loads((Path(rgbd_insight.data.__file__).parent / "nyuv2.toml").read_text(encoding="utf-8"))
HOME = "/n/fs/sun3d/data/SUNRGBD/"  # where the toolbox says that the scenes are


def nyu_names():
    """894 names: those of the 40 classes where the mapping has them, made-up ones elsewhere."""
    names = [f"thing {i}" for i in range(894)]
    for k, name in enumerate(ABOUT["names40"][:37], 1):
        names[ABOUT["to40"].index(k)] = name
    names[0] = "ottoman thing"
    return names


def write_nyuv2(path, n=6, size=(24, 32), names=None, train=(1, 2, 4), test=(3, 5, 6)):
    """nyu_depth_v2_labeled.mat: HDF5, MATLAB's axes backwards, strings as references to codes; splits.mat beside it."""
    import h5py

    rng, (h, w) = np.random.default_rng(0), size
    names = names or nyu_names()
    truth = {
        "images": rng.integers(0, 256, (n, h, w, 3), np.uint8),
        "depths": rng.uniform(0.8, 9.5, (n, h, w)).astype(np.float32),
        "labels": rng.choice([0, 1, 21, ABOUT["to40"].index(4) + 1, 894], (n, h, w)).astype(np.uint16),
    }
    truth["rawDepths"] = truth["depths"].copy()
    truth["rawDepths"][:, :3] = 0
    scenes = ["kitchen_0001", "kitchen_0001", "kitchen_0002", "office_0002", "bath_0003", "bath_0003"][:n]
    with h5py.File(path, "w", userblock_size=512) as file:
        file["images"] = truth["images"].transpose(0, 3, 2, 1)
        for name in ("depths", "rawDepths", "labels"):
            file[name] = truth[name].transpose(0, 2, 1)
        for name, words in (("names", names), ("scenes", scenes)):
            cells = file.create_dataset(name, (1, len(words)), dtype=h5py.ref_dtype)
            for i, word in enumerate(words):
                codes = file.create_dataset(f"#refs#/{name}{i}", data=np.array([[ord(c)] for c in word], np.uint16))
                cells[0, i] = codes.ref
    savemat(path.with_name("splits.mat"), {"trainNdxs": [[i] for i in train], "testNdxs": [[i] for i in test]})
    return truth


def rotated(millimetres):
    """16 bits rotated left by 3, as SUN RGB-D stores depth."""
    return (millimetres << 3) | (millimetres >> 13)


def sun_scene(path, seed, size=(12, 16)):
    """A scene's folder; its colour, millimetres, and label among the 37 classes (255 for others)."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 256, (*size, 3), np.uint8)
    millimetres = (rng.integers(500, 9000, size) * (rng.random(size) > 0.2)).astype(np.uint16)
    own = rng.integers(0, 4, size).astype(np.uint8)  # 0 is nothing, then as `names`
    names = ["Night Stand", "wall", "gramophone"]
    for name, image in (("image", colour), ("depth", rotated(millimetres))):
        (path / name).mkdir(parents=True)
        Image.fromarray(image).save(path / name / "0.png")
    savemat(path / "seg.mat", {"names": np.array(names, object), "seglabel": own})
    (path / "scene.txt").write_text("bedroom")
    (path / "intrinsics.txt").write_text("520 0 8 0 520 6 0 0 1")
    table = np.array([255, NAMES.index("night_stand"), NAMES.index("wall"), 255], np.uint8)
    return colour, millimetres, table[own]


def write_toolbox(path, scenes, train, size=(12, 16)):
    """SUNRGBDMeta.mat and allsplit.mat (MATLAB 5), SUNRGBD2Dseg.mat (HDF5); labels by scene, 255 for none."""
    import h5py

    rng, labels = np.random.default_rng(1), {}
    for folder in ("Metadata", "traintestSUNRGBD"):
        (path / folder).mkdir(parents=True)
    order = list(scenes)[::-1]  # the toolbox has an order of its own
    meta = np.zeros((1, len(order)), dtype=[("rgbpath", object), ("depthname", object), ("rgbname", object)])
    for i, name in enumerate(order):
        meta[0, i] = (f"{HOME}{name}/image/0.png", "0.png", "0.png")
    savemat(path / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    halves = {"alltrain": np.array([HOME + name for name in train], object)}
    halves["alltest"] = np.array([HOME + name for name in scenes if name not in train], object)
    savemat(path / "traintestSUNRGBD" / "allsplit.mat", halves)
    with h5py.File(path / "Metadata" / "SUNRGBD2Dseg.mat", "w", userblock_size=512) as file:
        cells = file.create_dataset("SUNRGBD2Dseg/seglabel", (len(order), 1), dtype=h5py.ref_dtype)
        for i, name in enumerate(order):
            stored = rng.integers(0, 38, size).astype(np.uint8)
            cells[i, 0] = file.create_dataset(f"#refs#/{i}", data=stored.T).ref
            labels[name] = np.where(stored > 0, stored - 1, 255).astype(np.uint8)
    return labels
