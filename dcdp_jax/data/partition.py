"""Assigns channels to branches by names and groups, or as one of the controls of an ablation does."""

from collections.abc import Sequence

import numpy as np

from dcdp_jax.data.recording import Channel
from dcdp_jax.errors import ConfigError

CONTROLS = ("named", "swap", "random", "single")


def select_channels(channels: Sequence[Channel], selectors: Sequence[str], field: str) -> tuple[int, ...]:
    """Returns the ascending indices of the channels that are named or whose group is, by one of the selectors.

    Raises:
      ConfigError: a selector matches nothing, or no channel is chosen; the message begins with the config field.
    """
    for selector in selectors:
        if not any(selector in (c.name, c.group) for c in channels):
            groups = sorted({c.group for c in channels})
            raise ConfigError(
                f"{field}: no channel or group {selector!r}; the groups are {', '.join(groups)}, the channels "
                f"{', '.join(c.name for c in channels[:6])}{', ...' if len(channels) > 6 else ''}"
            )
    chosen = tuple(i for i, c in enumerate(channels) if c.name in selectors or c.group in selectors)
    if not chosen:
        raise ConfigError(f"{field}: an empty channel group; name at least one channel or group")
    return chosen


def partition(
    channels: Sequence[Channel],
    branches: Sequence[tuple[str, str, Sequence[str]]],
    control: str = "named",
    seed: int = 0,
) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Assigns every channel to one branch.

    Args:
      channels: channels of the data set.
      branches: `model.branches`, (name, backbone, channel or group names) each.
      control: `model.partition`. `named`: as the branches say. `swap`: every branch reads the group of the next one,
        the last that of the first; with two, they exchange. `random`: groups of the same sizes, drawn by chance.
        `single`: the first branch reads all channels, and the others are dropped.
      seed: seed of `random`.

    Returns:
      (name, backbone, ascending channel indices) of each branch.

    Raises:
      ConfigError: a group is empty, a channel is read by two branches or by none, or the control is unknown.

    >>> c = [Channel(name, name[:-1], "hip", "") for name in ("acc1", "acc2", "gyro1")]
    >>> partition(c, [("res", "resnet", ["acc"]), ("dense", "densenet", ["gyro"])], "swap")
    (('res', 'resnet', (2,)), ('dense', 'densenet', (0, 1)))
    """
    if control not in CONTROLS:
        raise ConfigError(f"model.partition={control!r} is not one of {', '.join(CONTROLS)}")
    groups = [
        select_channels(channels, selectors, f"model.branches, branch {name!r}") for name, _, selectors in branches
    ]
    owner: dict[int, str] = {}
    for (name, _, _), group in zip(branches, groups, strict=True):
        for i in group:
            if i in owner:
                raise ConfigError(
                    f"model.branches: channel {channels[i].name!r} is read by {owner[i]!r} and by {name!r}; "
                    f"take it, or its group {channels[i].group!r}, from one of them"
                )
            owner[i] = name
    if left := [i for i in range(len(channels)) if i not in owner]:
        names = ", ".join(channels[i].name for i in left[:6]) + (", ..." if len(left) > 6 else "")
        raise ConfigError(
            f"model.branches: no branch reads {len(left)} of {len(channels)} channels, {names} (groups "
            f"{', '.join(sorted({channels[i].group for i in left}))}); add them to a branch, or leave them out "
            f"of the data with data.channels"
        )
    if control == "single":
        branches, groups = branches[:1], [tuple(range(len(channels)))]
    elif control == "swap":
        groups = groups[1:] + groups[:1]
    elif control == "random":
        shuffled = np.random.default_rng(seed).permutation(len(channels))
        cuts = np.cumsum([len(group) for group in groups])[:-1]
        groups = [tuple(sorted(part.tolist())) for part in np.split(shuffled, cuts)]
    return tuple((name, backbone, group) for (name, backbone, _), group in zip(branches, groups, strict=True))
