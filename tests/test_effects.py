"""Every option of every script does something: changed alone, it changes the plan, the data, the loss, the weights, a file or the launch command, or
it is refused with a reason. Where each shows stands in effect_rows.py; an option that is in no list fails here.

Each is tried with one of the scripts that take it, by turns; `-m large` tries each with all of them.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from effect_rows import EXEMPT, ROWS, UNSET, Row
from effect_runs import Seen, look
from effect_stock import Stock

from kohya_gui.jobs.devices import Machine
from kohya_gui.jobs.launch import launch_argv
from sd_scripts.params.check import check
from sd_scripts.params.commands import COMMANDS, Command, command
from sd_scripts.params.config import make_config
from sd_scripts.params.rules.run import ALWAYS_SO
from sd_scripts.params.spec import Parameter

PAIRS = [(row, parameter) for row in COMMANDS for parameter in row.parameters]
LAUNCH: dict[str, object] = {
    "num_processes": 2, "gpu_ids": "0,1", "main_process_port": 29500, "num_cpu_threads_per_process": 3, "extra_accelerate_launch_args": "--debug",
    "num_machines": 2, "machine_rank": 1, "main_process_ip": "10.0.0.1",
    "dynamo_mode": "max-autotune", "dynamo_use_fullgraph": True, "dynamo_use_dynamic": True,
}  # fmt: skip


def kind_of(row: Command, parameter: Parameter) -> str:
    """How the option is proven: by what list or hint."""
    if parameter.hints.unavailable:
        return "refused"
    if parameter.hints.settled:
        return "settled"
    return "launched" if row.section(parameter.name).sink == "launcher" else "trained"


def named(kind: str) -> list[object]:
    """The (script, option) pairs of one kind."""
    pairs = [(row.script, parameter.name) for row, parameter in PAIRS if kind_of(row, parameter) == kind and parameter.name not in EXEMPT]
    return [pytest.param(*pair, id=f"{pair[1]}-{pair[0]}") for pair in pairs]


def by_turns() -> list[object]:
    """Each option that shows in a training, with one of its scripts, or with all of them where time does not matter."""
    scripts: dict[str, list[str]] = {}
    section_of = {parameter.name: parameter.section for _, parameter in PAIRS}  # what belongs together shares trainings
    for row, parameter in PAIRS:
        if kind_of(row, parameter) == "trained" and parameter.name not in EXEMPT:
            scripts.setdefault(parameter.name, []).append(row.script)
    cases = []
    for name, taking in scripts.items():
        chosen = taking[zlib.crc32(section_of[name].encode()) % len(taking)]
        cases += [
            pytest.param(script, name, id=f"{name}-{script}", marks=() if script == chosen else (pytest.mark.slow, pytest.mark.large))
            for script in taking
        ]
    return cases


def other_value(parameter: Parameter) -> object:
    """A value that is not the default, by the option's type."""
    if parameter.kind == "bool":
        return not parameter.default
    if parameter.kind == "choice":
        return next(choice for choice in parameter.choices if choice != parameter.default)
    if parameter.kind in ("int", "float", "number"):
        number = (parameter.default or 0) + 1
        return (number,) if parameter.many else number
    return ("word",) if parameter.many else "word"


@dataclass
class Bench:
    """Trainings that tests of this file share."""

    folder: Path
    stocks: dict[str, Stock] = field(default_factory=dict)
    looked: dict[object, Seen] = field(default_factory=dict)

    def stock(self, script: str) -> Stock:
        """The files for one script."""
        if script not in self.stocks:
            (self.folder / "models").mkdir(exist_ok=True)
            self.stocks[script] = Stock(self.folder / f"stock-{script}", self.folder / "models", script)
        return self.stocks[script]

    def seen(self, script: str, given: Mapping[str, object]) -> Seen:
        """The training with `given`, done once."""
        key = (script, repr(sorted(given.items(), key=str)))
        if key not in self.looked:
            self.looked[key] = look(script, self.folder / f"run{len(self.looked)}", self.folder / "models", given)
        return self.looked[key]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("effects"))


def resolved(value: object, stock: Stock) -> object:
    """A row's value: functions make theirs from the stock."""
    return value(stock) if isinstance(value, Callable) else value  # type: ignore[arg-type]


def test_every_option_is_in_one_list() -> None:
    trained = {parameter.name for row, parameter in PAIRS if kind_of(row, parameter) == "trained"}
    launched = {parameter.name for row, parameter in PAIRS if kind_of(row, parameter) == "launched"}
    assert trained - EXEMPT.keys() == ROWS.keys()
    assert trained >= EXEMPT.keys() and not EXEMPT.keys() & ROWS.keys()
    assert launched - {"multi_gpu"} == LAUNCH.keys()


@pytest.mark.parametrize("name", EXEMPT)
def test_an_option_without_a_row_has_its_proof_in_the_test_that_is_named(name: str) -> None:
    (file,) = re.findall(r"[\w/]*test_\w+\.py", EXEMPT[name])
    (path,) = Path(__file__).parent.rglob(file)
    assert re.search(rf"\b{name}\b", path.read_text("utf-8"))


@pytest.mark.parametrize(("script", "name"), by_turns())
def test_it_shows_in_a_training(bench: Bench, script: str, name: str) -> None:
    row, parameter, stock = command(script), command(script).parameter(name), bench.stock(script)
    proof: Row = ROWS[name]
    given = {other: resolved(value, stock) for other, value in proof.given.items() if other in row.by_name}
    value = other_value(parameter) if proof.value is UNSET else resolved(proof.value, stock)
    changed, without = bench.seen(script, {**given, name: value}), bench.seen(script, given)
    if {row.family, row.method} & {*proof.idle}:
        assert f"--{name}" in changed.said and f"--{name}" not in without.said
        return
    assert getattr(changed, proof.shows) != getattr(without, proof.shows), changed.said
    assert (without.code, changed.code) == proof.codes, without.said + changed.said


@pytest.mark.parametrize(("script", "name"), named("refused"))
def test_it_is_refused_with_a_reason(script: str, name: str) -> None:
    parameter = command(script).parameter(name)
    problems = [problem for problem in check(make_config(command(script), {name: other_value(parameter)})) if problem.field == name]
    assert problems and problems[0].severity == "error"
    assert str(parameter.hints.unavailable) in problems[0].message


@pytest.mark.parametrize(("script", "name"), named("settled"))
def test_what_is_settled_is_said(script: str, name: str) -> None:
    parameter = command(script).parameter(name)
    problems = [problem for problem in check(make_config(command(script), {name: other_value(parameter)})) if problem.field == name]
    assert [problem.message for problem in problems] == ([] if name in ALWAYS_SO else [parameter.hints.settled])


@pytest.mark.parametrize(("script", "name"), named("launched"))
def test_it_reaches_the_launcher(script: str, name: str) -> None:
    row, machine = command(script), Machine("cuda")
    compiled = {key: {"torch_compile": True} for key in ("dynamo_mode", "dynamo_use_fullgraph", "dynamo_use_dynamic")}
    several = {key: {"num_machines": 2} for key in ("machine_rank", "main_process_ip")}
    plain: dict[str, object] = {"gpu_ids": {"num_processes": 2}, **compiled, **several}.get(name, {})
    value = LAUNCH.get(name, True)
    without, changed = (launch_argv(make_config(row, given), Path("c.toml"), machine) for given in (plain, {**plain, name: value}))
    assert changed != without
    assert f"--{name}" in changed or str(value) in changed
