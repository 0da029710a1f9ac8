"""Hub ids: the local cache is asked first, and without a network the answer says what is missing."""

from functools import partial

import pytest
from huggingface_hub import constants, snapshot_download

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.hub import find_model
from sd_scripts.library.families.ldm.load import missing_files
from sd_scripts.library.families.sd import SD
from tests.tiny_models import SD15_MICRO, build_diffusers_folder, load_sd

REVISION = "0" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def snapshot(cache, name):
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    return repository / "snapshots" / REVISION


def find(name):
    return find_model(name, field="vae", folders=SD.layout.folders, missing=partial(missing_files, layout=SD.layout))


def test_a_path_is_taken_as_it_is(tmp_path):
    assert find(str(tmp_path)) == tmp_path


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.safetensors").touch()
    assert find("~/model.safetensors") == tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", ["models/none.safetensors", "/no/such/folder", "three/part/name", "plain"])
def test_what_is_no_hub_id_is_a_missing_file(cache, name):
    with pytest.raises(ConfigError, match="There is no file or folder") as caught:
        find(name)
    assert caught.value.field == "vae"


def test_a_cached_model_loads_without_a_network(cache):
    build_diffusers_folder(snapshot(cache, "somebody/tiny"), SD15_MICRO)
    assert load_sd("somebody/tiny").describe()["ss_sd_model_name"] == "somebody/tiny"


def test_a_model_that_is_not_cached_is_refused_when_the_network_is_off(cache):
    with pytest.raises(ConfigError, match=r"somebody/other is not in the local cache.*HF_HUB_OFFLINE"):
        find("somebody/other")


def test_a_half_cached_model_is_refused_with_the_files_that_it_lacks(cache):
    folder = build_diffusers_folder(snapshot(cache, "somebody/half"), SD15_MICRO)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"lacks unet/diffusion_pytorch_model\.safetensors in the local cache"):
        find("somebody/half")


def test_the_cache_of_this_test_is_really_the_hubs(cache):
    folder = build_diffusers_folder(snapshot(cache, "somebody/tiny"), SD15_MICRO)
    assert snapshot_download("somebody/tiny", local_files_only=True) == str(folder)
