"""Programs beside the trainers: each is started as `python -m sd_scripts.tools.<name>`."""
