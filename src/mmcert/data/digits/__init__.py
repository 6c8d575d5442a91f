"""Written and spoken digits: AV-MNIST."""
