"""Chemistry: mechanisms, states to learn from, and networks for what a stiff solver does."""

from sciml.chemistry.loading import load_mechanism, mechanism_of

__all__ = ["load_mechanism", "mechanism_of"]
