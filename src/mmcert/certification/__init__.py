"""From votes to certificates to certified metrics, and the independent verifier."""
