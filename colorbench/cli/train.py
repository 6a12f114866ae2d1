"""``colorbench train``: train a reference model from scratch, from folders of photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer


def train(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Model to train, such as zoo/cic.")],
    data: Annotated[list[Path], typer.Option("--data", "-d", help="Folder of photographs; repeatable.")],
    preset: Annotated[str, typer.Option(help="Settings; `colorbench show MODEL` lists them.")] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Steps in all (default: the preset's).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all cores).")] = None,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Go on from the last checkpoint.")] = True,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for checkpoints and weights.")] = Path(
        "trained"
    ),
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Train a reference model from scratch.

    Killed at any moment, the same command goes on where the last checkpoint stood. The weights and their card lie in
    OUTPUT at the end; measure them with: colorbench run --model MODEL --weights OUTPUT/NAME.safetensors
    """
    import torch

    from colorbench.cli.verbs import DEBUG, FINISHED
    from colorbench.data.sources import open_dataset
    from colorbench.errors import UserError
    from colorbench.models.card import ModelCard
    from colorbench.models.loading import model_factory
    from colorbench.training.export import count_prior, export
    from colorbench.training.photographs import build_cache
    from colorbench.training.trainer import Options, Trainer

    ctx.meta[DEBUG] = debug
    ctx.meta[FINISHED] = "the last checkpoint is kept; the same command goes on from it"
    factory = model_factory(model)
    presets = getattr(factory, "presets", None)
    if not presets or not hasattr(factory, "training"):
        raise UserError(f"{model} cannot be trained", mend="`colorbench list` shows the models; zoo/cic can")
    if preset not in presets:
        raise UserError(f"{model} has no preset {preset!r}", mend=f"choose from {', '.join(presets)}")
    settings = presets[preset]
    torch.set_num_threads(threads or torch.get_num_threads())
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    _say(f"reading photographs of {', '.join(map(str, data))}")
    cache = build_cache([open_dataset(folder) for folder in data], output / "photographs", settings.cache_size)
    if cache.skipped:
        _say(f"skipped {len(cache.skipped)} unreadable files; the first: {cache.skipped[0][0]}: {cache.skipped[0][1]}")
    _say(f"counting the prior of {len(cache.pixels)} photographs")
    prior = count_prior(cache.pixels, settings.neighbours, output.name)
    task = factory.training(settings, prior)
    count = steps or settings.steps
    trainer = Trainer(task, settings, cache, Options(output, count, seed=seed, device=chosen, resume=resume))
    state = trainer.run(_Progress())
    name = model.rsplit("/", 1)[-1].split(".")[0]
    card = ModelCard(
        title=f"{name}, preset {preset} (width {settings.width:g})",
        working_size=settings.working_size,
        settings={"width": settings.width},
        training_data=f"{len(trainer.chosen)} photographs of {', '.join(folder.name for folder in data)}",
        training_hashes=f"{name}-photographs.npy",
        preset=preset,
        notes=f"{count} steps, seed {seed}, {trainer.seconds / 60:.0f} minutes on {chosen}.",
    )
    path = output / f"{name}.safetensors"
    export(state, path, card, prior, cache.hashes[trainer.chosen])
    _say(f"wrote {path} and its card\nmeasure it: colorbench run --model {model} --weights {path} --protocol auc")


class _Progress:
    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None:
        """One line a report, on standard error."""
        words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        _say(f"step {step}/{steps}  {words}  {images_per_second:.0f} images/s")


def _say(line: str) -> None:
    typer.echo(line, err=True)
