"""Names on the disk that hold structure: what is written is parsed back, and other names are refused or let be."""

import pytest

from rgbd_insight.features import ROLES, AblationName, FeaturesError, RunId, TensorKey, load


@pytest.mark.parametrize("given", ["both", "rgb:mean"])
@pytest.mark.parametrize("share", [0.125, 0.25, 0.5])
def test_names_say_what_was_silenced(share, given):
    name = AblationName("random", "rgb", 7, share=share, inputs=given)
    assert AblationName.parse(str(name)) == name
    assert name.percent == f"{100 * share:g}%" and (name.percent in str(name)) == (share != 0.25)


@pytest.mark.parametrize("name", ["off", "specific", "specific rgb depth", "specific rgb at x%", "random rgb 1 2"])
def test_names_of_ones_own_are_no_choice_of_a_question(name):
    assert AblationName.parse(name) is None


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("encoding", ["", "hha", "a+b"])
@pytest.mark.parametrize("fusion", ["sum", "token_exchange", "my-net.2", "a-s1", "a-s1-e2"])
def test_run_ids_are_parsed_back(fusion, encoding, role):
    for epoch in (0, 64):
        run = RunId(fusion, 3, epoch, role, encoding)
        assert RunId.parse(str(run)) == run == RunId(run.network, 3, epoch, role)
    assert RunId.parse(str(RunId(fusion, 3, encoding=encoding))).epoch is None


@pytest.mark.parametrize("text", ["sum", "sum-s", "sum-s0-e", "sum-s0-x", "sum-s0-e1-", "-s0-e1", "", "sum-s0-e1-a-b"])
def test_what_is_no_run_id_is_refused(text):
    with pytest.raises(FeaturesError, match="must be FUSION-sSEED"):
        RunId.parse(text)


@pytest.mark.parametrize("fusion", ["../x", "a b", "", "a/b", ".a", "ü"])
def test_a_run_must_make_a_file_name(fusion):
    with pytest.raises(FeaturesError, match="plain file name"):
        RunId(fusion, 0, 1)


def test_an_empty_encoding_stays_part_of_the_name():
    assert str(RunId("sum+", 0)) == "sum+-s0" and str(RunId("+hha", 0)) == "+hha-s0"  # as they always were on disk


@pytest.mark.parametrize(
    "key",
    [
        TensorKey("both", stream="rgb", level=2),
        TensorKey("rgb:mean", stream="fused", level=0),
        TensorKey("random rgb 3", part="hit"),
        TensorKey("none", part="guess"),
    ],
)
def test_tensor_keys_are_parsed_back(key):
    assert TensorKey.parse(str(key)) == key


@pytest.mark.parametrize("text", ["both", "rgb/one/both", "rgb/1/both/hit", ""])
def test_what_is_no_tensor_key_is_refused(text):
    with pytest.raises(FeaturesError, match="must be STREAM/LEVEL/CONDITION"):
        TensorKey.parse(text)


def test_committed_features_have_such_names():
    features = load("book/features/scenes", verify=False)
    for run in features.runs.itertuples():
        named = RunId.parse(run.Index)
        assert (named.network, named.seed, named.epoch, named.role) == (run.fusion, run.seed, run.epoch, run.role)
        keys = [key for keys in features.entry(run.Index)["files"].values() for key in keys]
        assert [str(TensorKey.parse(key)) for key in keys] == keys
