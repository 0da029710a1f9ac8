"""Options of accelerate's launcher: they reach `accelerate launch`, not the trainer."""

from __future__ import annotations

from typing import Literal

from sd_scripts.params.spec import param, section


@section("Launch", sink="launcher")
class Launcher:
    """How the training process is started. `mixed_precision` goes to launcher and trainer alike and is declared in Precision."""

    num_processes: int = param(
        1, "Processes that train together, one per GPU, of all machines. The batch size counts for each.", label="Processes", min=1, step=1
    )
    num_machines: int = param(
        1,
        "Machines that train together. Each is started with the same settings, but for its own number.",
        label="Machines",
        min=1,
        step=1,
    )
    machine_rank: int = param(
        0, "Number of this machine, from 0. Number 0 saves and reports.", label="Number of this machine", min=0, step=1, own=True
    )
    main_process_ip: str | None = param(None, "Address of machine number 0, as the others reach it.", label="Address of the first machine", own=True)
    multi_gpu: bool = param(False, "Train on several GPUs. On with more than one process anyway.", label="Several GPUs")
    gpu_ids: str | None = param(None, 'Which GPUs to use, such as "0" or "0,1". Empty: all.', label="GPU numbers")
    main_process_port: int = param(0, "Port by which the processes find each other. 0: a free one.", label="Port", min=0, max=65535, step=1)
    num_cpu_threads_per_process: int = param(
        2,
        "CPU threads for computing in each process. Not set: what OMP_NUM_THREADS says, else 2, or all cores where there is no GPU.",
        label="CPU threads",
        min=1,
        step=1,
    )
    dynamo_mode: Literal["default", "reduce-overhead", "max-autotune"] = param(
        "default", "How hard the compiler tries: what takes longer at the start may run faster.", label="Compiler mode", when={"torch_compile": True}
    )
    dynamo_use_fullgraph: bool = param(
        False,
        "Refuse to compile a block in pieces. Random dropouts of adapters need pieces.",
        label="Compile as one graph",
        when={"torch_compile": True},
    )
    dynamo_use_dynamic: bool = param(
        False, "Compile for all sizes at once: for many buckets. A little slower.", label="Compile for changing sizes", when={"torch_compile": True}
    )
    extra_accelerate_launch_args: str | None = param(
        None, "Further words for accelerate's launcher, as on its command line.", label="Further launcher options"
    )
