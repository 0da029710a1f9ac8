"""Configs of other trainers: one module per program, each a table of its keys and what becomes of them."""
