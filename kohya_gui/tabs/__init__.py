"""The pages. Each file draws one page; what several share of the frame is in `shell.py`."""
