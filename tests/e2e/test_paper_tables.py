"""Tables 1 to 3 in quick form, as a user asks for them: every row is trained, every table and figure is there."""

import pytest

from tests.e2e.running import launch

ROWS = {
    "table1": [f"{stage}{i}" for stage, count in (("A", 5), ("B", 4), ("C", 5), ("D", 5)) for i in range(1, count + 1)],
    "table2": [
        *("ResNet, own channels", "DPFE", "DPFE+CL", "DPFE+CGM", "DPFE+DA", "DPFE+CL+CGM", "DPFE+CGM+DA", "DPFE+CL+DA"),
        *("DPFE+CL+CGM+DA", "ResNet, all channels", "DenseNet, own channels", "two ResNets", "swapped channels"),
        "matched width",
    ],
    "table3": [
        *("CNN", "LSTM", "LSTM-CNN", "CNN-GRU", "ELK", "DanHAR", "DeepConvLSTM", "InceptionTime"),
        *("TinyHAR", "Transformer", "Random forest", "Linear"),
        *("Gradient boosting", "MiniRocket", "Hydra", "Quant", "DCDP-HAR"),
    ],
}
# What is compiled here runs for a second.
QUICK_TO_COMPILE = "--xla_backend_optimization_level=0"


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_quick_form(name, tmp_path):
    status, output, errors = launch(
        "--config.study.quick=True",
        "--config.study.workers=2",
        f"--config.study.cache_dir={tmp_path / 'cache'}",
        f"--workdir={tmp_path / 'run'}",
        config=f"configs/studies/{name}.py",
        XLA_FLAGS=QUICK_TO_COMPILE,
    )
    assert status == 0, errors
    assert "failed" not in output
    lines = (tmp_path / "run" / "tables" / "synthetic.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    header, rows = cells[0], [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]
    expected = [(row, "2") for row in ROWS[name]], [(f"{row}, ensemble of 2", "1") for row in ROWS[name]]
    found = [(row["Row"].removesuffix(" (chosen)"), row["n"]) for row in rows]
    assert (found[::2], found[1::2]) == expected
    assert sum(row["Row"].endswith("(chosen)") for row in rows) == (4 if "Stage" in header else 0)
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    kinds = ("scores", "confusion", "modulation")
    assert figures == {f"synthetic-{kind}.{ending}" for kind in kinds for ending in ("svg", "png")}
    assert len(list((tmp_path / "run").glob("trials/*/result.json"))) == len(rows)
