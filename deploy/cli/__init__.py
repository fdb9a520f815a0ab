"""The `sigmawatch` command."""
