"""Frozen dataclasses to plain JSON values and back, without pickling.

A dataclass becomes an object with the key `type`, "module:Class", beside its fields; reading
takes the class from a module of sciml or from one that the caller has imported already, and
checks every value against the annotation of its field.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["class_name", "find_class", "from_record", "to_record"]


def class_name(cls: type) -> str:
    """The name under which `find_class` finds a class, "module:Class".

    Example:
        >>> from sciml.train.options import TrainOptions
        >>> class_name(TrainOptions)
        'sciml.train.options:TrainOptions'
    """
    return f"{cls.__module__}:{cls.__qualname__}"


def find_class(name: str) -> type:
    """The class called "module:Class"; only modules of sciml are imported for it.

    Raises:
        ValueError: the module is neither part of sciml nor imported, or has no such class.
    """
    module, _, path = name.partition(":")
    if module == "sciml" or module.startswith("sciml."):
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ValueError(f"{name} was not found: this sciml has no {error.name}") from None
    if module not in sys.modules:
        raise ValueError(f"{name} is not part of sciml: import {module} first, then load")
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise ValueError(f"{name} was not found: {module} has no class {path}")
    return found


def to_record(value: Any) -> Any:
    """JSON value of a dataclass, number, string, path, sequence or mapping with string keys.

    Raises:
        ValueError: a value of another kind.

    Example:
        >>> from sciml.train.options import TrainOptions
        >>> to_record(TrainOptions(epochs=3))["epochs"]
        3
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_record(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": class_name(type(value)), **fields}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [to_record(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: to_record(item) for key, item in value.items()}
    raise ValueError(
        f"a value of type {type(value).__name__} cannot be stored: use dataclasses, numbers, "
        "strings, tuples and mappings with string keys"
    )


def from_record(record: Mapping[str, Any]) -> Any:
    """The dataclass that `to_record` made `record` of.

    Raises:
        ValueError: no dataclass is named, fields are missing or unknown, or a value does not fit
            its field.

    Example:
        >>> from sciml.train.options import TrainOptions
        >>> from_record(to_record(TrainOptions(epochs=3))) == TrainOptions(epochs=3)
        True
    """
    if not isinstance(record, Mapping) or not isinstance(record.get("type"), str):
        raise ValueError("a stored record must be an object with the key `type`")
    cls = find_class(record["type"])
    if not dataclasses.is_dataclass(cls):
        raise ValueError(f"{record['type']} is not a dataclass: the record cannot be read")
    hints = get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls) if f.init}
    unknown = sorted(set(record) - known - {"type"})
    if unknown:
        raise ValueError(
            f"{record['type']} has no field {', '.join(unknown)}: stored by another version"
        )
    values = {
        name: _read(record[name], hints[name], f"{record['type']}.{name}")
        for name in known & set(record)
    }
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{record['type']} cannot be made of its record: {error}") from None


def _read(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint` asks for; refused where it does not fit."""
    for read in (_read_literal, _read_union, _read_collection, _read_dataclass, _read_plain):
        found, result = read(value, hint, where)
        if found:
            return result
    raise ValueError(f"{where} is {value!r}, expected {hint}")


_NO = (False, None)


def _read_literal(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    return (get_origin(hint) is Literal and value in get_args(hint), value)


def _read_union(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    if get_origin(hint) not in (Union, types.UnionType):
        return _NO
    for choice in get_args(hint):
        try:
            return True, _read(value, choice, where)
        except ValueError:
            continue
    return _NO


def _read_collection(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if not isinstance(origin, type):
        return _NO
    if issubclass(origin, tuple) and isinstance(value, list):
        return True, _read_tuple(value, arguments, where)
    if issubclass(origin, Sequence) and origin is not str and isinstance(value, list):
        items = [_read(item, arguments[0] if arguments else Any, where) for item in value]
        return True, items if origin is list else tuple(items)
    if issubclass(origin, Mapping) and isinstance(value, dict):
        kind = arguments[1] if arguments else Any
        return True, {key: _read(item, kind, where) for key, item in value.items()}
    return _NO


def _read_tuple(value: list[Any], kinds: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not kinds:
        kinds = (Any, ...)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ValueError(f"{where} has {len(value)} items, expected {len(kinds)}")
    return tuple(_read(item, kind, where) for item, kind in zip(value, kinds, strict=True))


def _read_dataclass(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    if not (isinstance(hint, type) and isinstance(value, dict) and "type" in value):
        return _NO
    result = from_record(value)
    return isinstance(result, hint), result


def _read_plain(value: Any, hint: Any, where: str) -> tuple[bool, Any]:
    if hint is Any:
        return True, value
    if hint is None or hint is type(None):
        return value is None, None
    if hint is Path:
        return isinstance(value, str), Path(value) if isinstance(value, str) else None
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number, float(value) if number else None
    if hint is int and isinstance(value, bool):
        return _NO
    return isinstance(hint, type) and isinstance(value, hint), value
