"""What is trained, how, and at what cost."""

from __future__ import annotations

from kohya_gui.form.section import FormSection
from kohya_gui.markup import Markup, tag
from kohya_gui.text import plural, say
from sd_scripts.params.averaging import Averaging
from sd_scripts.params.cache import Cache, Loader
from sd_scripts.params.config import Config
from sd_scripts.params.distributed import Distributed
from sd_scripts.params.families import FAMILIES
from sd_scripts.params.finetune import BlockRates, DreamBoothText, FineTuneText, GroupedUpdate, OldAttention, TwoTexts
from sd_scripts.params.launcher import Launcher
from sd_scripts.params.loss import Loss, SNRWeight
from sd_scripts.params.lycoris import LycorisArgs
from sd_scripts.params.memory import Attention, Compile, FrozenPrecision, Memory, Precision
from sd_scripts.params.network import AdapterArgs, LoRAArgs, Network
from sd_scripts.params.noise import NoiseDDPM, Timesteps
from sd_scripts.params.optimizer import Optimizer
from sd_scripts.params.preservation import OutputPreservation
from sd_scripts.params.rates import text_rates
from sd_scripts.params.schedule import LRSchedule
from sd_scripts.params.text_cache import TextCache
from sd_scripts.params.training import Training
from sd_scripts.params.validation import Validation
from sd_scripts.params.word import LearntWord, PivotalTuning, TextualInversion


class LoRA(FormSection):
    """The adapter."""

    title = "LoRA"
    parts = (Network, LoRAArgs, AdapterArgs, LycorisArgs)

    def summary(self, config: Config) -> str:
        """Rank, alpha and the convolution layers."""
        network, blocks = config[Network], config[LoRAArgs]
        rank = say("rank from file") if network.dim_from_weights else say("rank {rank}", rank=network.network_dim or 4)
        words = [rank, say("alpha {alpha}", alpha=f"{network.network_alpha:g}"), say("conv {rank}", rank=blocks.conv_dim) if blocks.conv_dim else ""]
        words += [say("U-Net only") if network.network_train_unet_only else ""]
        words += [say("text encoder only") if network.network_train_text_encoder_only else ""]
        return " · ".join(word for word in words if word)

    def after(self) -> Markup:
        """The blocks as a picture, drawn when it is opened."""
        head = tag("summary", tag("span", say("Numbers by block, as a picture"), class_="title"))
        return tag("details", head, tag("div", id="blocks-picture"), id="blocks", class_="adv inner")


class WholeModel(FormSection):
    """What of the model itself is trained, where there is no adapter."""

    title = "Parts of the model"
    parts = (DreamBoothText, FineTuneText, TwoTexts, BlockRates, GroupedUpdate)

    def summary(self, config: Config) -> str:
        """Which text encoders learn."""
        rates = text_rates(config, FAMILIES[config.command.family].text_encoders)
        learning = sum(bool(rate) for rate in rates)
        if learning and len(rates) == 1:
            return say("U-Net and text encoder")
        return say("U-Net and {encoders}", encoders=plural(learning, "text encoder")) if learning else say("U-Net")


class NewWord(FormSection):
    """A word that is learnt, alone or along with an adapter."""

    title = "New word"
    parts = (LearntWord, TextualInversion, PivotalTuning)

    def summary(self, config: Config) -> str:
        """The word and its size."""
        word = config[LearntWord]
        return f"{word.token_string} · {plural(word.num_vectors_per_token, 'vector')}" if word.token_string else say("off")


class BasicTraining(FormSection):
    """Length, batch, optimizer and rate."""

    title = "Learning"
    parts = (Training, Optimizer, LRSchedule, Averaging)
    open = True

    def summary(self, config: Config) -> str:
        """Optimizer, schedule, rate, length."""
        training, optimizer = config[Training], config[Optimizer]
        length = plural(training.max_train_epochs, "epoch") if training.max_train_epochs else plural(training.max_train_steps, "step")
        return " · ".join(
            [
                optimizer.optimizer_type or "AdamW",
                config[LRSchedule].lr_scheduler,
                f"{optimizer.learning_rate:g}",
                say("batch {size}", size=training.train_batch_size),
                length,
            ]
        )


class AdvancedTraining(FormSection):
    """Loss, noise and timesteps."""

    title = "Loss and noise"
    parts = (Loss, SNRWeight, OutputPreservation, NoiseDDPM, Timesteps, Validation)

    def summary(self, config: Config) -> str:
        """Loss and what is not as usual."""
        weight, noise = config[SNRWeight], config[NoiseDDPM]
        words = [config[Loss].loss_type, f"min-SNR {weight.min_snr_gamma:g}" if weight.min_snr_gamma else ""]
        words += [
            say("noise offset {offset}", offset=f"{noise.noise_offset:g}") if noise.noise_offset else "",
            say("multi-resolution noise") if noise.multires_noise_iterations else "",
        ]
        return " · ".join(word for word in words if word)


class Performance(FormSection):
    """Number formats, memory, caches and the loader."""

    title = "Speed and memory"
    parts = (Precision, FrozenPrecision, Cache, TextCache, Memory, Attention, OldAttention, Compile, Loader)

    def summary(self, config: Config) -> str:
        """Precision and what saves memory."""
        precision = config[Precision].mixed_precision
        words = [
            say("full precision") if precision == "no" else precision,
            say("latents cached") if config[Cache].cache_latents or config[Cache].cache_latents_to_disk else "",
        ]
        words.append(say("gradient checkpointing") if config[Memory].gradient_checkpointing else "")
        return " · ".join(word for word in words if word)


class AccelerateLaunch(FormSection):
    """How the processes are started."""

    title = "Launch"
    parts = (Launcher, Distributed)

    def summary(self, config: Config) -> str:
        """Number of processes and devices."""
        launcher = config[Launcher]
        processes = plural(launcher.num_processes, "process", "processes")
        return " · ".join(word for word in (processes, f"GPU {launcher.gpu_ids}" if launcher.gpu_ids else "") if word)
