"""Shapes of bodies: closed outlines, the ways to make them, and random ones of each family."""

from __future__ import annotations

from sciml.flow.shapes.airfoils import naca
from sciml.flow.shapes.families import FAMILIES, random_shape
from sciml.flow.shapes.outlines import (
    bezier_blob,
    circle,
    convex_polygon,
    ellipse,
    polygon,
    rectangle,
    regular_polygon,
    triangle,
)
from sciml.flow.shapes.shape import Shape

__all__ = [
    "FAMILIES",
    "Shape",
    "bezier_blob",
    "circle",
    "convex_polygon",
    "ellipse",
    "naca",
    "polygon",
    "random_shape",
    "rectangle",
    "regular_polygon",
    "triangle",
]
