"""One training from folders of photographs to a model that can be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from colorbench.data.dataset import Dataset
from colorbench.errors import UserError
from colorbench.models.card import ModelCard
from colorbench.models.interfaces import Colorizer
from colorbench.training.accelerator import make_accelerator
from colorbench.training.export import count_prior, export
from colorbench.training.image_cache import PhotographCache, build_cache
from colorbench.training.preset import Preset
from colorbench.training.trainer import Listener, Options, Trainer


class Reporter(Listener, Protocol):
    """Who is told how it goes, in words as well."""

    def message(self, text: str) -> None:
        """One line for people."""
        ...


@dataclass(frozen=True)
class Source:
    """One set of photographs to train on."""

    name: str
    """Short, and of no other set of the training."""
    dataset: Dataset
    often: int = 1
    """How often a round draws each of its photographs."""


@dataclass(frozen=True)
class Recipe:
    """What is to be trained, and how."""

    model: str
    """Full name, such as ``zoo/cic``."""
    factory: Any
    """Class of the model: ``presets``, ``training`` (the task), and a constructor from (network, card)."""
    preset_name: str
    preset: Preset
    """With the user's changes."""
    sources: Sequence[Source]
    options: Options
    workers: int = 2

    @property
    def name(self) -> str:
        """Of the files: ``cic`` of ``zoo/cic.small``."""
        return self.model.rsplit("/", 1)[-1].split(".")[0]

    @property
    def weights(self) -> Path:
        """Where the trained weights go."""
        return self.options.folder / f"{self.name}.safetensors"


def train(recipe: Recipe, reporter: Reporter) -> Path:
    """Train to the end, from the last checkpoint where there is one; the weights file, beside its card.

    Raises:
        UserError: for what the user can mend before a step is made.
        RunError: for a training that fails; its last good checkpoint stays.
    """
    options = replace(recipe.options, often={i: s.often for i, s in enumerate(recipe.sources) if s.often != 1})
    accelerator = make_accelerator(options.device, options.dtype)
    say = reporter.message if accelerator.is_main_process else _nothing
    # One process decodes; then one of every other machine, which finds the work done where the folder is shared.
    for source in recipe.sources:
        for remark in source.dataset.remarks:
            say(f"{source.name}: {remark}")
    with accelerator.main_process_first(), accelerator.local_main_process_first():
        say(f"reading photographs of {', '.join(source.name for source in recipe.sources)}")
        datasets = [source.dataset for source in recipe.sources]
        cache = build_cache(datasets, options.folder / "photographs", recipe.preset.cache_size, recipe.workers)
    if cache.skipped:
        say(f"skipped {len(cache.skipped)} unreadable files; the first: {cache.skipped[0][0]}: {cache.skipped[0][1]}")
    indices = cache.drawn(options.often)
    say(f"counting the prior of {len(cache.split()[0])} photographs")
    prior = count_prior(cache.pixels, indices, recipe.preset, recipe.name)
    torch.manual_seed(options.seed)  # a network may begin as torch draws it
    task = recipe.factory.training(recipe.preset, prior)
    card = _card(recipe)

    def colorizer(network: nn.Module) -> Colorizer:
        model: Colorizer = recipe.factory(network, card)
        return model

    trainer = Trainer(task, recipe.preset, cache, options, colorizer)
    if trainer.begin() and recipe.weights.with_suffix(".json").is_file():
        say(f"this training is finished ({trainer.step} steps): {recipe.weights}; give more --steps to go on")
        return recipe.weights
    if trainer.step:
        say(f"going on from step {trainer.step}")
    state = trainer.run(reporter)
    if accelerator.is_main_process:
        filled = _card(recipe, trainer, cache, prior.name, prior.kind)
        export(state, recipe.weights, filled, prior, cache.hashes[trainer.chosen])
    say(f"wrote {recipe.weights}, its card, figures and pictures")
    say(f"measure it: colorbench run --model {recipe.model} --weights {recipe.weights} --protocol auc")
    return recipe.weights


def _card(
    recipe: Recipe,
    trainer: Trainer | None = None,
    cache: PhotographCache | None = None,
    prior: str = "",
    kind: str = "",
) -> ModelCard:
    """What a reader of a table must know of the trained model."""
    preset = recipe.preset
    about = ModelCard(
        title=f"{recipe.name}, preset {recipe.preset_name} (width {preset.width:g})",
        working_size=preset.working_size,
        settings={"width": preset.width, "temperature": preset.temperature},
        preset=recipe.preset_name,
    )
    if trainer is None or cache is None:
        return about
    held = trainer.validation.journal.rows()[-1] if trainer.validation is not None else {}
    options = trainer.options
    facts = [
        f"{trainer.step} steps, seed {options.seed}, {options.dtype}, {trainer.seconds:.0f} seconds on "
        f"{trainer.accelerator.num_processes} x {trainer.accelerator.device.type}",
        f"prior: {kind}, of the training photographs ({recipe.name}-prior.npy)",
    ]
    departures = preset.departures(recipe.factory.presets[recipe.preset_name])
    if options.accumulate > 1:
        departures.append(f"{options.accumulate} micro-batches a step")
    facts.append("departures from the preset: " + ("; ".join(departures) or "none"))
    if trainer.history:
        facts.append("changed on the way: " + "; ".join(trainer.history))
    if options.initial is not None:
        facts.append(f"begun from the weights of {options.initial.name}")
    return about.model_copy(
        update={
            "training_data": _data(recipe.sources, cache, len(trainer.chosen), len(trainer.held)),
            "training_hashes": f"{recipe.name}-photographs.npy",
            "scores": {f"held_{key}": round(value, 4) for key, value in held.items() if key != "step"},
            "notes": ". ".join(facts) + ".",
        }
    )


def _data(sources: Sequence[Source], cache: PhotographCache, trained: int, held: int) -> str:
    names = []
    for i, source in enumerate(sources):
        drawn = f", drawn {source.often} times" if source.often > 1 else ""
        names.append(f"{source.name} ({int((cache.sources == i).sum())}{drawn})")
    skipped = f"; {len(cache.skipped)} unreadable files skipped" if cache.skipped else ""
    return f"{trained} photographs of {', '.join(names)}; {held} more held for choices{skipped}"


def name_sources(given: Sequence[tuple[Path, Dataset]], often: Mapping[str, int]) -> list[Source]:
    """Sets with short names that differ (as much of the end of the path as that takes), and how often each is drawn.

    Raises:
        UserError: for a folder given twice, or a name in ``often`` that is none or several of them.
    """
    paths = [path.resolve() for path, _ in given]
    if len(set(paths)) < len(paths):
        raise UserError("a folder of photographs is given twice", mend="to draw it more often give --often NAME=TIMES")
    names = [
        next(
            name
            for depth in range(1, len(path.parts) + 1)
            if sum(other.parts[-depth:] == path.parts[-depth:] for other in paths) == 1
            for name in ["/".join(path.parts[-depth:]).replace("//", "/")]
        )
        for path in paths
    ]
    times = dict.fromkeys(range(len(given)), 1)
    for name, count in often.items():
        matching = [i for i, path in enumerate(paths) if name == names[i] or Path(name).resolve() == path]
        matching = matching or [i for i, path in enumerate(paths) if path.name == name]
        if len(matching) != 1:
            what = f"--often {name} names {'none' if not matching else 'several'} of the --data folders"
            raise UserError(what, mend=f"name one of {', '.join(names)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise UserError(f"--often {name} must be a whole number from 1 on, got {count!r}")
        times[matching[0]] = count
    return [Source(name, dataset, times[i]) for i, (name, (_, dataset)) in enumerate(zip(names, given, strict=True))]


def _nothing(_: str) -> None:
    return
