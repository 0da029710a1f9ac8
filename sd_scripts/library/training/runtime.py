"""The machine side of a run: processes, device, number formats, and what the processes tell each other. It knows nothing of models."""

from __future__ import annotations

import datetime
import random
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import KwargsHandler
from torch import Tensor, nn

from sd_scripts.params.config import Config
from sd_scripts.params.distributed import Distributed
from sd_scripts.params.memory import Precision
from sd_scripts.survey.randomness import seed_for

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
MESSAGE_NUMBERS = 1 << 26
"""How many gradients of 32 bits travel at once: 256 MiB."""
SAVE_DTYPES = {None: None, "float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class HalfScaler(torch.amp.GradScaler):
    """torch's scaler of losses, which also takes gradients that are fp16 themselves: they are what `full_fp16` asks for."""

    def _unscale_grads_(self, optimizer: Any, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool) -> dict[torch.device, Tensor]:  # torch's own
        return super()._unscale_grads_(optimizer, inv_scale, found_inf, True)


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where this process runs: its `rank` among `processes`, its `device`, the dtype of frozen weights, the loss scaler (fp16 alone).

    `patience` is how long processes wait for each other; None: as long as torch has it.
    """

    accelerator: Accelerator
    device: torch.device
    weight_dtype: torch.dtype
    rank: int
    processes: int
    scaler: torch.amp.GradScaler | None
    patience: datetime.timedelta | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process reports and saves."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which the model computes: mixed precision where it is on."""
        return torch.autocast(self.device.type, dtype=self.weight_dtype, enabled=self.weight_dtype != torch.float32)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.processes > 1:
            self.accelerator.wait_for_everyone()

    def agreed(self, value: Any) -> Any:
        """The main process's value, on all of them."""
        if self.processes == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def gathered(self, value: Any) -> list[Any]:
        """Every process's value, on all of them. Goes through main memory, whatever the device."""
        if self.processes == 1:
            return [value]
        group = self.group_in_memory()
        values: list[Any] = [None] * self.processes
        dist.all_gather_object(values, value, group=group)
        dist.destroy_process_group(group)
        return values

    def group_in_memory(self) -> Any:
        """A group of all processes that talk through main memory. It would wait as long as torch likes unless it is told."""
        return dist.new_group(backend="gloo", timeout=self.patience)

    def summed(self, numbers: Tensor) -> Tensor:
        """`numbers` added up over all processes, on all of them."""
        if self.processes > 1:
            numbers = numbers.clone()
            dist.all_reduce(numbers)
        return numbers

    def sum_gradients(self, parameters: Sequence[nn.Parameter], extra: Tensor) -> Tensor:
        """Add up gradients over all processes in float32, and `extra` (1-d, float32) with them; returns its sum.

        An adapter's gradients fit one message; those of a whole model go in several, so that no second copy of them all is needed.
        A parameter without a gradient here may have one elsewhere, so it counts as 0.
        """
        if self.processes == 1 or not parameters:
            return self.summed(extra)
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        sums = extra.to(self.device)
        for number, grads in enumerate(_messages([parameter.grad for parameter in parameters if parameter.grad is not None])):
            first = [] if number else [sums]
            flat = torch.cat([*first, *(grad.flatten().float() for grad in grads)])
            dist.all_reduce(flat)
            if first:
                sums, flat = flat[: extra.numel()], flat[extra.numel() :]
            places = flat.split([grad.numel() for grad in grads])
            torch._foreach_copy_(grads, [place.view_as(grad) for place, grad in zip(places, grads, strict=True)])
        return sums

    def seed_model(self, seed: int, *, epoch: int, step: int, micro_step: int) -> None:
        """Seed the generators that layers draw from (dropout): by position, so that nothing drawn before matters."""
        number = seed_for(seed, "model", epoch=epoch, step=step, index=micro_step * self.processes + self.rank)
        # Not torch.manual_seed: on a machine without an accelerator it remembers each call for every kind of accelerator, for ever.
        torch.default_generator.manual_seed(number)
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(number)

    def close(self) -> None:
        """Leave the process group. Without it two-process runs now and then end with SIGABRT after all work is done."""
        self.accelerator.end_training()


def _messages(grads: Sequence[Tensor]) -> Generator[list[Tensor]]:
    """Gradients in their order, cut where a message would hold more than `MESSAGE_NUMBERS`. At least one message, be it empty."""
    message: list[Tensor] = []
    size = 0
    for grad in grads:
        if message and size + grad.numel() > MESSAGE_NUMBERS:
            yield message
            message, size = [], 0
        message.append(grad)
        size += grad.numel()
    yield message


def start_runtime(config: Config) -> Runtime:
    """Join the other processes and find the device."""
    minutes = config[Distributed].ddp_timeout
    patience = datetime.timedelta(minutes=minutes) if minutes else None
    handlers: list[KwargsHandler] = [InitProcessGroupKwargs(timeout=patience)] if patience else []
    precision = config[Precision].mixed_precision
    # accelerate refuses fp16 without a GPU, and nothing here is `prepare`d: mixed precision and the loss scaler are our own.
    accelerator = Accelerator(mixed_precision="no", kwargs_handlers=handlers)
    device = accelerator.device
    scaler = HalfScaler(device.type) if precision == "fp16" else None
    return Runtime(accelerator, device, DTYPES[precision], accelerator.process_index, accelerator.num_processes, scaler, patience)


@contextmanager
def borrowed(parts: Sequence[nn.Module], device: torch.device) -> Generator[None]:
    """Within it `parts` are on `device`; afterwards each is where it was."""
    places = [(part, next(part.parameters()).device) for part in parts]
    try:
        for part, _ in places:
            part.to(device)
        yield
    finally:
        for part, place in places:
            part.to(place)


def seed_everything(seed: int) -> None:
    """Seed what other people's code may draw from. Our own draws come from `survey.randomness`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class LateNumber:
    """A number on its way from the device: asked for now, read a step later, so that the accelerator need not be waited for."""

    def __init__(self, numbers: Tensor) -> None:
        """Begin to copy `numbers`, a 1-d tensor."""
        self._ready: torch.cuda.Event | None = None
        if numbers.device.type != "cuda":
            self._numbers = numbers.detach().to("cpu", copy=True)
            return
        self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
        self._numbers.copy_(numbers.detach(), non_blocking=True)
        self._ready = torch.cuda.Event()
        self._ready.record()

    def read(self) -> list[float]:
        """The numbers, waiting only for what had been asked of the device before them."""
        if self._ready is not None:
            self._ready.synchronize()
        return self._numbers.tolist()
