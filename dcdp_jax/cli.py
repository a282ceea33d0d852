"""The command line: maps flags to functions, and prints errors that a user can cause as one line with exit status 2."""

import functools
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dcdp_jax import __version__, configs
from dcdp_jax.errors import Terminated, UserError
from dcdp_jax.fields import FIELDS, SECTIONS, STUDY_FIELDS, allowed
from dcdp_jax.serve.smoothing import parse_smoothing

MODES = {
    "train": "train, test and report; the same command again resumes (default)",
    "evaluate": "evaluate a finished run again, with sensors left out and noise added",
    "describe": "write describe.html: the data set of a config, before training",
    "predict": "predict the activities of files, each named by --input",
    "stream": "predict rows of a table as they arrive on standard input",
    "adapt": "train a model's classifiers on labelled files of its wearer, and write a model beside the old one",
    "export": "write a finished run's model for use without this package",
    "compare": "write compare.html: the finished runs in the folders that follow the flags",
    "ensemble": "write the mean probabilities of the finished runs that follow the flags, scored as a run",
    "portability": "check that results agree across devices, precisions and strategies",
}
CONFIG = config_flags.DEFINE_config_file(
    "config", lock_config=True, help_string="a file, as configs/demo.py, or the name of a packaged config, as demo"
)
WORKDIR = flags.DEFINE_string("workdir", "", "folder for the run's files; default runs/NAME of the config")
MODE = flags.DEFINE_enum("mode", "train", list(MODES), "what to do, see above")
INPUT = flags.DEFINE_multi_string("input", [], "predict, adapt: a table or a file of the data set")
SMOOTHING = flags.DEFINE_string(
    "smoothing", "", "predict, stream, export of web: mean:N or majority:N of the last N windows"
)
FORMATS = flags.DEFINE_list("formats", ["jax"], "export: any of jax, onnx, tflite, tflite_int8, web")
PACKAGED = Path(configs.__path__[0])


def main(arguments: Sequence[str]) -> int:
    """Runs the mode that the flags name, with what the command line holds besides flags; returns the exit status."""
    logging.set_verbosity(logging.ERROR)  # hides warnings of orbax about intended settings
    try:
        check_flags(MODE.value, INPUT.value, SMOOTHING.value, FORMATS.value)
        if MODE.value in ("compare", "ensemble"):
            if CONFIG.value is not None:
                raise UserError(f"--mode={MODE.value} reads the configs of the runs and takes no --config")
            runs, workdir = [Path(run) for run in arguments[1:]], path_of(WORKDIR.value or f"runs/{MODE.value}")
            if MODE.value == "compare":
                from dcdp_jax.report.compare import write_comparison

                print(write_comparison(runs, workdir))
            else:
                from dcdp_jax.evaluate.ensemble import ensemble_lines, write_ensemble
                from dcdp_jax.runs.files import RESULT

                print(ensemble_lines(write_ensemble(runs, workdir)), workdir / RESULT, sep="\n")
            return 0
        if len(arguments) > 1:
            raise UserError(f"unexpected argument {arguments[1]!r}; fields are set as --config.field=value")
        if CONFIG.value is None:
            raise UserError("no config; for example --config=configs/demo.py")
        workdir = path_of(WORKDIR.value or default_workdir(config_flags.get_config_filename(flags.FLAGS["config"])))
        # Heavy imports wait until the command line is known to be sound.
        if "study" in CONFIG.value:
            if MODE.value != "train":
                raise UserError(f"--mode={MODE.value} needs the config of one run, and this is that of a study")
            from dcdp_jax.studies.study import study

            return study(CONFIG.value, workdir)
        from dcdp_jax.config import check_config
        from dcdp_jax.data.download import cache_folder

        check_config(CONFIG.value)
        cache = cache_folder(CONFIG.value.data.cache_dir)
        from dcdp_jax.distributed import is_first_process, join_processes, only_first_prints
        from dcdp_jax.evaluate.finished_run import evaluate_run
        from dcdp_jax.report.html import write_report
        from dcdp_jax.train.devices import keep_compiled_programs, make_cpu_devices
        from dcdp_jax.train.trainer import train

        keep_compiled_programs(cache)
        if MODE.value == "portability":
            make_cpu_devices(8)
        join_processes(CONFIG.value.parallel)
        modes: dict[str, Callable[[ConfigDict, Path], int | None]] = {
            "train": train,
            "evaluate": evaluate_run,
            "describe": describe,
            "predict": use_model,
            "stream": use_model,
            "adapt": use_model,
            "export": export_model,
            "portability": portability,
        }
        with only_first_prints():
            status = modes[MODE.value](CONFIG.value, workdir)
            if MODE.value in ("train", "evaluate") and is_first_process():
                print(write_report(workdir))
        return status or 0
    except UserError as error:
        return fail(str(error))
    except OSError as error:
        return fail(str(error) + (f" ({error.__cause__})" if error.__cause__ else ""))
    except RuntimeError as error:
        if "parallel" in CONFIG.value and CONFIG.value.parallel.distributed:  # a study has none
            error.add_note("If another process was lost, JAX names it below and ends this one.")
        raise
    except Terminated as ended:
        return fail(ended.message, ended.STATUS)
    except KeyboardInterrupt:
        resumes = "; the same command again resumes from the last finished epoch" if MODE.value == "train" else ""
        return fail(f"interrupted{resumes}", 128 + 2)


def check_flags(mode: str, paths: Sequence[str], smoothing: str, formats: Sequence[str]) -> None:
    """Raises UserError for flags that the mode does not read, or cannot do without."""
    if paths and mode not in ("predict", "adapt"):
        raise UserError(f"--input is for --mode=predict and --mode=adapt, and this is --mode={mode}")
    if smoothing and mode not in ("predict", "stream") and not (mode == "export" and "web" in formats):
        raise UserError(
            "--smoothing is for --mode=predict and --mode=stream, or --mode=export --formats=web; "
            f"this is --mode={mode}" + (f" --formats={','.join(formats)}" if mode == "export" else "")
        )
    if mode != "export" and list(formats) != FORMATS.default:
        raise UserError(f"--formats is for --mode=export, and this is --mode={mode}")
    if mode in ("predict", "adapt") and not paths:
        raise UserError(f"--mode={mode} needs --input=FILE, a table or a file of the data set; it may be repeated")
    stems = [Path(path).stem for path in paths]
    if mode == "predict" and (twice := [stem for stem in stems if stems.count(stem) > 1]):
        raise UserError(f"two inputs are named {twice[0]!r}, and would have one folder of predictions")
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise UserError(f"--input={twice[0]} is given twice")
    parse_smoothing(smoothing)


def check(config: ConfigDict, workdir: Path, ignore: tuple[str, ...] = ()) -> None:
    """Checks the config, and that the workdir is new or has a run of it, see `check_workdir`."""
    from dcdp_jax.config import as_plain_data, check_config
    from dcdp_jax.runs.workdir import check_workdir

    check_config(config)
    check_workdir(workdir, as_plain_data(config), ignore)


def describe(config: ConfigDict, workdir: Path) -> None:
    """Writes describe.html, a page about the data set of a config."""
    from dcdp_jax.data.dataset import build_dataset
    from dcdp_jax.data.summary import summarize
    from dcdp_jax.report.describe import description_lines, write_description
    from dcdp_jax.train.build import build_branches

    check(config, workdir)
    dataset = build_dataset(config.data)
    build_branches(config, dataset)  # raises ConfigError for branches with which training would fail
    summary = summarize(config.data, dataset)
    workdir.mkdir(parents=True, exist_ok=True)
    print(description_lines(summary))
    print(write_description(workdir, summary))


def use_model(config: ConfigDict, workdir: Path) -> None:
    """Predicts the activities of files, or of rows that arrive on standard input; or adapts a model to files."""
    from dcdp_jax.serve.live import stream
    from dcdp_jax.serve.personal import adapt_run
    from dcdp_jax.serve.predict import predict_files

    # `data.table` describes the tables to predict, which may differ from those that the model was trained on.
    check(config, workdir, ignore=("data.table.",))
    smoothing, inputs = parse_smoothing(SMOOTHING.value), [str(path_of(path)) for path in INPUT.value]
    if MODE.value == "predict":
        predict_files(config, workdir, inputs, smoothing)
    elif MODE.value == "adapt":
        adapt_run(config, workdir, inputs)
    else:
        stream(config, workdir, smoothing)


def export_model(config: ConfigDict, workdir: Path) -> None:
    """Exports the model of a finished run into the folder `export` of its workdir."""
    from dcdp_jax.serve.export import export_run

    check(config, workdir)
    export_run(config, workdir, FORMATS.value, parse_smoothing(SMOOTHING.value))


def portability(config: ConfigDict, workdir: Path) -> int:
    """Prints and writes portability.md; returns the exit status, 1 if any check failed."""
    from dcdp_jax.evaluate.portability import check_portability, portability_page
    from dcdp_jax.runs.files import PORTABILITY, write_atomically

    workdir.mkdir(parents=True, exist_ok=True)
    findings = check_portability(config)
    page = portability_page(findings)
    write_atomically(workdir / PORTABILITY, page)
    print(page)
    return 0 if findings.good else 1


def default_workdir(config_file: str) -> str:
    """Returns runs/X for configs/X.py, runs/X-Y for configs/X.py:Y and runs/studies/X for configs/studies/X.py."""
    path, _, argument = config_file.partition(":")
    parts = Path(path).with_suffix("").parts
    below = parts[len(parts) - parts[::-1].index("configs") :] if "configs" in parts else parts[-1:]
    return str(Path("runs", *below)) + (f"-{argument}" if argument else "")


def path_of(flag: str) -> Path:
    """Returns the path that a flag names; shells leave the `~` of `--workdir=~/runs` to the program."""
    return Path(flag).expanduser()


def fail(message: str, status: int = 2) -> int:
    """Prints one line and returns the exit status."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return status


def run() -> None:
    """Runs the command line of the process."""
    app.run(main, flags_parser=parse_flags)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line. One that cannot be parsed is answered with one line and exit status 2."""
    program, *rest = arguments
    for argument in rest:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name in ("help", "helpshort", "h"):
            print(help_text(value))
            sys.exit(0)
        if argument.startswith("-") and name == "version":
            print(__version__)
            sys.exit(0)
    given, others = split_config(rest)
    if len(given) > 1:
        sys.exit(fail(f"--config is given {len(given)} times: {', '.join(given)}"))
    configs = [find_config(config) for config in given]
    # config_flags looks for the config file in sys.argv, and wants it ahead of its fields.
    sys.argv = [program, *(f"--config={config}" for config in configs), *others]
    flags.FLAGS.set_gnu_getopt()  # flags may stand after the folders that --mode=compare takes
    try:
        left = flags.FLAGS(sys.argv)
    except Exception as error:
        known = (UserError, flags.Error, AttributeError, KeyError, ValueError, TypeError)
        line = line_of_config(error, [config.partition(":")[0] for config in configs])
        if not line and not isinstance(error, known):
            raise
        sys.exit(fail(line or innermost(error)))
    finally:
        sys.argv = arguments  # which result.json records
    if given and not isinstance(CONFIG.value, ConfigDict):
        sys.exit(fail(f"{given[-1]}: get_config() returned a {type(CONFIG.value).__name__}, expected a ConfigDict"))
    return left


def split_config(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits a command line into the values of --config, as `--config=demo` and `--config demo`, and the others.

    >>> split_config(["--workdir", "runs/a", "--config", "demo", "--config.seed=1"])
    (['demo'], ['--workdir', 'runs/a', '--config.seed=1'])
    """
    given, others, left = [], [], iter(arguments)
    for argument in left:
        name, equals, value = argument.lstrip("-").partition("=")
        if name != "config" or not argument.startswith("-"):
            others.append(argument)
            continue
        value = value if equals else next(left, "-")
        if value.startswith("-"):
            sys.exit(fail("--config has no value; for example --config=demo"))
        given.append(value)
    return given, others


def line_of_config(error: BaseException, configs: Sequence[str]) -> str:
    """Returns `FILE, line N: error` for an error in the code of a config file; '' for one elsewhere."""
    message = error.args[0] if error.args and isinstance(error.args[0], str) else ""
    if "Traceback (" not in message:  # which config_flags puts into the messages of errors that absl catches
        message = "".join(traceback.format_exception(error))
    places = [place for place in re.findall(r'File "(.+)", line (\d+)', message) if place[0] in configs]
    last = message.strip().splitlines()[-1]
    if places:
        return f"{places[-1][0]}, line {places[-1][1]}: {last}"
    own = re.search(r"get_config\(\) (takes|missing)|has no attribute 'get_config'", last)
    return f"{configs[-1]}: {last}" if configs and own else ""


def find_config(given: str) -> str:
    """Returns the path of a config, with its argument: `given` if that is a file, else the packaged config so named."""
    path, colon, argument = given.partition(":")
    if not Path(path).is_file():
        if path not in packaged_configs():
            names = "" if Path(path).suffix == ".py" else f"; the packaged ones are {', '.join(packaged_configs())}"
            sys.exit(fail(f"{path}: no such config file{names}"))
        path = str(PACKAGED / f"{path}.py")
    return path + colon + argument


def packaged_configs() -> list[str]:
    """Returns the names of the configs that come with the package: demo, uci_har, ..., studies/table2, ..."""
    names = [path.relative_to(PACKAGED).with_suffix("").as_posix() for path in PACKAGED.rglob("*.py")]
    return sorted(name for name in names if not name.endswith(("__init__", "default")))


def innermost(error: BaseException) -> str:
    """Returns the message of an error, or of the error that it wraps. A KeyError is one of a missing config field."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    message = str(error.args[0] if error.args else error)
    if isinstance(error, KeyError) and message.startswith("'"):
        return f"the config has no field {message}".replace("\n", ". ")
    return re.sub(r"\('Non-boolean argument to boolean flag', .*\)", "expected True or False", message)


def help_text(section: str = "") -> str:
    """Returns what --help prints, or for --help=SECTION the config fields of a section with their meaning.

    >>> print(help_text("loss").splitlines()[0])
    loss.align_weight=0.7
    """
    every = (*FIELDS, *STUDY_FIELDS)
    if section:
        chosen = [field for field in every if field.name.startswith(f"{section}.") or field.name == section]
        if not chosen:
            sys.exit(fail(f"--help={section}: no such section or field; the sections are {', '.join(SECTIONS)[2:]}"))
        return "\n".join(
            f"{field.name}={field.default!r}\n"
            + textwrap.indent(textwrap.fill(f"{field.doc} [{allowed(field)}]", 100), "    ")
            for field in chosen
        )
    here = flags.FLAGS.flags_by_module_dict()[__name__]
    indented = functools.partial(
        textwrap.wrap, width=100, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )
    lines = ["usage: dcdp-jax --config=CONFIG [--workdir=DIR] [--mode=MODE] [--config.FIELD=VALUE ...]"]
    lines += ["   or: python launch.py with the same flags, from a checkout", "", "modes:"]
    lines += [f"  {name:<12} {line}" for name, line in MODES.items()]
    lines += ["", "flags:", *(f"  --{flag.name:<10} {' '.join(flag.help.split())}" for flag in here)]
    lines += ["", "packaged configs:", *indented(" ".join(packaged_configs())), "", "config fields, by section:"]
    for name in SECTIONS:
        lines += indented(" ".join(field.name for field in every if field.name.rpartition(".")[0] == name))
    lines += ["", "--help=SECTION or --help=FIELD prints defaults, allowed values and meaning, as docs/config.md does."]
    return "\n".join(lines)
