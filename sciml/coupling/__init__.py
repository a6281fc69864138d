"""What other programs call: surrogates inside their solvers."""
