"""Three optimizer steps of a LoRA on the recorded small SD 1.x model, in eight variants: loss, gradient norm and factors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sd_scripts.library.diffusion.loss import per_sample_loss, snr_weights
from sd_scripts.library.diffusion.noise import add_noise, velocity
from sd_scripts.library.families.base import Conditions, Noised
from sd_scripts.library.families.sd import SD
from sd_scripts.library.methods.adapter import Adapter
from sd_scripts.params.commands import command
from sd_scripts.params.config import Config, make_config
from sd_scripts.params.loss import Loss, SNRWeight
from tests.tiny_models import build_sd15_tiny, rule_tensor, wave

CPU = torch.device("cpu")
GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "models.json").read_text("utf-8"))["sd15_tiny"]["train_steps"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sd15_tiny(tmp_path_factory.mktemp("model") / "tiny.safetensors")


def config(case: dict[str, Any], model: Path) -> Config:
    given: dict[str, object] = {
        "pretrained_model_name_or_path": str(model),
        "network_module": "networks.lora",
        "network_dim": case["rank"],
        "network_alpha": case["alpha"],
        "learning_rate": 1e-3,
        "text_encoder_lr": (5e-4,),
        "network_train_unet_only": not case["text_encoder"],
        "v_parameterization": case["v_parameterization"],
        "network_args": [f"{key}={value}" for key, value in case["network_args"].items()],
    }
    return make_config(command("train_network"), given | ({"min_snr_gamma": case["min_snr_gamma"]} if case["min_snr_gamma"] else {}))


def trained(case: dict[str, Any], model: Path) -> tuple[Adapter, list[tuple[float, float]]]:
    """The method after three steps on the recorded batch, with loss and gradient norm of each step."""
    asked = config(case, model)
    family = SD.load(asked, device=torch.device("cpu"), weight_dtype=torch.float32)
    method = Adapter(asked, family)
    method.prepare()
    fill(method)
    optimizer = torch.optim.AdamW([group.as_dict() for group in method.param_groups()])
    latents, noise, timesteps = wave(0.07, (2, 4, 16, 16)), wave(0.31, (2, 4, 16, 16), cosine=True), torch.tensor([120, 640])
    target = velocity(latents, noise, timesteps, family.schedule.alphas_cumprod) if case["v_parameterization"] else noise
    weights = snr_weights(timesteps, family.schedule, asked[SNRWeight], prediction=family.prediction)
    noised = Noised(add_noise(latents, noise, timesteps, family.schedule.alphas_cumprod), timesteps, target, weights)
    rows = []
    for _ in range(3):
        model_pred = family.predict(noised, family.encode_text(["a photo of a cat"] * 2), Conditions.whole((64, 64), rows=2, device=CPU))
        loss = (per_sample_loss(model_pred, target, asked[Loss], timesteps=timesteps, schedule=family.schedule) * weights).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(method.trainable(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        rows.append((loss.item(), norm.item()))
    return method, rows


def fill(method: Adapter) -> None:
    """The recorded starting values: the rule of the model by each factor's full key, up factors times 0.02."""
    with torch.no_grad():
        for name, module in method.adapter.modules_by_name.items():
            for key, parameter in module.named_parameters():
                values = rule_tensor(f"{name}.{key}", tuple(parameter.shape))
                if key == "lora_up.weight":
                    fan = parameter.numel() / parameter.shape[0]
                    values = 0.02 * values / (3 / fan) ** 0.5
                parameter.copy_(values)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["label"])
def test_three_steps_give_the_recorded_losses_norms_and_factors(case, model):
    method, rows = trained(case, model)
    assert len(method.adapter.modules_by_name) == case["modules"]
    assert sum(parameter.numel() for parameter in method.trainable()) == case["trainable_parameters"]
    assert [(group.name, len(group.params)) for group in method.param_groups()] == [(row["description"], row["tensors"]) for row in case["groups"]]
    assert rows == [pytest.approx((row["loss"], row["grad_norm_before_clip"]), rel=1e-4) for row in case["steps"]]
    tensors = method.tensors(None)
    for key, golden in case["after"].items():
        assert tensors[key].norm().item() == pytest.approx(golden["norm"], rel=1e-4), key
        assert tensors[key].flatten()[:3].tolist() == pytest.approx(golden["first3"], abs=1e-4), key
