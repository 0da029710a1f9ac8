"""Diffusion maths as pure functions, with the names of the papers: schedule, noise, loss. Which option asks for what is decided by the callers."""
