"""What is there before training starts: pictures, captions, buckets, steps, model files. No torch; trainer, preflight and form call the same."""
