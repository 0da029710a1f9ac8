"""What is trained and how it is saved: one file per method."""
