"""Training of base models: plan, loaders, Trainer, checkpoints, resuming."""
