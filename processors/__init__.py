"""Readings in, anomalies out: a Faust app, a thin shell, around a pure engine."""
