"""The registry of options. Standard library only: importing it is cheap, so wrong options are refused before torch is loaded."""
