"""``colorbench train``: train a reference model on folders of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from colorbench.cli.shared_options import Debug, Figures, key_values


def train(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Model to train, such as zoo/cic.")],
    data: Annotated[
        list[str],
        typer.Option("--data", "-d", metavar="DIR", help="Images: a folder, tar or Parquet files; repeatable."),
    ],
    preset: Annotated[
        str, typer.Option(metavar="NAME", help="Preset of settings; see `colorbench show MODEL`.")
    ] = "small",
    steps: Annotated[int | None, typer.Option(min=1, help="Total steps (default: the preset's).")] = None,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", "-b", min=1, help="Batch size over all processes and micro-batches."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", metavar="KEY=VALUE", help="Override a setting of the preset, such as learning_rate=1e-3."
        ),
    ] = None,
    repeats: Annotated[
        list[str] | None,
        typer.Option("--repeat", metavar="DIR=TIMES", help="Oversample one --data folder, such as DIR=5."),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option("--init-from", metavar="FILE", help="Initialize from these weights (same trunk and width)."),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")] = "float32",
    accumulate: Annotated[int, typer.Option(min=1, help="Gradient accumulation: micro-batches per step.")] = 1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="`cpu`, `cuda`, `cuda:1`, `mps` or `auto`.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all cores).")] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Threads that decode images.")] = 2,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Validation interval in steps (default: 20 validations).")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Resume from the last checkpoint.")] = True,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="tensorboard|wandb",
            help="Tracker that also logs the training, below OUTPUT; repeatable.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for checkpoints, figures and weights.")
    ] = Path("trained"),
    figures: Figures = None,
    debug: Debug = False,
) -> None:
    """Train a reference model from scratch.

    Interrupted trainings resume from the last checkpoint. Writes the weights and the model card to OUTPUT; evaluate
    them with: colorbench run --model 'MODEL[weights=OUTPUT/NAME.safetensors]'

    Several GPUs or machines: torchrun --nproc-per-node=4 -m colorbench train ..., or srun colorbench train ...
    """
    import sys
    from typing import Any

    import torch
    from rich.console import Console

    from colorbench.cli.interruption import tell_when_interrupted
    from colorbench.cli.progress_display import TrainingProgressBar
    from colorbench.data import open_dataset
    from colorbench.errors import UserError
    from colorbench.models import model_factory
    from colorbench.processes import current_launch
    from colorbench.storage import check_writable
    from colorbench.training import TrainerOptions
    from colorbench.training.training_run import TrainingConfig, name_sources
    from colorbench.training.training_run import train as train_model

    again = "the same command" if resume else "the same command without --no-resume"
    tell_when_interrupted(f"run {again} to resume from the last checkpoint, one every {checkpoint_every} steps")
    factory = model_factory(model)
    presets = getattr(factory, "presets", None)
    if not presets or not hasattr(factory, "training"):
        raise UserError(f"{model} cannot be trained", hint="`colorbench list` shows the models; zoo/cic can")
    if preset not in presets:
        raise UserError(f"{model} has no preset {preset!r}", hint=f"choose from {', '.join(presets)}")
    changes: dict[str, Any] = key_values(param or [], "--param")
    changes |= {key: value for key, value in (("steps", steps), ("batch_size", batch_size)) if value is not None}
    torch.set_num_threads(threads or torch.get_num_threads())
    if device == "auto":
        mps = torch.backends.mps.is_available()
        device = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    if figures is not None:
        check_writable(figures, "--figures")
    settings = presets[preset].changed(changes) if changes else presets[preset]
    config = TrainingConfig(
        model,
        factory,
        preset,
        settings,
        name_sources(
            [(Path(one), open_dataset(one if "://" in one else Path(one))) for one in data],
            key_values(repeats or [], "--repeat"),
        ),
        TrainerOptions(
            output,
            seed=seed,
            device=device,
            dtype=dtype,  # type: ignore[arg-type]  # checked there, with an error that names the choices
            accumulate=accumulate,
            compile=compile,
            resume=resume,
            checkpoint_every=checkpoint_every,
            log_every=min(100, -(-settings.steps // 20)),
            validate_every=validate_every,
            track=tuple(track or ()),
            initial=initial or getattr(factory, "initial", None),
        ),
        workers,
        figures,
    )
    check_writable(output)
    with TrainingProgressBar(Console(file=sys.stderr), settings.steps, quiet=current_launch().rank != 0) as progress:
        train_model(config, progress)
