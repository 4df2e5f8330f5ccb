"""The alternatives: packages where they are installed, else the published algorithm, written from its formula."""

import importlib
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits

MISSING = {}  # package: why it is not compared
NOWHERE = ("netrep", "thingsvision")  # asked for beside this torch and numpy; no release could be imported so far


def package(name, install):
    """The module, or None where it is not installed; then it is reported at the end."""
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: of a build for another torch
        MISSING[install] = f"not compared: {error}"
        return None


def centred(levels):
    return [torch.as_tensor(level - level.mean(0, dtype=np.float64)).float() for level in levels]


def debiased_cka_ways(levels):
    """(name, call) of the packages that compute debiased CKA of all pairs from all images."""
    x = centred(levels)
    if together := package("cka", "pytorch-cka"):
        yield "pytorch-cka", lambda: together.cka_from_features(x, x).numpy()
    if single := package("ckatorch.core", "ckatorch"):

        def looped():
            found = np.empty((len(x), len(x)))
            for i, a in enumerate(x):
                for j, b in enumerate(x):
                    found[i, j] = single.cka_base(a, b, unbiased=True)
            return found

        yield "ckatorch", looped


def minibatch_cka_ways(levels, batch):
    """(name, call) of packages that compute minibatch CKA, fed with features instead of models."""
    x = [level.split(batch) for level in centred(levels)]

    def grams(parts):
        return (torch.stack([part[b] @ part[b].T for part in parts]) for b in range(len(x[0])))  # (L, n, n) a batch

    if together := package("cka.hsic", "pytorch-cka"):
        yield "pytorch-cka", lambda: _ratio([together.hsic(k, k)[0] for k in grams(x)])
        yield (
            "pytorch-cka and centring",
            lambda: _ratio([together.hsic(k, k)[0] for k in grams([level.split(batch) for level in centred(levels)])]),
        )
    if stack := package("cka_pytorch.hsic", "cka-pytorch"):
        index = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(x)))

        def stacked():
            return _ratio([stack.hsic1(k[index[:, 0]], k[index[:, 1]]).reshape(len(x), -1) for k in grams(x)])

        yield "cka-pytorch", stacked
    if single := package("torch_cka.cka", "torch-cka"):
        shell = SimpleNamespace(device="cpu")

        def pairs():
            zero = list(grams(x))
            for k in zero:
                k.diagonal(dim1=1, dim2=2).fill_(0)
            return _ratio([torch.tensor([[single.CKA._HSIC(shell, a, b) for b in k] for a in k]) for k in zero])

        yield "torch_cka", pairs


def calibrated_ways(first, second, permutations):
    """(name, call) of packages that set the best pair of levels beside its permutations."""
    if layers := package("calibrated_similarity", "calibrated-similarity"):

        def similarity(a, b):  # linear CKA from products of units; the levels come centred
            return (a.T @ b).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())

        random = torch.Generator().manual_seed(0)
        x, y = centred(first), centred(second)
        yield (
            "calibrated-similarity",
            lambda: layers.calibrate_layers(x, y, similarity, K=permutations, generator=random)[0].numpy(),
        )


def rsa_ways(levels):
    """(name, call) of packages that compare the distances between images of all pairs of levels."""
    if toolbox := package("rsatoolbox", "rsatoolbox"):

        def compared():
            sets = [toolbox.data.Dataset(level.astype(np.float64)) for level in levels]
            rdms = toolbox.rdm.calc_rdm(sets, method="euclidean")
            return toolbox.rdm.compare(rdms, rdms, method="spearman")

        yield "rsatoolbox", compared


def readers(model, names, pooled):
    """(name, function of the inputs, note) of tools that read the outputs of modules by their names."""
    if lens := package("torchlens", "torchlens"):
        # else its wrappers around all of torch's functions would stay, and slow the others
        options = lens.options.CaptureOptions(layers_to_save=list(names), unwrap_when_done=True)

        def logged(given):
            log = lens.trace(model, list(given), capture=options)
            return [pooled(log[name].out) for name in names]

        yield "torchlens", logged, "it logs every operation"
    if sight := package("nnsight", "nnsight"):
        wrapped = sight.NNsight(model)
        modules = [wrapped.get(name) for name in names]

        def traced(given):
            with wrapped.trace(*given):
                found = sight.save([pooled(module.output) for module in modules])
            return found

        yield "nnsight", traced, ""
    if graph := package("torchvision.models.feature_extraction", "torchvision"):
        cut = graph.create_feature_extractor(model, names)
        yield "create_feature_extractor", lambda given: [pooled(maps) for maps in cut(*given).values()], "traced once"


def _ratio(parts):
    total = sum(part.double() for part in parts).numpy()
    return total / np.sqrt(np.outer(np.diag(total), np.diag(total)))


def mutual_knn(levels, k):
    """Mutual k-nearest neighbours of every pair, neighbours searched anew for each pair as published (Huh et al.)."""
    x = centred(levels)

    def neighbours(a):
        distances = torch.cdist(a, a).fill_diagonal_(torch.inf)
        return distances.topk(k, largest=False).indices  # (N, k)

    def one(a, b):
        masks = [torch.zeros(len(a), len(a)).scatter_(1, neighbours(s), 1.0) for s in (a, b)]
        return float((masks[0] * masks[1]).sum(1).mean() / k)

    return np.array([[one(a, b) for b in x] for a in x])


def dense_dissection(maps, thresholds, concepts, count, step=10):
    """IoU (U, K) by enlarging every map and multiplying every mask with every concept's."""
    both = unit = concept = 0
    for i in range(0, len(maps), step):
        grown = F.interpolate(maps[i : i + step], concepts.shape[-2:], mode="bilinear", align_corners=False)
        masks = (grown > thresholds[:, None, None]).to(maps.dtype).transpose(0, 1).flatten(1)  # (U, P)
        labels = concepts[i : i + step]
        present = torch.stack([(labels == k).any(1).flatten() for k in range(count)]).to(maps.dtype)  # (K, P)
        both = both + (masks @ present.T).double()
        unit, concept = unit + masks.sum(1).double(), concept + present.sum(1).double()
    return (both / (unit[:, None] + concept - both).clamp(min=1)).numpy()


@threadpool_limits.wrap(limits=1)  # with two threads it takes five times as long
def group_ridge_partitioning(y, bands, fold, penalties, seed=0):
    """Held-out R² (U, models) by himalaya's GroupRidgeCV: `bands` lists each model's predictors."""
    module = package("himalaya.ridge", "himalaya")
    if module is None:
        return None
    from sklearn.decomposition import PCA
    from sklearn.model_selection import PredefinedSplit

    found = []
    for model in bands:
        errors = spread = 0
        for f in np.unique(fold):
            train, test = fold != f, fold == f
            alphas, parts = train.sum() * np.asarray(penalties), []
            for band in model:
                pca = PCA(min(32, band.shape[1]), svd_solver="full").fit(band[train])
                part = pca.transform(band)
                parts.append(part / np.sqrt((part[train] ** 2).mean()))
            x, groups = np.hstack(parts), np.repeat(np.arange(len(parts)), [p.shape[1] for p in parts])
            fit = module.GroupRidgeCV(
                groups=groups,
                cv=PredefinedSplit(fold[train]),
                random_state=seed,
                fit_intercept=True,
                solver_params={"n_iter": 25 if len(parts) > 1 else 1, "alphas": alphas, "progress_bar": False},
            ).fit(x[train], y[train])
            errors = errors + ((y[test] - fit.predict(x[test])) ** 2).sum(0)
            spread = spread + ((y[test] - y[train].mean(0)) ** 2).sum(0)
        found.append(1 - errors / spread)
    return np.stack(found, 1)
