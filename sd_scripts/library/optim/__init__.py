"""What turns gradients into updates: optimizers, learning-rate schedules, parameter groups."""
