"""Strict configurations: unknown fields are errors that say what was meant; files and dotted overrides build the same shape."""

import copy
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from wildsr.errors import UserError


class Strict(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Frozen, typed, refuses unknown fields. Numbers may be written as text ("2e-4"), as PyYAML delivers them."""


Model = TypeVar("Model", bound=Strict)


def _whole(given: Any) -> Any:
    """A whole number written as text, also as 3e2; anything else as it is."""
    try:
        number = float(given) if isinstance(given, str) else 0.5
    except ValueError:
        return given
    return int(number) if number.is_integer() else given


Probability = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[Whole, Field(ge=1)]


def nearest(word: str, words: Iterable[str]) -> str:
    """ ", did you mean X?" or a list of what there is."""
    words = sorted(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(words)}"


def build(model: type[Model], values: dict[str, Any], what: str = "configuration") -> Model:
    """Validates `values`. Raises UserError for the first mistake: its dotted path, its value and the mend."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{what}: {_explain(error.errors()[0], model, values)}") from None


def _explain(mistake: Any, model: type[BaseModel], values: Any) -> str:
    path = list(mistake["loc"])
    name = ".".join(_written(path, values))
    if mistake["type"] == "extra_forbidden":
        return f"unknown key {name!r} (value {mistake['input']!r}): {nearest(str(path[-1]), _fields_at(model, path[:-1]))}"
    if mistake["type"] == "value_error":
        message = str(mistake["ctx"]["error"])
        return f"{name}: {message}" if name else message
    if mistake["type"] == "union_tag_invalid":
        tag, choices = mistake["ctx"]["tag"], mistake["ctx"]["expected_tags"].replace("'", "").split(", ")
        return f"{name}: unknown name {tag!r}: {nearest(tag, choices)}"
    if mistake["type"] == "union_tag_not_found":
        return f"{name} = {mistake['input']!r}: a name is missing, which says what it is"
    if mistake["type"] in ("model_attributes_type", "model_type", "dict_type"):
        return f"{name} = {mistake['input']!r}: keys with values are expected ({name}.KEY = VALUE)"
    return f"{name} = {mistake['input']!r}: {mistake['msg'][0].lower()}{mistake['msg'][1:]}"


def _written(path: list[Any], values: Any) -> list[str]:
    """A mistake's path as its writer would write it: without the tags of unions, which stand in no file."""
    shown: list[str] = []
    for i, part in enumerate(path):
        if isinstance(values, Mapping) and part not in values and (part == values.get("name") or i + 1 < len(path)):
            continue
        shown.append(str(part))
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list | tuple) and isinstance(part, int) and part < len(values):
            values = values[part]
    return shown


def _fields_at(annotation: Any, path: list[Any]) -> list[str]:
    """The field names that stand at a dotted path below a model or an annotation that holds models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if not path:
            return list(annotation.model_fields)
        field = annotation.model_fields.get(str(path[0]))
        if field is not None:
            return _fields_at(field.annotation, path[1:])
        # A union's tag stands in the path; the model that bears it is this one.
        return _fields_at(annotation, path[1:])
    found: list[str] = []
    rest = path[1:] if path and isinstance(path[0], int) else path
    models = [part for part in get_args(annotation) if part is not Ellipsis]
    tagged = [part for part in models if path and path[0] == _tag(part)]
    for part in tagged or models:
        found += _fields_at(part, rest)
    return found


def _tag(annotation: Any) -> Any:
    fields = getattr(annotation, "model_fields", {})
    return fields["name"].default if "name" in fields else None


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Turns ["network.blocks=4", "betas=[0.9, 0.99]"] into {"network.blocks": 4, "betas": [0.9, 0.99]}.

    A value is read as JSON; what is not JSON is text."""
    overrides: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {text!r}: write it as key.path=value, for example --set steps=1000")
        try:
            overrides[key.strip()] = json.loads(value)
        except json.JSONDecodeError:
            overrides[key.strip()] = value.strip()
    return overrides


def override(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested `values` with dotted keys replaced: "regularizers.0.p" reaches into the first of a list.

    What replaces a part comes before what reaches into it; another `name` ("network.name") comes first, with its own fields' defaults."""
    result = copy.deepcopy(values)
    renamed: list[dict[str, Any]] = []
    for path, value in sorted(overrides.items(), key=lambda item: (item[0].count("."), not item[0].endswith(".name"))):
        target: Any = result
        *parents, last = path.split(".")
        for depth, part in enumerate(parents):
            if any(target is table for table in renamed) and part not in target:
                target[part] = {}
                renamed.append(target[part])
            target = _step(target, part, ".".join(parents[: depth + 1]), path)
        if isinstance(target, list):
            _step(target, last, path, path)
            target[int(last)] = copy.deepcopy(value)
        elif isinstance(target, dict):
            if last == "name" and target.get("name", value) != value:
                target.clear()
                renamed.append(target)
            target[last] = copy.deepcopy(value)
        else:
            raise UserError(f"--set {path}: {'.'.join(parents)!r} is the single value {target!r} and has no keys below it")
    return result


def _step(target: Any, part: str, so_far: str, path: str) -> Any:
    if isinstance(target, list):
        if not part.isdecimal() or int(part) >= len(target):
            raise UserError(f"--set {path}: {so_far!r} is not there: the list holds {len(target)}, counted from 0")
        return target[int(part)]
    if isinstance(target, dict):
        if part not in target:
            raise UserError(f"--set {path}: unknown key {so_far!r}: {nearest(part, target)}")
        return target[part]
    raise UserError(f"--set {path}: {so_far!r} cannot be reached: the value above it is {target!r}")


def merge(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Nested dictionaries joined, `over` winning; lists are replaced whole, and so is what `over` gives another `name`."""
    if "name" in over and "name" in values and over["name"] != values["name"]:
        return dict(over)
    result = dict(values)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def read_file(path: Path) -> dict[str, Any]:
    """Reads a TOML or YAML configuration. Raises UserError naming the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    try:
        if path.suffix == ".toml":
            values = tomllib.loads(text)
        else:
            try:
                import yaml
            except ImportError:
                raise UserError(f"{path}: reading YAML needs PyYAML: pip install 'wildsr[train]', or write TOML") from None
            try:
                values = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError) as error:  # ValueError: a day that no calendar has
                raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values, found {type(values).__name__}")
    return values
