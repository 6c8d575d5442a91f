"""LightningModules that train a network on randomly ablated inputs."""
