"""Tests the main job on real recordings, with the smallest network."""

import pytest

from tests.e2e.running import SMALL, launch, read_json

EXPECTED = {
    "uci_har": ("official", 2947, [2, 4, 9, 10, 12, 13, 18, 20, 24], []),
    "wisdm": ("subject", 1831, [31, 32, 33, 34, 35, 36], ["incomplete"]),
}


@pytest.mark.parametrize("name", ["uci_har", "wisdm"])
@pytest.mark.slow
def test_trains_to_a_result(name, raw_dir, tmp_path):
    protocol, windows, subjects, marks = EXPECTED[name]
    status, _, errors = launch(
        *SMALL,
        f"--config.data.raw_dir={raw_dir}",
        f"--config.data.cache_dir={tmp_path / 'cache'}",
        "--config.train.epochs=1",
        f"--workdir={tmp_path / 'run'}",
        config=f"configs/{name}.py",
    )
    assert status == 0, errors
    result = read_json(tmp_path / "run" / "result.json")
    assert result["protocol"] == protocol
    assert result["windows"]["test"] == windows == sum(map(sum, result["confusion"]))
    assert result["subjects"]["test"] == subjects
    assert result["marks"] == marks
    if name == "uci_har":
        assert [sum(row) for row in result["confusion"]] == [496, 471, 420, 491, 532, 537]
