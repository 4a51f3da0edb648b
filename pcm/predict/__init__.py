"""Predictors with explicit uncertainty on the causally admissible inputs."""
