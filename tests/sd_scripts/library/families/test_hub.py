"""Hub ids: the local cache is asked first, a download fetches what is needed and no more, and the answer says what is missing."""

import json
from functools import partial

import pytest
import torch
from hub_server import running_hub
from huggingface_hub import constants, snapshot_download

from sd_scripts.errors import ConfigError
from sd_scripts.library.families.hub import find_model
from sd_scripts.library.families.ldm.load import missing_files
from sd_scripts.library.families.sd import SD
from tests.tiny_models import SD15_MICRO, build_diffusers_folder, build_sd15_micro, build_sdxl_tiny, load_sd, load_sdxl

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


def test_a_cached_sdxl_model_loads_by_its_id(cache, tmp_path):
    file = load_sdxl(build_sdxl_tiny(tmp_path / "tiny.safetensors"))
    folder = snapshot(cache, "somebody/large")
    folder.parent.mkdir()
    file.write_folder(folder, None, ending=".safetensors")
    found = load_sdxl("somebody/large")
    assert found.describe()["ss_sd_model_name"] == "somebody/large"
    assert all(torch.equal(weight, found.unet.state_dict()[name]) for name, weight in file.unet.state_dict().items())


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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub cache, and a server to fill it from."""
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield running


def offer(hub, folder, name="somebody/tiny", *, index=None):
    """Put a folder's files on the server, with an index of its parts."""
    parts = {"unet": ["diffusers", "x"], "vae": ["diffusers", "x"], "text_encoder": ["transformers", "x"]}
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    files["model_index.json"] = json.dumps(parts if index is None else index).encode() if not isinstance(index, bytes) else index
    hub.files.update({f"{name}/{path}": content for path, content in files.items()})


def fetched(root):
    """Names of the files that were downloaded."""
    return {str(path.relative_to(root)).split("/", 3)[3] for path in (root / "hub").glob("models--*/snapshots/*/**/*") if path.is_file()}


PARTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


def files_of(weights):
    return {"model_index.json"} | {f"{part}/{name}" for part, stem in PARTS.items() for name in ("config.json", weights.replace("*", stem))}


def test_a_download_fetches_configuration_and_full_weights_only(tmp_path, hub):
    folder = build_diffusers_folder(tmp_path / "made", SD15_MICRO)
    for extra in (
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
    ):
        (folder / extra).write_bytes(b"not wanted")
    (folder / "picture.png").write_bytes(b"not wanted")
    offer(hub, folder)
    assert load_sd("somebody/tiny").describe()["ss_sd_model_name"] == "somebody/tiny"
    assert {name.split("/", 1)[1] for name in fetched(tmp_path)} == files_of("*.safetensors")


def test_a_model_of_half_precision_files_alone_is_fetched(tmp_path, hub):
    offer(hub, build_diffusers_folder(tmp_path / "made", SD15_MICRO, variant="fp16"))
    assert load_sd("somebody/tiny").unet.config.cross_attention_dim == 32
    assert {name.split("/", 1)[1] for name in fetched(tmp_path)} == files_of("*.fp16.safetensors")


def test_a_model_without_a_part_costs_no_weights(tmp_path, hub):
    offer(
        hub,
        build_diffusers_folder(tmp_path / "made", SD15_MICRO),
        index={"unet": ["diffusers", "x"], "vae": ["diffusers", "x"], "text_encoder": [None, None]},
    )
    with pytest.raises(ConfigError, match=r"lacks text_encoder \(model_index\.json names none\)"):
        find("somebody/tiny")
    assert {name.split("/", 1)[1] for name in fetched(tmp_path)} == {"model_index.json"}


@pytest.mark.parametrize("index", [b"{", b"7"])
def test_an_index_that_cannot_be_read_is_named(tmp_path, hub, index):
    offer(hub, build_diffusers_folder(tmp_path / "made", SD15_MICRO), index=index)
    with pytest.raises(ConfigError, match=r"model_index\.json that cannot be read"):
        find("somebody/tiny")


def test_a_vae_that_is_a_repository_of_its_own_is_fetched(tmp_path, hub):
    vae = build_diffusers_folder(tmp_path / "made", SD15_MICRO) / "vae"
    hub.files.update({f"somebody/vae/{path.name}": path.read_bytes() for path in vae.iterdir()})
    sd = load_sd(build_sd15_micro(tmp_path / "micro.safetensors"), vae="somebody/vae")
    assert sd.describe()["ss_vae_name"] == "somebody/vae"
    assert {name.split("/", 1)[1] for name in fetched(tmp_path)} == {"config.json", "diffusion_pytorch_model.safetensors"}


def test_a_model_that_the_hub_does_not_know_is_named(hub):
    with pytest.raises(ConfigError, match="has no model somebody/none"):
        find("somebody/none")
