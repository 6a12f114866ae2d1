"""Contracts of ONNX files: input and output conventions in a TOML file (tables ``card``, ``input``, ``output``).

An ONNX file has names, types and shapes. It does not state whether its input is L or gray RGB, how images are resized,
or what its output is. The contract states this as data. Three contracts are included: ``cic``, ``ddcolor`` and
``deoldify``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from colorbench.errors import UserError, path_hint, printable
from colorbench.models.model_card import PretrainedPart
from colorbench.registry import nearest
from colorbench.storage import digest_of

SHIPPED = ("cic", "ddcolor", "deoldify")
LARGEST_SIDE = 8192
AB_RANGE = 110.0
"""``low`` and ``high`` of an ab output stand for ab of -110 and 110."""
LARGEST_FILE = 2**20
"""Largest contract in bytes; it is a page of text."""

Squash = Literal["bicubic-aa", "bilinear-aa", "bilinear", "area", "pillow-bicubic", "pillow-bilinear"]
Upsample = Literal["bilinear", "bilinear-aa", "nearest", "bicubic"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


class CardTable(_Table):
    """Facts about the network for tables; they do not influence predictions."""

    title: str | None = None
    license: str | None = None
    paper: str | None = None
    pretrained: list[PretrainedPart] = []
    """As in a model's card: ``pretrained = [{ name = "convnext_large", use = "encoder" }]``."""
    training_data: str | None = None
    training_hashes: str | None = None
    """As in a model's card, ``package:path``."""
    notes: str | None = None
    """Remarks, such as "quantized to 8 bits"."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    """Hash that the ONNX file must have."""


class InputTable(_Table):
    """Conversion from an image to the input of the network."""

    name: str | None = None
    """Name of the graph's input; None for a single input."""
    form: Literal["lightness", "gray", "gray-rgb"]
    """CIE L; one channel of sRGB gray level; or three equal channels."""
    gray: Literal["cie-l", "bt601"] = "cie-l"
    """Source of the gray level in the original program; colorbench uses the gray level of L in both cases."""
    low: float
    """Value that represents L = 0, or black."""
    high: float
    """Value that represents L = 100, or white."""
    mean: float | list[float] = 0.0
    """Subtracted from that value; one number, or one per channel."""
    std: float | list[float] = 1.0
    """Divisor after the subtraction."""
    size: int | Literal["file", "free"]
    """Side in pixels of the square to which the image is resized; ``file``: the fixed size in the file; ``free``: the
    image's own size, each side rounded to a multiple."""
    multiple: int = Field(default=1, ge=1, le=LARGEST_SIDE)
    """Number of which both sides must be multiples."""
    squash: Squash
    """Kernel of this resizing; ``aa`` is antialiased; ``pillow`` resizes 8-bit gray."""

    @field_validator("size", mode="before")
    @classmethod
    def _size(cls, value: object) -> object:
        plain = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE
        if not plain and value not in ("file", "free"):
            raise ValueError(f'must be a number of pixels (1 to {LARGEST_SIDE}), "file" or "free", not {value!r}')
        return value

    @field_validator("mean", "std", mode="before")
    @classmethod
    def _per_channel(cls, value: object) -> object:
        values = value if isinstance(value, list) else [value]
        if len(values) not in (1, 3) or not all(
            isinstance(one, int | float) and not isinstance(one, bool) for one in values
        ):
            raise ValueError(f"must be a number, or one per channel, not {value!r}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.low == self.high:
            raise ValueError("low and high are equal")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list) and len(value) not in (1, self.channels):
                raise ValueError(f"{name} has {len(value)} values, {self.form} has {self.channels} channels")
        if any(one <= 0 for one in ([self.std] if isinstance(self.std, float) else self.std)):
            raise ValueError("std must be positive")
        if isinstance(self.size, int) and self.size % self.multiple:
            raise ValueError(f"size {self.size} is not a multiple of {self.multiple}")
        return self

    @property
    def channels(self) -> int:
        """Number of input channels of the network."""
        return 3 if self.form == "gray-rgb" else 1


class OutputTable(_Table):
    """Conversion from the output of the network to a color image."""

    name: str | None = None
    """Name of the graph's output; None for a single output."""
    form: Literal["ab", "rgb", "lab"]
    """CIE ab; sRGB; CIE Lab."""
    low: float | None = None
    """Value that represents 0 of RGB, or for ab = -110; not for Lab."""
    high: float | None = None
    """Value that represents 255 of RGB, or for ab = 110; not for Lab."""
    upsample: Upsample
    """Kernel for resizing the output to the size of the image."""
    keep: Literal["lightness", "yuv-y", "nothing"]
    """Part of the input image that is kept: L; Y of 8-bit YUV (BT.601); or nothing, so that the output is the
    prediction."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in ("low", "high") if getattr(self, name) is not None]
        if self.form == "lab" and given:
            raise ValueError(f"Lab is in CIE units and takes no {given[0]}")
        if len(given) == 1 or (self.form == "rgb" and not given):
            raise ValueError(f"{self.form} needs low and high")
        if given and self.low == self.high:
            raise ValueError("low and high are equal")
        if self.keep == "yuv-y" and self.form != "rgb":
            raise ValueError(f"keep is yuv-y, which needs rgb, and form is {self.form}")
        if self.keep == "nothing" and self.form == "ab":
            raise ValueError("keep is nothing, and ab alone is not an image: write lightness")
        return self

    @property
    def channels(self) -> int:
        """Number of output channels of the network."""
        return 2 if self.form == "ab" else 3


class OnnxContract(_Table):
    """A complete contract."""

    card: CardTable = CardTable()
    input: InputTable
    output: OutputTable

    @property
    def sha256(self) -> str:
        """Hash of everything that determines a prediction: all but the card."""
        return digest_of(self.model_dump(exclude={"card"}))

    def to_toml(self) -> str:
        """Return the contract as TOML text, as ``read_contract`` reads it."""
        tables = self.model_dump(exclude_defaults=True)
        blocks = [
            "\n".join([f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())])
            for name, table in tables.items()
        ]
        return "\n\n".join(blocks) + "\n"


def _toml(value: object) -> str:
    """Return a value as TOML writes it in one line; tables in it become inline tables."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def find_contract(file: Path, chosen: str | None) -> tuple[OnnxContract, str]:
    """Find the contract of an ONNX file; return it with its name.

    Args:
        file: the ONNX file; its contract is ``NAME.toml`` or ``NAME.onnx.toml`` beside it.
        chosen: the name of an included contract, or a path, instead.

    Raises:
        UserError: for a missing or faulty contract.
    """
    if chosen is not None:
        if chosen in SHIPPED:
            return shipped_contract(chosen), chosen
        path = Path(chosen).expanduser()
        if path.suffix != ".toml" and not path.is_file():
            near = nearest(chosen, SHIPPED)
            hint = f"did you mean {near}?" if near else f"choose {', '.join(SHIPPED)}, or give a .toml file"
            raise UserError(f"no contract {chosen!r}", hint=hint)
        return read_contract(path), path.name
    beside = [path for path in (file.with_suffix(".toml"), file.with_name(f"{file.name}.toml")) if path.is_file()]
    if not beside:
        hint = f"write {file.stem}.toml beside it, or choose: onnx:{file}[contract={'|'.join(SHIPPED)}]"
        raise UserError("this ONNX file has no contract, which says what its numbers mean", where=str(file), hint=hint)
    if len(beside) > 1:
        raise UserError("this ONNX file has two contracts beside it", where=str(file), hint=f"remove {beside[1].name}")
    return read_contract(beside[0]), beside[0].name


def shipped_contract(name: str) -> OnnxContract:
    """Return an included ONNX contract: ``cic``, ``ddcolor`` or ``deoldify``."""
    text = resources.files("colorbench.models").joinpath("contracts", f"{name}.toml").read_text(encoding="utf-8")
    return parse_contract(text, name)


def read_contract(path: Path) -> OnnxContract:
    """Read the contract of an ONNX file from a TOML file.

    Raises:
        UserError: for a file that is missing or not TOML, and for faults in it, in one line.
    """
    if not path.is_file():
        raise UserError("no such contract", where=str(path), hint=path_hint(path))
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise UserError("this file is too large for a contract", where=str(path), hint="give the .toml file")
        text = data.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the contract cannot be read: {error}", where=str(path), hint="it is a text in UTF-8"
        ) from error
    return parse_contract(text, str(path))


def parse_contract(text: str, where: str) -> OnnxContract:
    """Parse the text of an ONNX contract.

    Args:
        text: TOML.
        where: the file, for errors.

    Raises:
        UserError: for text that is not TOML, and for faults, in one line.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also for integers of thousands of digits
        raise UserError(
            f"the contract is not TOML: {printable(str(error))}", where=where, hint="text stands in quotes"
        ) from error
    try:
        return OnnxContract.model_validate(values)
    except ValidationError as error:
        faults = list(dict.fromkeys(_faults(error)))
        raise UserError(f"the contract is wrong: {printable('; '.join(faults))}", where=where, hint=_HINT) from error


_HINT = "the guide to models of other programs (docs/other-programs.md) lists the keys"


def _faults(error: ValidationError) -> Iterator[str]:
    for one in error.errors():
        location = [str(part) for part in one["loc"]]
        table, key = location[0] if location else "", location[1] if len(location) > 1 else None
        if one["type"] == "missing":
            yield f"[{table}] lacks {key}" if key else f"there is no table [{table}]"
        elif one["type"] == "extra_forbidden":
            yield _unknown(table, key)
        else:
            of = f"[{table}] {key} " if key else f"[{table}]: "
            yield f"{of}{_sentence(one)}"


def _unknown(table: str, key: str | None) -> str:
    models: Mapping[str, type[BaseModel]] = {"card": CardTable, "input": InputTable, "output": OutputTable}
    known: Sequence[str] = list(models) if key is None else list(models[table].model_fields)
    near = nearest(key or table, known)
    meant = f" (did you mean {near}?)" if near else ""
    return f"there is no table [{table}]{meant}" if key is None else f"[{table}] has no key {key!r}{meant}"


def _sentence(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "literal_error":
        return f"must be {fault['ctx']['expected']}, not {fault['input']!r}"
    if fault["type"] == "string_pattern_mismatch":
        return "must be 64 hexadecimal digits"
    message = str(fault["msg"])
    return f"{message.removeprefix('Input ')}, not {str(fault['input'])[:60]!r}"
