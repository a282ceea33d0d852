"""What each term of the loss adds to the total, against the loss itself and in the page."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from dcdp_jax.losses import total_loss
from dcdp_jax.report.charts import epoch_means
from dcdp_jax.report.html import share_table, write_report
from tests.report.test_report import Page, make_workdir


def test_means_weigh_a_record_by_its_steps_and_leave_out_what_is_null():
    records = [
        {"epoch": 1, "loss": {"fusion": 1.0, "res": 8.0}, "steps": 3},
        {"epoch": 1, "loss": {"fusion": 5.0, "res": None}},
        {"epoch": 2, "loss": {"fusion": 7.0, "res": None}},
        {"epoch": 2},
    ]
    assert epoch_means(records, "loss") == {1: {"fusion": 2.0, "res": 8.0}, 2: {"fusion": 7.0}}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_the_terms_add_is_the_total_of_the_loss(reduction):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    steps = []
    for epoch in (1, 2, 3):
        total, terms = total_loss(
            draw(4, 3),
            {"res": draw(4, 3), "dense": draw(4, 3)},
            {"res": draw(4, 8), "dense": draw(4, 8)},
            [{"res": draw(4, 5), "dense": draw(4, 5)}],
            jnp.asarray([0, 1, 2, 0]),
            align_weight=0.7,
            temperature=0.5,
            align_reduction=reduction,
        )
        steps.append({"epoch": epoch, "loss": {"total": float(total)} | {name: float(x) for name, x in terms.items()}})
    table = share_table(steps, 0.7)
    assert table.head == ["Term", "Weight", "Epoch 1", "Share, %", "Epoch 3", "Share, %"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert {name: row[0] for name, row in rows.items()} == {
        "res": "1",
        "dense": "1",
        "fusion": "1",
        "contrast": "0.7",
        "align": "0.7",
        "total": "",
    }
    for column, step in ((1, steps[0]), (3, steps[2])):
        total = step["loss"]["total"]
        terms = {name: row for name, row in rows.items() if name != "total"}
        assert sum(float(row[column]) for row in terms.values()) == pytest.approx(total, rel=5e-3)
        assert sum(float(row[column + 1]) for row in terms.values()) == pytest.approx(100, abs=0.05)
        assert rows["total"][column] == f"{total:.3g}"
        assert float(rows["align"][column + 1]) == pytest.approx(70 * step["loss"]["align"] / total, abs=0.005)


def test_one_epoch_is_shown_once_and_without_a_weight_nothing_is_made_up():
    steps = [{"epoch": 4, "loss": {"total": 2.0, "fusion": 0.5, "align": 0.1}}]
    table = share_table(steps, None)
    assert table.head == ["Term", "Weight", "Epoch 4", "Share, %"]
    assert table.rows == [["fusion", "1", "0.5", "25.00"], ["align", *["n/a"] * 3], ["total", "", "2", ""]]
    assert share_table([{"epoch": 1}], 0.7) is None


def test_the_page_shows_the_shares(tmp_path):
    workdir = make_workdir(tmp_path, ["a", "b"])
    assert not Page(write_report(workdir).read_text(encoding="utf-8")).has("error is the")
    config = json.loads((workdir / "config.json").read_text()) | {
        "loss": {"align_weight": 0.7, "align_reduction": "sum"}
    }
    (workdir / "config.json").write_text(json.dumps(config))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    last = [line["loss"] for line in lines if line["kind"] == "step" and line["epoch"] == 10]
    page = Page(write_report(workdir).read_text(encoding="utf-8"))
    assert "Terms of the loss" in page.texts
    assert page.has("the sum over the features")
    for term, weight in (("contrast", 0.7), ("align", 0.7), ("fusion", 1.0)):
        added = weight * np.mean([loss[term] for loss in last])
        assert f"{added:.3g}" in page.texts
        assert f"{100 * added / np.mean([loss['total'] for loss in last]):.2f}" in page.texts
