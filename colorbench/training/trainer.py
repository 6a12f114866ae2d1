"""``Trainer``: the training loop with checkpoints; an interrupted training resumes from the last checkpoint.

Everything that determines the next step is in the checkpoint (weights, optimizer, moving average) or depends on seed
and step (images and crops), so that a resumed training gives the same weights as an uninterrupted one.

With several processes (``torchrun``), the batch of a step is split into equal parts, one per process and micro-batch.
The split influences only rounding and the statistics by which BatchNorm normalizes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed
from torch import Tensor, nn
from torch.backends import cudnn
from torch.optim.swa_utils import update_bn

from colorbench.color import rgb_to_lab
from colorbench.errors import RunError, UserError
from colorbench.training.accelerator import Dtype, Tracking, make_accelerator
from colorbench.training.checkpoint import load_checkpoint, save_checkpoint
from colorbench.training.copied_weights import copy_weights
from colorbench.training.image_cache import MINIMUM_HELD, ImageCache, crop_batch, cut_rgb
from colorbench.training.journal import TABLES, Journal, restore_tables, table_texts
from colorbench.training.learning_rate_schedule import learning_rate
from colorbench.training.optimizer import make_optimizer, moving_average
from colorbench.training.training_batches import Feed, Order
from colorbench.training.training_preset import TrainingPreset
from colorbench.training.validation import MakeColorizer, Validation

INITIAL_IMAGES = 48
MINIMUM_IMAGES = 64
CHANGEABLE = frozenset({"steps", "learning_rate", "drops", "warmup", "decay", "clip"})
"""Settings that may change when a training is resumed; the card then states from which step."""
STATISTICS_STEPS = 16
"""Number of last steps whose batches are used for BatchNorm's statistics of the averaged weights."""
CHECK_EVERY = 20
"""Steps between checks for NaN and infinity, on devices where a check must wait for the computation."""


def too_few_images(count: int, validation: int) -> UserError:
    """Return the error for too few images to train on, of which some are the validation split."""
    what = f"{count} images are too few to train on, with a validation split of {validation}"
    return UserError(what, hint=f"give at least {MINIMUM_IMAGES + max(validation, MINIMUM_HELD)} images")


class TrainingListener(Protocol):
    """Interface of a training listener; only the first of several processes reports."""

    def advanced(self, step: int, steps: int) -> None:
        """Handle the end of a step."""
        ...

    def stepped(self, step: int, steps: int, figures: Mapping[str, float], images_per_second: float) -> None:
        """Handle the means since the last call; called every ``log_every`` steps."""
        ...

    def validated(self, step: int, figures: Mapping[str, float]) -> None:
        """Handle the metrics of the validation images."""
        ...


@dataclass(frozen=True)
class TrainerOptions:
    """Options of a training that influence its result only by rounding."""

    folder: Path
    """Folder of checkpoints, logs and images."""
    seed: int = 0
    device: str = "cpu"
    dtype: Dtype = "float32"
    accumulate: int = 1
    """Number of micro-batches into which a process splits its part of a step."""
    compile: bool = False
    resume: bool = True
    checkpoint_every: int = 500
    log_every: int = 100
    validate_every: int | None = None
    """Steps between validations; by default there are 20 validations."""
    repeats: Mapping[int, int] = field(default_factory=dict)
    """Dataset index -> number of times that its images are drawn per round, if not once."""
    initial: Path | None = None
    """Initial weights, from a network with the same trunk."""
    track: Sequence[str] = ()
    """Trackers of the training: ``tensorboard``, ``wandb``."""


class Trainer:
    """One training, in one or several processes."""

    def __init__(
        self,
        task: nn.Module,
        preset: TrainingPreset,
        cache: ImageCache,
        options: TrainerOptions,
        make_colorizer: MakeColorizer | None = None,
    ) -> None:
        """Prepare a training.

        Raises:
            UserError: for too few images, a batch that cannot be split evenly, or a dtype the device has not.
        """
        self.preset, self.cache, self.options = preset, cache, options
        self.chosen, self.validation_indices = cache.split()
        if len(self.chosen) < MINIMUM_IMAGES:
            raise too_few_images(len(self.chosen) + len(self.validation_indices), len(self.validation_indices))
        self.bag = cache.drawn(options.repeats)
        torch.manual_seed(options.seed)
        self.accelerator = make_accelerator(options.device, options.dtype, options.track, options.folder)
        self.tracking = Tracking(self.accelerator)
        self.parts = self._parts()
        self.step, self.seconds = 0, 0.0
        self.history: list[str] = []
        """Changes of settings when the training was resumed."""
        self.remarks: list[str] = []
        """Lines for the user about damaged files."""
        module: Any = task  # both a Task and a Module; Python has no intersection types
        self.task = module
        self.model: Any = None
        self._to_device()
        self.optimizer: Any = make_optimizer(module, preset)
        self.average = moving_average(module.network, preset.average)
        self.order = Order(self.bag, preset, preset.steps, options.seed)
        self.log = Journal(options.folder / TABLES[0])
        self.validation = (
            Validation(task, preset, cache, options.folder, make_colorizer)
            if self.accelerator.is_main_process
            else None
        )

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file."""
        return self.options.folder / "checkpoint.pt"

    def begin(self) -> bool:
        """Restore the last checkpoint, or initialize and write the first one; return whether all steps are done.

        Raises:
            UserError: for a checkpoint with other settings or images, or one that may not be resumed.
        """
        exists = self.checkpoint.exists()
        if exists and not self.options.resume:
            where = str(self.options.folder)
            raise UserError("a training run already exists", where=where, hint="resume it, or use another -o")
        scaler: Any = None
        if exists:
            scaler = self._restore()
        else:
            self._initialize()
        self.accelerator.wait_for_everyone()  # all processes have checked for a checkpoint
        if self.options.compile:
            self.task.network.compile()
        # Wrapped last, so that every process gets the weights of the first. BatchNorm's statistics are not included,
        # since they are not to be sent at every step.
        self.model, self.optimizer = self.accelerator.prepare(self.task, self.optimizer)
        if self.accelerator.num_processes > 1:
            for buffer in self.task.buffers():
                torch.distributed.broadcast(buffer, 0)
        if scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(scaler)
        if not exists:
            self._save()
        return self.step >= self.preset.steps

    def run(self, listener: TrainingListener) -> dict[str, Tensor]:
        """Train to the end; return the averaged weights of the network.

        Raises:
            RunError: for lack of memory, a loss or gradient that is not finite, or a full disk; the last good
                checkpoint is kept.
        """
        if self.model is None:
            self.begin()
        self.tracking.start({**self.preset.model_dump(), "seed": self.options.seed, "dtype": self.options.dtype})
        feed = Feed(
            self.cache.pixels,
            self.order,
            parts=self.parts,
            device=self.accelerator.device,
        )
        try:
            with cudnn.flags(enabled=True, deterministic=True, allow_tf32=cudnn.allow_tf32):  # the same bits again
                self._run(feed, listener)
        finally:
            feed.close()
            self.tracking.end()
        self.accelerator.wait_for_everyone()
        return self._averaged()

    def _run(self, feed: Feed, listener: TrainingListener) -> None:
        steps, options = self.preset.steps, self.options
        validate_every = options.validate_every or max(1, steps // 20)
        sums: dict[str, Tensor] = {}
        count, seen, waited, since = 0, 0, 0.0, time.perf_counter()
        self._finite = torch.ones((), dtype=torch.bool, device=self.accelerator.device)
        started = time.perf_counter() - self.seconds
        while self.step < steps:
            with self._memory_named():
                figures = self._advance(feed)
            for name, value in figures.items():
                sums[name] = sums[name] + value if name in sums else value
            count, seen = count + 1, seen + self.preset.view_at(self.step - 1, steps).batch_size
            if self.accelerator.is_main_process:
                listener.advanced(self.step, steps)
            last = self.step == steps
            due = [last or self.step % n == 0 for n in (options.log_every, validate_every, options.checkpoint_every)]
            if any(due):
                self._check()
                self.seconds = time.perf_counter() - started
            if due[0] or due[1]:  # so that a validation always has values of the training with it
                means = self._means(sums, count)
                elapsed = time.perf_counter() - since
                speed = seen / elapsed
                if self.accelerator.is_main_process:
                    rate = learning_rate(self.preset, self.step - 1, steps)
                    share = (feed.waited - waited) / elapsed
                    row = {"step": float(self.step), **means, "learning_rate": rate}
                    row |= {"images_per_second": speed, "waiting": share}
                    self.log.append(row)
                    self.tracking.log("training", row, self.step)
                    listener.stepped(self.step, steps, means, speed)
            if due[1] and self.validation is not None:
                scores = self.validation.run(self.step, self._averaged(), self.accelerator.device)
                self.validation.draw_curve(self.log)
                self.tracking.log("validation", scores, self.step)
                listener.validated(self.step, scores)
            if due[2]:
                self._save()
            if due[0] or due[1]:
                sums, count, seen, waited, since = {}, 0, 0, feed.waited, time.perf_counter()

    def _advance(self, feed: Feed) -> dict[str, Tensor]:
        """Run one step; return the mean metrics of this process's part of the batch."""
        batches = feed.take(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.preset, self.step, self.preset.steps)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for number, lab in enumerate(batches):
            last = number == len(batches) - 1
            # Gradients are exchanged between processes once per step.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, figures = self.model(lab[:, :1], lab[:, 1:])
                self.accelerator.backward(loss / len(batches))
            for name, value in figures.items():
                sums[name] = sums.get(name, 0) + value / len(batches)
        self._step_finite(sums["loss"])
        self.optimizer.step()
        self.average.update_parameters(self.task.network)
        self.step += 1
        return sums

    def _averaged(self) -> dict[str, Tensor]:
        """Return the averaged weights, with BatchNorm's statistics for these weights over the last batches.

        In training, a micro-batch is normalized by its own statistics, so running statistics are not used. They are
        computed when a trained network is needed, and do not depend on the split of batches.
        """
        network = self.average.module
        update_bn(self._last_batches(), network, self.accelerator.device)
        return dict(network.state_dict())

    def _last_batches(self) -> Iterator[Tensor]:
        """Yield the lightness of the last batches, (n, 1, size, size) each, in parts that fit into memory."""
        of = self.parts[0][1]
        for step in range(max(0, self.step - STATISTICS_STEPS), self.step):
            view, indices = self.preset.view_at(step, self.preset.steps), self.order.at(step)
            size = len(indices) // of
            for number in range(of):
                part = slice(number * size, (number + 1) * size)
                rgb = cut_rgb(self.cache.pixels, indices, view, self.order.crops(step), part)
                yield rgb_to_lab(rgb)[:, :1].contiguous(memory_format=torch.channels_last)

    def _step_finite(self, loss: Tensor) -> None:
        """Clip the gradient, and note whether gradient and loss are finite; checked later if that requires waiting."""
        parameters = [p for p in self.task.parameters() if p.grad is not None]
        if self.preset.clip is not None:
            norm = self.accelerator.clip_grad_norm_(parameters, self.preset.clip)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # In float16 a gradient may overflow: the scaler then skips the step and lowers the scale.
        watched = loss if self.options.dtype == "float16" else norm + loss
        self._finite = self._finite & torch.isfinite(watched)
        if self.accelerator.device.type == "cpu" or self.step % CHECK_EVERY == 0:
            self._check()

    def _check(self) -> None:
        if not bool(self._finite):
            raise RunError(
                f"the loss or its gradient is not finite at step {self.step}; the previous checkpoint is intact",
                where=str(self.checkpoint),
                hint="run the same command with a lower learning rate: --param learning_rate=...",
            )

    @contextlib.contextmanager
    def _memory_named(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            # Only GPUs have a special exception; the CPU's allocator raises a plain RuntimeError.
            message = ("can't allocate memory", "not enough memory", "out of memory")
            named = isinstance(error, torch.OutOfMemoryError | MemoryError)
            if not named and not any(word in str(error).lower() for word in message):
                raise
            view = self.preset.view_at(self.step, self.preset.steps)
            n = view.batch_size // self.parts[0][1]
            what = f"out of memory at step {self.step} with {n} images of {view.size} pixels at once"
            hint = (
                f"run the same command with --accumulate {2 * self.options.accumulate}, or start again with a smaller "
                "--batch-size; the last checkpoint is intact"
            )
            raise RunError(what, where=str(self.checkpoint), hint=hint) from error

    def _means(self, sums: Mapping[str, Tensor], count: int) -> dict[str, float]:
        """Return means over steps and processes."""
        means = torch.stack([value.float() for value in sums.values()]) / count
        return dict(zip(sums, self.accelerator.reduce(means, "mean").tolist(), strict=True))

    def _parts(self) -> list[tuple[int, int]]:
        of = self.accelerator.num_processes * self.options.accumulate
        for view in self.preset.views:
            if view.batch_size % of:
                what = f"a batch of {view.batch_size} images cannot be split into {of} equal parts"
                split = f"{self.accelerator.num_processes} processes x {self.options.accumulate} micro-batches"
                raise UserError(what, where=split, hint="choose another --batch-size or --accumulate")
        first = self.accelerator.process_index * self.options.accumulate
        return [(first + number, of) for number in range(self.options.accumulate)]

    def _to_device(self) -> None:
        self.task.to(self.accelerator.device).to(memory_format=torch.channels_last)

    def _initialize(self) -> None:
        if self.accelerator.is_main_process:  # the other processes get its weights
            restore_tables(self.options.folder, {}, self.remarks.append)
            rng = np.random.default_rng([self.options.seed, 0])
            picked = rng.choice(self.chosen, min(INITIAL_IMAGES, len(self.chosen)), replace=False)
            lab = crop_batch(self.cache.pixels, picked, self.preset.views[0], rng)
            self.task.to("cpu")
            self.task.initialize(lab[:, :1].contiguous(), self.options.seed)
            if self.options.initial is not None:
                copy_weights(self.task.network, self.options.initial)
        self._to_device()

    def _identity(self) -> dict[str, Any]:
        return {
            "settings": self.preset.settings(),
            "images": self.cache.fingerprint(self.bag),
            "seed": self.options.seed,
        }

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        state = {
            **self._identity(),
            "network": self.task.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.average.state_dict(),
            "random": torch.get_rng_state(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler is not None else None,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "tables": table_texts(self.options.folder),
        }
        save_checkpoint(state, self.checkpoint)

    def _restore(self) -> Any:
        state = load_checkpoint(self.checkpoint)
        candidate, where = self._identity(), str(self.checkpoint)
        then = self.preset.model_validate({"description": "", **state["settings"]})
        changed = {name for name, value in candidate["settings"].items() if value != state["settings"][name]}
        if changed - CHANGEABLE:
            what = f"the checkpoint has other settings: {'; '.join(self.preset.departures(then))}"
            raise UserError(what, where=where, hint="use the same settings, or another -o")
        for name in ("images", "seed"):
            if candidate[name] != state[name]:
                hint = "use the same, or another -o"
                raise UserError(f"the checkpoint was made with other {name}", where=where, hint=hint)
        self.step, self.seconds, self.history = state["step"], state["seconds"], list(state["history"])
        if changed:
            self.history += [f"from step {self.step}: {change}" for change in self.preset.departures(then)]
        self.task.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["averaged"])
        torch.set_rng_state(state["random"])
        if self.accelerator.is_main_process:
            restore_tables(self.options.folder, state["tables"], self.remarks.append)
        return state["scaler"]
