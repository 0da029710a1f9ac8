"""Trainers for image models: command-line programs, and the libraries they are made of. Never imports the GUI."""
