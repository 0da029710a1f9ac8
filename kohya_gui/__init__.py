"""The screen: builds a command, starts it, watches it. Nothing here imports torch; the trainers live in `sd_scripts`."""
