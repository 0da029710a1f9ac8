"""The training loop: it reads like the algorithm. What each line does on this machine and in these files is one call away in run.py."""

from __future__ import annotations

from sd_scripts.library.diffusion.loss import per_sample_loss
from sd_scripts.library.training.request import Outcome
from sd_scripts.library.training.run import Run
from sd_scripts.library.transfer import to_device


def loop(run: Run) -> Outcome:
    """Train until the plan is done or somebody asks to stop.

    The loss of an optimizer step is the weighted sum over all its pictures, of all micro-batches and processes, divided by their number: so neither
    accumulation nor processes change what is learnt.

    Raises:
        Diverged: the loss became NaN or infinite.
        DataError: a picture cannot be read.
        RunError: something cannot be written.
    """
    family, method = run.family, run.method
    run.begin()
    for batch in run.batches():
        if batch.plan.micro_step == 0:
            method.before_step(batch.plan.step - 1, run.plan)
        draws = run.draws(batch)
        latents = run.pictures(batch, draws)
        noised = family.add_noise(latents, draws)
        with run.model_context(batch):
            method.before_predict(noised.timesteps, strength=batch.multiplier)
            text, conditions = run.text(batch), run.conditions(batch)
            model_pred = family.predict(noised, text, conditions)
            mask = run.mask(batch)
            target, preserving = run.preserved(batch, noised, text, conditions, model_pred=model_pred, mask=mask)
        losses = preserving + per_sample_loss(model_pred, target, run.loss, timesteps=noised.timesteps, schedule=family.schedule, mask=mask)
        weights = noised.weights * to_device(batch.loss_weights, losses.device)
        run.updater.backward((losses * weights).sum() / batch.plan.window_items)
        if not batch.plan.closes_window:
            continue
        run.finish_step(batch.plan)
        run.validate_if_due(batch.plan)
        run.save_if_due(batch.plan)
        run.preview_if_due(batch.plan)
        run.serve_requests(batch.plan)
        if run.is_over(batch.plan):
            break
    return run.finish()
