"""Steady flow past bodies: from a shape to its signed distance, its flow, and a surrogate of it."""
