"""Teach Stable Diffusion 1.x or 2.x a new word from a few pictures (textual inversion). `--help` lists the options.

Family and method are named, not imported: they need torch, which is loaded only once the options are accepted.
"""

from sd_scripts.library.training.main import main

if __name__ == "__main__":
    raise SystemExit(
        main("train_textual_inversion", family="sd_scripts.library.families.sd:SD", method="sd_scripts.library.methods.embedding:Embedding")
    )
