"""What is on disk: votes, certificates, run descriptions; atomic writes, resume."""
