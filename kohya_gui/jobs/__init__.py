"""Runs as processes and files: starting, stopping, watching. Nothing here knows Gradio or torch."""
