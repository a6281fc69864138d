"""Dynamical systems: learned vector fields, integrators and their adjoints, judged on Lorenz-63."""
