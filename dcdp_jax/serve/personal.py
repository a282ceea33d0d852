"""--mode=adapt: trains the classifiers of a model on labelled recordings of its wearer; writes a new model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ml_collections import ConfigDict

from dcdp_jax.data.windows import make_windows
from dcdp_jax.errors import ConfigError, DataError
from dcdp_jax.models.multipath import MultiPath
from dcdp_jax.runs.checkpoints import Checkpoints
from dcdp_jax.runs.files import (
    ADAPTED,
    CHECKPOINTS,
    CONFIG,
    RESULT,
    as_json,
    read_recorded,
    replaced_folder,
    write_recorded,
)
from dcdp_jax.runs.model_card import ModelCard, write_card
from dcdp_jax.runs.reading import read_result
from dcdp_jax.serve.inputs import read_input
from dcdp_jax.serve.model import describe_state, load_model, restore_state
from dcdp_jax.serve.predict import strange_values
from dcdp_jax.train.classifiers import train_classifiers
from dcdp_jax.train.state import AveragedState


def adapt_run(config: ConfigDict, workdir: Path, paths: Sequence[str]) -> None:
    """Adapts the model of a finished run to labelled files, and writes WORKDIR/adapted/NAME, a folder to predict with.

    NAME is that of the first file. Raises UserError if the run is not finished, the folder is of another file of this
    name, or the files are not what the model reads, are of several people or have too few labels.
    """
    model = load_model(workdir, config.serve.compute_body)
    if not isinstance(model.network, MultiPath):
        raise ConfigError(f"--mode=adapt trains the classifiers of branches, and the model of {workdir} has none")
    folder = workdir / ADAPTED / Path(paths[0]).stem
    files = [str(Path(path).absolute()) for path in paths]
    if folder.exists() and (first := str(Path(read_result(folder)[ADAPTED]["files"][0]).absolute())) != files[0]:
        raise ConfigError(f"{folder} is adapted on {first}, another file than {files[0]}; rename one of the two files")
    items = [(path, item) for path in paths for item in read_input(Path(path), model.card, config.data)]
    if len(people := {item.person: path for path, item in items if item.person}) > 1:
        listed = ", ".join(f"{person} ({path})" for person, path in people.items())
        raise DataError(f"--mode=adapt is for one wearer, and the recordings are of {len(people)} people: {listed}")
    for path, item in items:
        for note in (*item.notes, *strange_values(model.card, item.recording)):
            print(f"{path}, {item.name}: {note}")
    recordings = [item.recording for _, item in items]
    windows, labels, _ = make_windows(recordings, window=model.card.window, step=model.card.step)
    whole = np.isfinite(windows).all(axis=(1, 2))
    if not whole.all():
        print(f"{np.count_nonzero(~whole)} of {len(whole)} windows of one class lack a value, and are left out")
    windows, labels = windows[whole], labels[whole]
    counts = np.bincount(labels, minlength=len(model.card.class_names))
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"{', '.join(paths)}: {len(labels)} windows of {model.card.window} samples lie within one label of "
            f"{', '.join(model.card.class_names)} and lack no value; expected windows of two classes at least"
        )
    params = train_classifiers(model.network, model.variables, model.card.normalizer, windows, labels)
    named = {name: n for name, n in zip(model.card.class_names, counts.tolist(), strict=True) if n}
    write_adapted(workdir, folder, model.card, params, {"files": files, "windows": named})
    print(f"adapted on {', '.join(f'{n} windows of {name}' for name, n in named.items())}")
    print(f"to use it, repeat the command of the run with --workdir={folder}")


def write_adapted(workdir: Path, folder: Path, card: ModelCard, params: Any, adapted: dict[str, Any]) -> None:
    """Writes the folder of an adapted model atomically; it replaces one of the same name.

    Its result.json has the mark `adapted`, because its scores are those of the run before the adaptation, and the item
    `adapted`, which has that of a model that was adapted before as `before`. The threshold for `unknown` was chosen for
    other classifiers, and is left out.
    """
    _, _, like = describe_state(workdir)
    state = restore_state(workdir, card, like)
    if isinstance(state, AveragedState):
        state = state.replace(average={**state.average, "params": params})
    else:
        state = state.replace(params=params)
    result = read_result(workdir)
    result["marks"] = list(dict.fromkeys([*result["marks"], ADAPTED]))
    result[ADAPTED] = adapted | ({"before": result[ADAPTED]} if ADAPTED in result else {})
    with replaced_folder(folder) as new:
        with Checkpoints(new / CHECKPOINTS) as checkpoints:
            checkpoints.save(card.best_epoch, state, 0.0)
        write_recorded(new, CONFIG, read_recorded(workdir, CONFIG))
        write_card(new, msgspec.structs.replace(card, rejection=None, marks=tuple(result["marks"])))
        write_recorded(new, RESULT, as_json(result))
