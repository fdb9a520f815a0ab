"""Training of models on what a database has: history through the engine's own channels, a forest, and how good it is."""
