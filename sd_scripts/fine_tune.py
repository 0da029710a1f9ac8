"""Train a whole Stable Diffusion 1.x or 2.x model on many pictures, with caption files or a metadata file. `--help` lists the options.

Family and method are named, not imported: they need torch, which is loaded only once the options are accepted.
"""

from sd_scripts.library.training.main import main

if __name__ == "__main__":
    raise SystemExit(main("fine_tune", family="sd_scripts.library.families.sd:SD", method="sd_scripts.library.methods.finetune:Finetune"))
