"""Weights files told by their headers: families by names and ranks alone, broken files by name, and no pickle that runs."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sd_scripts.errors import DataError
from sd_scripts.survey.header import Header, detect, facts_of, read_header, size_words
from tests.sd_scripts.survey.model_files import LINEAR, SD1, SDXL, UNET, write_safetensors
from tests.tiny_models import SD15, SD21, SDXL_BASE, single_file_shapes


def _header(tensors: dict[str, tuple[str, tuple[int, ...]]], **metadata: str) -> Header:
    return Header(tensors, metadata, 1)


def test_a_small_model_in_the_sd1_layout_is_sd1(tmp_path):
    facts = detect(write_safetensors(tmp_path / "m.safetensors", SD1))
    assert (facts.family, facts.kind, facts.precision, facts.script, facts.tensors) == ("sd1", "checkpoint", "fp16", "train_network", 970)
    assert facts.line().startswith("Stable Diffusion 1.x · fp16 · ")


@pytest.mark.parametrize(
    ("tensors", "family", "kind"),
    [
        (LINEAR, "sd2", "checkpoint"),
        (SDXL, "sdxl", "checkpoint"),
        (
            {f"{UNET}label_emb.0.0.weight": ("F16", (8, 8)), "conditioner.embedders.0.model.text_projection": ("F16", (1, 1))},
            "sdxl_refiner",
            "checkpoint",
        ),
        ({"double_blocks.0.img_attn.qkv.weight": ("BF16", (1, 1)), "single_blocks.0.linear1.weight": ("BF16", (1, 1))}, "flux", "denoiser"),
        ({f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": ("F16", (1, 1)), "text_encoders.clip_l.x": ("F16", (1,))}, "sd3", "checkpoint"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": ("F16", (4, 8, 1, 1))}, "sd1", "lora"),
        ({"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": ("F16", (4, 8))}, "sd2", "lora"),
        ({"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": ("F16", (4, 8))}, "sdxl", "lora"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": ("F16", (4, 8))}, "flux", "lora"),
        ({"first_stage_model.decoder.conv_in.weight": ("F32", (8, 4, 3, 3))}, "", "vae"),
        ({"decoder.conv_in.weight": ("F32", (8, 4, 3, 3))}, "", "vae"),
        ({"emb_params": ("F32", (4, 768))}, "", "embedding"),
        ({"something.else": ("F32", (4, 768))}, "", "unknown"),
        ({}, "", "unknown"),
    ],
)
def test_names_and_ranks_of_tensors_decide(tensors, family, kind):
    facts = facts_of(_header(tensors))
    assert (facts.family, facts.kind) == (family, kind)


def _bytes_read() -> int:
    """What this process has read from files so far, by Linux' own count."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


@pytest.mark.parametrize(
    ("layout", "dtype", "metadata", "told"),
    [
        (SD15, "F32", {}, ("sd1", "fp32", None)),
        (SD21, "F16", {"modelspec.prediction_type": "v"}, ("sd2", "fp16", "v")),
        (SDXL_BASE, "F16", {"modelspec.prediction_type": "epsilon"}, ("sdxl", "fp16", "epsilon")),
        (SDXL_BASE, "BF16", {}, ("sdxl", "bf16", None)),
    ],
    ids=["sd15", "sd21", "sdxl", "sdxl-bf16"],
)
def test_of_a_full_size_file_nothing_but_the_header_is_read(tmp_path, layout, dtype, metadata, told):
    """The weights are a hole in the file, so reading them would show no fault: the bytes are counted."""
    path = write_safetensors(tmp_path / "m.safetensors", {key: (dtype, shape) for key, shape in single_file_shapes(layout).items()}, **metadata)
    with path.open("rb") as file:
        header_bytes = 8 + struct.unpack("<Q", file.read(8))[0]
    before = _bytes_read()
    facts = detect(path)
    assert _bytes_read() - before < header_bytes + 64_000
    assert (facts.family, facts.precision, facts.prediction, facts.kind) == (*told, "checkpoint")
    assert facts.size > 2_000_000_000 > 1000 * header_bytes


def test_a_lora_says_its_family_in_its_metadata():
    facts = facts_of(_header({"lora_te_x.lora_up.weight": ("F16", (4, 8))}, ss_base_model_version="sd_v2_v"))
    assert (facts.family, facts.kind) == ("sd2", "lora")


def test_inpainting_prediction_and_mixed_precision_are_told():
    facts = facts_of(_header({**SD1, f"{UNET}input_blocks.0.0.weight": ("F16", (32, 9, 3, 3))}, **{"modelspec.prediction_type": "v"}))
    assert facts.inpainting and facts.prediction == "v" and "inpainting" in facts.notes[0]
    half = {name: ("F32" if name.startswith("cond") else "F16", shape) for name, (_, shape) in SD1.items()}
    assert facts_of(_header(half)).precision in ("fp16 and fp32", "fp32 and fp16")


def test_a_diffusers_folder_is_read_part_by_part(tmp_path):
    write_safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", {"down_blocks.0.attentions.0.proj_in.weight": ("F32", (8, 8, 1, 1))})
    write_safetensors(
        tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors", {"down_blocks.0.attentions.0.proj_in.weight": ("F16", (8, 8, 1, 1))}
    )
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction", "rescale_betas_zero_snr": true}')
    facts = detect(tmp_path)
    assert (facts.family, facts.kind, facts.precision, facts.prediction, facts.zero_snr) == ("sd1", "folder", "fp32", "v", True)


def test_a_refiner_is_recognised_as_a_folder_too(tmp_path):
    names = ("add_embedding.linear_1.weight", "down_blocks.3.resnets.0.conv1.weight")
    write_safetensors(tmp_path / "unet" / "diffusion_pytorch_model.safetensors", dict.fromkeys(names, ("F16", (8, 8))))
    write_safetensors(tmp_path / "text_encoder_2" / "model.safetensors", {"text_projection.weight": ("F16", (8, 8))})
    (tmp_path / "model_index.json").write_text("{}")
    facts = detect(tmp_path)
    assert facts.family == "sdxl_refiner" and "only finishes" in facts.refusal


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"model_index\.json"):
        detect(tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_gives_the_same_as_safetensors(tmp_path, legacy):
    tensors = {
        "a.weight": torch.zeros(2, 3, dtype=torch.float16),
        "b": torch.nn.Parameter(torch.zeros(4)),
        "c": torch.zeros(5, dtype=torch.int64),
        "d": torch.zeros(2, dtype=torch.bfloat16),
    }
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "m.ckpt", _use_new_zipfile_serialization=not legacy)
    header = read_header(tmp_path / "m.ckpt")
    assert header.tensors == {"a.weight": ("F16", (2, 3)), "b": ("F32", (4,)), "c": ("I64", (5,)), "d": ("BF16", (2,))}
    assert not header.foreign


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_in_a_pickle_runs_and_what_wanted_to_is_named(tmp_path, legacy):
    torch.save({"a": torch.zeros(2), "bomb": _Bomb()}, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    header = read_header(tmp_path / "m.pt")
    assert (header.tensors, header.foreign) == ({"a": ("F32", (2,))}, ("__builtin__.exec",))
    assert "exec" in facts_of(header).notes[0]


def test_a_pickle_that_breaks_off_is_refused(tmp_path):
    torch.save({"a": torch.zeros(2000)}, tmp_path / "m.ckpt")
    content = (tmp_path / "m.ckpt").read_bytes()
    (tmp_path / "m.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="breaks off"):
        read_header(tmp_path / "m.ckpt")


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04", pickle.dumps({"a": 1}), b"\x80\x02c__builtin__\neval\n."])
def test_a_file_that_is_no_pickle_of_a_model_is_refused(tmp_path, content):
    (tmp_path / "m.ckpt").write_bytes(content)
    with pytest.raises(DataError, match=r"m\.ckpt"):
        read_header(tmp_path / "m.ckpt")


def test_a_zip_without_a_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.ckpt", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(DataError, match="holds no model"):
        read_header(tmp_path / "m.ckpt")


def test_a_truncated_safetensors_file_is_refused_with_both_sizes(tmp_path):
    path = write_safetensors(tmp_path / "m.safetensors", {"a": ("F32", (1000,))})
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - 1000)
    with pytest.raises(DataError, match=f"breaks off: it has {size - 1000:,} bytes, its header promises {size:,}"):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "ends inside"), (b"\x02", "ends inside"), (struct.pack("<Q", 2**60), "no .safetensors"), (struct.pack("<Q", 50) + b"{", "ends inside"),
     (struct.pack("<Q", 2) + b"[]", "damaged"), (struct.pack("<Q", 2) + b"{}x", "longer")],
)  # fmt: skip
def test_a_damaged_safetensors_file_is_refused(tmp_path, content, words):
    (tmp_path / "m.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_header(tmp_path / "m.safetensors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.sampled_from([".safetensors", ".ckpt"]), st.booleans())
@example(b"\x95" + bytes(7) + b"\x80", ".ckpt", False)
@example(b"\x95" + bytes(7) + b"\x01", ".ckpt", False)
def test_any_bytes_are_refused_and_break_nothing(tmp_path, content, suffix, with_length):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(struct.pack("<Q", len(content)) + content if with_length else content)
    try:
        read_header(path)
    except DataError as refused:
        assert refused.path == path


@pytest.mark.parametrize("name", ["missing.safetensors", "notes.txt"])
def test_what_is_no_model_file_is_refused(tmp_path, name):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"does not exist|no kind of model"):
        read_header(tmp_path / name)


def test_sizes_are_written_in_units_of_a_thousand():
    assert [size_words(size) for size in (5, 1500, 27_000_000, 2_132_000_000)] == ["5 bytes", "1.5 kB", "27.0 MB", "2.1 GB"]
