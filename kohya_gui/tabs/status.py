"""What the top bar says on every page: the device and the running job. A fragment of HTML that the frame's script asks for."""

from __future__ import annotations

import psutil

from kohya_gui.jobs.devices import Machine, gpu_use
from kohya_gui.jobs.runs import active_run
from kohya_gui.markup import Markup, join, tag
from kohya_gui.tabs.desk import Desk
from kohya_gui.tabs.run_parts import PHASES
from kohya_gui.tabs.shell import state_badge
from kohya_gui.text import duration, say, size


def status_line(desk: Desk) -> Markup:
    """Device on the left, the running job with its progress as a link on the right."""
    return join(tag("span", device_words(desk.executor.machine), class_="device num"), _job(desk))


def device_words(machine: Machine) -> str:
    """The device with its free memory."""
    cards = gpu_use() if machine.kind == "cuda" else ()
    if cards:
        free = [(card.name, size(card.total_bytes - card.used_bytes), size(card.total_bytes)) for card in cards]
        return " · ".join(say("{card}: {free} of {total} free", card=name, free=left, total=total) for name, left, total in free)
    memory = psutil.virtual_memory()
    names = ", ".join(device.name for device in machine.devices) or say("CPU")
    return say("{names} · {free} of {total} memory free", names=names, free=size(memory.available), total=size(memory.total))


def _job(desk: Desk) -> Markup | None:
    run = active_run(desk.settings.runs_dir)
    if run is None:
        return None
    view = desk.views.of(run.path)
    words = [
        f"{view.fraction:.0%}" if view.total else say(PHASES.get(view.phase, view.phase)),
        duration(view.eta_s) if view.eta_s is not None else "",
    ]
    label = " · ".join(word for word in words if word)
    return tag(
        "a",
        state_badge(run.status.state),
        tag("span", run.name),
        tag("span", label, class_="num soft") if label else None,
        href=f"{desk.options.root_path}/run?id={run.id}",
        class_="job",
    )
