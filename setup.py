"""Installs the project into `.venv` beside this file. Standard library only; safe to run again, goes on after an interruption.

    python setup.py                  install, or complete an interrupted installation
    python setup.py repair           put back what is missing or broken
    python setup.py extras NAME ...  optional parts: optimizers, lycoris, logging, pictures
    python setup.py test [ARGS]      install what the tests need and run them all (ARGS go to pytest)

    --torch cpu|cu126|cu128|cu130|rocm|xpu|default   the torch build, instead of the one that fits this machine

Exit codes: 0 done, 1 a step failed (the log is named), 2 this machine lacks something (said in one line).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from installer.torch_build import BUILDS, TORCH, Choice, SetupError, choose_torch, index_of

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
STATE = VENV / ".state.json"
LOG = VENV / "install.log"
PYTHONS = ((3, 11), (3, 13))
EXTRAS = {
    "optimizers": ["-r", "requirements-optim.txt"],
    "lycoris": ["-r", "requirements-lycoris.txt"],
    "pictures": ["-r", "requirements-pictures.txt"],
    "logging": ["-r", "requirements-logging.txt"],
}


def venv_python() -> Path:
    """The environment's interpreter, there or not."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_installed() -> bool:
    """Whether the environment is complete for the requirements as they are now."""
    return venv_python().exists() and _state().get("requirements") == _fingerprint()


# ---------------------------------------------------------------- installing


def install(build: str | None = None) -> None:
    """Make the environment complete. Steps that are done are skipped, so it goes on where it was interrupted.

    Raises:
        SetupError: something is missing on this machine, or a step failed.
    """
    _check_python()
    state = _state()
    steps = state.setdefault("steps", {})
    if not venv_python().exists():
        steps.clear()
        with _step("environment .venv"):
            _make_venv()
    _install_torch(build, steps)
    wanted = _fingerprint()
    if steps.get("requirements") != wanted:
        with _step("requirements.txt"):
            _pip("-r", "requirements.txt", "-c", str(_constraints()))
            _pip("--no-deps", "-r", "requirements-data.txt")
            _pip("--no-deps", "-e", str(ROOT))
        _record(steps, "requirements", wanted)
    with _step("checking: import, device, one training step"):
        facts = verify()
    print(f"      {facts}")
    state["requirements"] = wanted
    _write_state(state)


def _install_torch(build: str | None, steps: dict[str, str]) -> None:
    recorded = steps.get("torch", "")
    if recorded.startswith(f"{TORCH} ") and (build is None or recorded == f"{TORCH} {build}"):
        return
    choice = Choice(build, "asked for with --torch") if build else choose_torch()
    index = index_of(choice.build)
    print(f"      torch build: {choice.build} ({choice.why})")
    if index is None and choice.build not in ("cpu", "default"):
        print(f"      its package index does not answer: taking torch {TORCH} from the default registry instead")
    with _step(f"torch {TORCH}"):
        source = ["--index-url", index, "--extra-index-url", "https://pypi.org/simple"] if index else []
        _pip(f"torch=={TORCH}", *source)
    _record(steps, "torch", f"{TORCH} {choice.build}")


def _check_python() -> None:
    low, high = PYTHONS
    here = sys.version_info[:2]
    if not low <= here <= high:
        raise SetupError(
            f"Python {here[0]}.{here[1]} runs this, but 3.{low[1]} to 3.{high[1]} are supported. Install one of them and start again with it."
        )


def _make_venv() -> None:
    done = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        hint = f"sudo apt install python3.{sys.version_info[1]}-venv" if "ensurepip" in done.stdout + done.stderr else "reinstall Python with venv"
        raise SetupError(f"Python cannot make a virtual environment here. Try: {hint}")


def _constraints() -> Path:
    path = VENV / "constraints.txt"
    path.write_text(f"torch=={TORCH}\n", "utf-8")
    return path


def _pip(*words: str) -> None:
    """Install into the environment, by uv if there is one (a few times faster), else by pip. Output goes to the log.

    Raises:
        SetupError: the installer failed; the message ends with its last words.
    """
    uv = _uv()
    command = [uv, "pip", "install", "--python", str(venv_python())] if uv else [str(venv_python()), "-m", "pip", "install"]
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join([*command, *words])}\n")
        log.flush()
        done = subprocess.run([*command, *words], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=_installer_environment(), check=False)
    if done.returncode:
        tail = [line for line in LOG.read_text("utf-8", errors="replace").splitlines() if line.strip()][-6:]
        raise SetupError("The installer failed. Its last words:\n    " + "\n    ".join(tail) + f"\n  The whole log: {LOG}", code=1)


def _uv() -> str | None:
    found = shutil.which("uv")
    inside = venv_python().with_name("uv.exe" if os.name == "nt" else "uv")
    if found or inside.exists():
        return found or str(inside)
    with LOG.open("a", encoding="utf-8") as log:
        command = [str(venv_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    return str(inside) if done.returncode == 0 and inside.exists() else None


def _installer_environment() -> dict[str, str]:
    """uv does not read pip's configuration: hand over its local package folders, so both find the same files."""
    environment = dict(os.environ)
    if "UV_FIND_LINKS" not in environment:
        done = subprocess.run([str(venv_python()), "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True, check=False)
        links = environment.get("PIP_FIND_LINKS") or done.stdout.strip()
        if links:
            environment["UV_FIND_LINKS"] = ",".join(links.split())
    return environment


VERIFY = """
import json, sys, torch, gradio, diffusers, transformers, accelerate, kohya_gui, sd_scripts
if torch.cuda.is_available(): device = "cuda"
elif getattr(torch, "xpu", None) and torch.xpu.is_available(): device = "xpu"
elif torch.backends.mps.is_available(): device = "mps"
else: device = "cpu"
model = torch.nn.Linear(8, 8).to(device)
optimizer = torch.optim.AdamW(model.parameters())
before = model.weight.detach().clone()
model(torch.ones(2, 8, device=device)).pow(2).mean().backward()
optimizer.step()
assert not torch.equal(before, model.weight), "the training step changed nothing"
name = torch.cuda.get_device_name(0) if device == "cuda" else device
print(json.dumps({"torch": torch.__version__, "gradio": gradio.__version__, "device": name}))
"""


def verify() -> str:
    """Import what matters, see the device, train one tiny step in the environment; returns a line about it.

    Raises:
        SetupError: it fails; the message has the last line of the reason.
    """
    done = subprocess.run([str(venv_python()), "-c", VERIFY], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(f"The installation does not work: {reason}. Run: python setup.py repair", code=1)
    facts = json.loads(done.stdout.splitlines()[-1])
    return f"torch {facts['torch']}, gradio {facts['gradio']}, training device: {facts['device']}"


def repair(build: str | None) -> None:
    """Forget what is recorded as done and install again: what is fine is only checked, what is missing or broken is put back."""
    STATE.unlink(missing_ok=True)
    if venv_python().exists() and subprocess.run([str(venv_python()), "-c", "import pip"], capture_output=True, check=False).returncode:
        print("      the environment itself is broken: making it anew")
        shutil.rmtree(VENV)
    try:
        install(build)
    except SetupError:
        print("      that was not enough: making the environment anew")
        shutil.rmtree(VENV, ignore_errors=True)
        install(build)


def extras(names: Sequence[str]) -> None:
    """Install optional parts.

    Raises:
        SetupError: a name is unknown, or its installation failed.
    """
    for name in names:
        if name not in EXTRAS:
            raise SetupError(f'"{name}" is no optional part. There are: {", ".join(EXTRAS)}.')
    install()
    for name in names:
        with _step(f"extra: {name}"):
            _pip(*EXTRAS[name], "-c", str(_constraints()))


# ---------------------------------------------------------------- testing


def test(words: Sequence[str]) -> int:
    """Install what the tests need, then lint, check types and run the whole suite; returns the exit code."""
    install()
    state = _state()
    wanted = _digest("requirements-dev.txt", *(f"requirements-{part}.txt" for part in ("optim", "lycoris", "logging", "pictures")))
    if state["steps"].get("dev") != wanted:
        with _step("requirements-dev.txt"):
            _pip("-r", "requirements-dev.txt", "-c", str(_constraints()))
        _record(state["steps"], "dev", wanted)
        _write_state({**state, "requirements": _fingerprint()})
    _browser()
    python = str(venv_python())
    if not words:
        for name, command in (("lint", ["-m", "ruff", "check", "."]), ("types", ["-m", "ty", "check"])):
            print(f"  {name}", flush=True)
            if subprocess.run([python, *command], cwd=ROOT, check=False).returncode:
                return 1
    # Two workers on two cores: more threads in each would wait for one another, a hundred times slower.
    environment = os.environ if words else {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [python, "-m", "pytest", *(words or ["-n", "2", "--dist", "loadgroup"])]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def _browser() -> None:
    """A real browser for the end-to-end tests, from the system's package manager where it has one."""
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome")):
        return
    if shutil.which("apt-get") and os.name == "posix" and os.geteuid() == 0:
        with _step("browser for the tests (chromium)"):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for words in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
                subprocess.run(["apt-get", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    if not shutil.which("chromium"):
        print("  no browser found: the browser tests fail until there is one, for example: sudo apt install chromium")


# ---------------------------------------------------------------- state, progress, command line


def _digest(*names: str) -> str:
    text = "\n".join((ROOT / name).read_text("utf-8") for name in names)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fingerprint() -> str:
    """Changes with the requirements, the torch pin and the place: an environment that was moved is made complete again."""
    place = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]
    return f"{_digest('requirements.txt', 'requirements-data.txt', 'pyproject.toml')} torch {TORCH} at {place}"


def _state() -> dict:
    try:
        return json.loads(STATE.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _write_state(state: dict) -> None:
    fresh = STATE.with_suffix(".part")
    fresh.write_text(json.dumps(state, indent=1), "utf-8")
    fresh.replace(STATE)


def _record(steps: dict[str, str], name: str, value: str) -> None:
    steps[name] = value
    _write_state({"steps": steps})


@contextmanager
def _step(name: str) -> Generator[None]:
    started = time.monotonic()
    print(f"  {name} ...", flush=True)
    yield
    print(f"      done in {time.monotonic() - started:.0f} s", flush=True)


def main(argv: Sequence[str]) -> int:
    """Run one verb; returns the exit code."""
    parser = argparse.ArgumentParser(prog="setup.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", nargs="?", default="install", choices=("install", "repair", "extras", "test"))
    parser.add_argument("--torch", choices=BUILDS, dest="build", help="the torch build to install")
    options, words = parser.parse_known_args(argv)
    if words and options.verb not in ("extras", "test"):
        parser.error(f"unknown words: {' '.join(words)}")
    print(f"Setting up in {VENV}", flush=True)
    try:
        if options.verb == "test":
            return test(words)
        if options.verb == "extras":
            extras(words)
        else:
            (repair if options.verb == "repair" else install)(options.build)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("\nsetup: interrupted. Run it again: it goes on where it stopped.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
