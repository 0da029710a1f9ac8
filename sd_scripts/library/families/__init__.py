"""Model families: what differs between models (loading, encoding, noise and target, prediction, adapter targets). One folder per family."""
