"""Options of accelerate's launcher: they reach `accelerate launch`, not the trainer."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.reasons import FOR_COMPILE, NOT_YET
from sd_scripts.params.spec import param, section


@section("Launch", sink="launcher")
class Launcher:
    """How the training process is started. `mixed_precision` goes to launcher and trainer alike and is declared in Precision."""

    num_processes: int = param(1, "Processes that train together, one per GPU. The batch size counts for each.", label="Processes", min=1, step=1)
    num_machines: int = param(
        1,
        "Machines that train together.",
        label="Machines",
        min=1,
        step=1,
        unavailable=f"{NOT_YET}: training on several machines comes with a later version.",
    )
    multi_gpu: bool = param(False, "Train on several GPUs. On with more than one process anyway.", label="Several GPUs")
    gpu_ids: str | None = param(None, 'Which GPUs to use, such as "0" or "0,1". Empty: all.', label="GPU numbers")
    main_process_port: int = param(0, "Port by which the processes find each other. 0: a free one.", label="Port", min=0, max=65535, step=1)
    num_cpu_threads_per_process: int = param(
        2, "CPU threads for computing in each process. Matters when training without a GPU.", label="CPU threads", min=1, step=1
    )
    dynamo_mode: Literal["default", "reduce-overhead", "max-autotune"] = param(
        "default", "How hard the compiler tries.", label="Compiler mode", unavailable=FOR_COMPILE
    )
    dynamo_use_fullgraph: bool = param(False, "Compile the model as one graph.", label="Compile as one graph", unavailable=FOR_COMPILE)
    dynamo_use_dynamic: bool = param(False, "Compile for changing sizes.", label="Compile for changing sizes", unavailable=FOR_COMPILE)
    extra_accelerate_launch_args: str | None = param(
        None, "Further words for accelerate's launcher, as on its command line.", label="Further launcher options"
    )
