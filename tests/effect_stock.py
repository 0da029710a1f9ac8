"""Files that options of tests/effect_rows.py name, made where they are first asked for."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import effect_runs
import tiny_models
import tiny_runs
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

from sd_scripts.params.commands import command


@dataclass
class Stock:
    """A folder of files for the trainings of `script`; `models` holds the small models that all share."""

    folder: Path
    models: Path
    script: str
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def new(self, name: str) -> Path:
        """A path where nothing is yet, in a place that belongs to the training that is looked at."""
        return Path("OWN") / name

    @cached_property
    def two_pictures(self) -> Path:
        """A folder with a folder of two pictures."""
        tiny_runs.draw_pictures(self.folder / "two" / "1_cat", ((64, 64), (64, 64)))
        return self.folder / "two"

    @cached_property
    def plain_pictures(self) -> Path:
        """A folder of pictures."""
        return effect_runs.draw_pictures(self.folder / "plain")

    @property
    def picture(self) -> Path:
        """One picture."""
        return self.plain_pictures / "0.png"

    @cached_property
    def masks(self) -> Path:
        """A mask for each picture, of which the left half is learned."""
        folder = self.folder / "masks"
        folder.mkdir()
        for number, (width, height) in enumerate(effect_runs.SIZES):
            mask = Image.new("L", (width, height), 0)
            mask.paste(255, (0, 0, width // 2, height))
            mask.save(folder / f"{number}.png")
        return folder

    @cached_property
    def transparent_pictures(self) -> Path:
        """A folder with a folder of pictures of which the left half is opaque."""
        folder = effect_runs.draw_pictures(self.folder / "transparent" / "1_cat")
        for path in folder.glob("*.png"):
            with Image.open(path) as picture:
                changed = picture.convert("RGBA")
            mask = Image.new("L", changed.size, 0)
            mask.paste(255, (0, 0, changed.width // 2, changed.height))
            changed.putalpha(mask)
            changed.save(path)
        return folder.parent

    @cached_property
    def spoilt_pictures(self) -> Path:
        """A folder with a folder of pictures in which a file of another kind has the name of the one that `cache_info` writes."""
        folder = effect_runs.draw_pictures(self.folder / "spoilt" / "1_cat")
        (folder / "metadata_cache.json").write_text("not a list", encoding="utf-8")
        return folder.parent

    @cached_property
    def face_pictures(self) -> Path:
        """A folder with a folder of pictures whose names tell of a face."""
        folder = self.folder / "faces" / "2_cat"
        folder.mkdir(parents=True)
        for number, path in enumerate(sorted(self.two_pictures.rglob("*.png"))):
            with Image.open(path) as picture:
                picture.resize((160, 160)).save(folder / f"{number}_90_60_60_80.png")
        return folder.parent

    @cached_property
    def metadata(self) -> Path:
        """A metadata file for the plain pictures."""
        return self._written("metadata.json", json.dumps({str(number): {"caption": f"thing {number}"} for number in range(4)}))

    @cached_property
    def dataset_config(self) -> Path:
        """A dataset file: two pictures, three times each."""
        subset = f"[[datasets.subsets]]\nimage_dir = '{self.two_pictures / '1_cat'}'\nnum_repeats = 3\n"
        return self._written("dataset.toml", f"[[datasets]]\nresolution = 64\nbatch_size = 2\n{subset}")

    @cached_property
    def config_file(self) -> Path:
        """A config file with one option that no test gives."""
        return self._written("config.toml", "noise_offset = 0.2\n")

    @cached_property
    def tracker_settings(self) -> Path:
        """A file that tells TensorBoard how its files are to end."""
        return self._written("trackers.toml", "[tensorboard]\nfilename_suffix = '.own'\n")

    @cached_property
    def prompts(self) -> Path:
        """A prompt file with one small picture in it."""
        return self._written("prompts.txt", "a cat --w 64 --h 64 --s 2 --d 1\n")

    @cached_property
    def other_prompts(self) -> Path:
        """Another one."""
        return self._written("more prompts.txt", "a cat --w 64 --h 64 --s 2 --d 2\n")

    @property
    def is_sdxl(self) -> bool:
        """Whether the script is for SDXL."""
        return self.script.startswith("sdxl")

    @property
    def _base(self) -> Path:
        return (tiny_runs.sdxl_model if self.is_sdxl else tiny_runs.micro_model)(self.models)

    @cached_property
    def other_model(self) -> Path:
        """The small model with other weights in its U-Net."""
        tensors = {name: tensor * 0.9 if name.startswith("model.diffusion") else tensor for name, tensor in load_file(self._base).items()}
        save_file(tensors, self.folder / "other.safetensors")
        return self.folder / "other.safetensors"

    @cached_property
    def vae(self) -> Path:
        """A VAE with other weights, as a file of its own."""
        tensors = load_file(self._base)
        part = {name.removeprefix("first_stage_model."): tensor * 0.9 for name, tensor in tensors.items() if name.startswith("first_stage_model.")}
        save_file(part, self.folder / "vae.safetensors")
        return self.folder / "vae.safetensors"

    @cached_property
    def pickled_model(self) -> Path:
        """The small model as a pickle."""
        layout = tiny_models.SDXL_TINY if self.is_sdxl else tiny_models.SD15_MICRO
        return tiny_models.build(layout, self.folder / "model.ckpt")

    def adapter(self, **given: object) -> Path:
        """A LoRA that was trained for two steps at a high rate."""
        return self._trained(**given) / "out" / "cat.safetensors"

    def embedding(self) -> Path:
        """A word's vectors after two steps at a high rate."""
        return self._trained(save_model_as="safetensors") / "out" / "cat.safetensors"

    def state(self) -> Path:
        """What resuming needs, after two steps."""
        return self._trained(save_state=True) / "out" / "cat-state"

    def stale_cache(self) -> Path:
        """Pictures that were exchanged after their latents had been cached."""
        folder = effect_runs.draw_pictures(self.folder / f"stale{next(self._numbers)}" / "1_cat")
        self._trained(cache_latents_to_disk=True, train_data_dir=folder.parent)
        with Image.open(folder / "0.png") as picture:
            changed = ImageOps.invert(picture.convert("RGB"))
        changed.save(folder / "0.png")
        return folder.parent

    def _trained(self, **given: object) -> Path:
        folder = self.folder / f"trained{next(self._numbers)}"
        word = {name: value for name, value in effect_runs.WORD.items() if name in command(self.script).by_name}
        tiny_runs.train(folder, self.script, **{"max_train_steps": 2, "learning_rate": 1e-2, **word, **given})
        return folder

    def _written(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name
