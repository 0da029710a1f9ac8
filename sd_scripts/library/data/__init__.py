"""What is trained on: pictures from disk, cut into batches and delivered in order."""
