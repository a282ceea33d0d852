"""Which branch reads which channels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcdp_jax.data.partition import CONTROLS, partition, select_channels
from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import ConfigError

CHANNELS = tuple(
    Channel(f"{site}_{group}_{axis}", group, site, "")
    for site in ("wrist", "hip")
    for group in ("acc", "gyro", "mag")
    for axis in "xyz"
)
THREE = (("a", "resnet", ("acc",)), ("b", "densenet", ("gyro",)), ("c", "resnet", ("mag",)))
ACC, GYRO, MAG = (tuple(i for i, c in enumerate(CHANNELS) if c.group == g) for g in ("acc", "gyro", "mag"))


def test_named():
    assert partition(CHANNELS, THREE) == (("a", "resnet", ACC), ("b", "densenet", GYRO), ("c", "resnet", MAG))
    mixed = (("a", "resnet", ("acc", "gyro", "wrist_mag_x")), ("b", "densenet", ("wrist_mag_y", "wrist_mag_z")))
    channels = CHANNELS[:9]
    assert [group for *_, group in partition(channels, mixed)] == [(0, 1, 2, 3, 4, 5, 6), (7, 8)]


def test_swap_moves_every_group_on():
    assert [group for *_, group in partition(CHANNELS, THREE, "swap")] == [GYRO, MAG, ACC]


def test_single_gives_the_first_branch_everything():
    assert partition(CHANNELS, THREE, "single") == (("a", "resnet", tuple(range(18))),)


@given(st.integers(0, 2**31 - 1))
def test_random_keeps_sizes_and_covers_everything(seed):
    branches = (("a", "resnet", ("acc", "gyro")), ("b", "densenet", ("mag",)))
    drawn = partition(CHANNELS, branches, "random", seed)
    assert drawn == partition(CHANNELS, branches, "random", seed)
    assert [(name, backbone, len(group)) for name, backbone, group in drawn] == [
        ("a", "resnet", 12),
        ("b", "densenet", 6),
    ]
    assert sorted(i for *_, group in drawn for i in group) == list(range(18))
    assert all(list(group) == sorted(group) for *_, group in drawn)


def test_random_depends_on_the_seed():
    assert len({partition(CHANNELS, THREE, "random", seed) for seed in range(20)}) > 15


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    ("branches", "message"),
    [
        (
            (("a", "resnet", ("acc", "sonar")), *THREE[1:]),
            "branch 'a': no channel or group 'sonar'; the groups are acc,",
        ),
        ((("a", "resnet", ()), *THREE[1:]), "branch 'a': an empty channel group"),
        ((*THREE, ("d", "resnet", ("hip_mag_x",))), "channel 'hip_mag_x' is read by 'c' and by 'd'; take it"),
        (
            THREE[:2],
            r"no branch reads 6 of 18 channels, wrist_mag_x, .* \(groups mag\); add them to a branch, or leave",
        ),
    ],
    ids=["unknown", "empty", "twice", "left over"],
)
def test_bad_branches_are_named(branches, message, control):
    with pytest.raises(ConfigError, match=r"model\.branches.*" + message):
        partition(CHANNELS, branches, control)


def test_unknown_control():
    with pytest.raises(ConfigError, match=r"model\.partition='shuffle' is not one of named, swap, random, single"):
        partition(CHANNELS, THREE, "shuffle")


def test_select_channels_names_the_field():
    assert select_channels(CHANNELS, ["mag", "wrist_acc_x"], "data.channels") == (0, *MAG)
    with pytest.raises(ConfigError, match=r"data\.channels: no channel or group 'emg'"):
        select_channels(CHANNELS, ["emg"], "data.channels")
