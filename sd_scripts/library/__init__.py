"""What the trainers are made of: data, diffusion maths, model families, methods, optimizers and the training loop."""
