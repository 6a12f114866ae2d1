"""Model cards and provenance of records as (heading, text), for the model and record sections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from colorbench.models import hashed_part
from colorbench.results import DatasetPart, Record
from leaderboards.badges import badges_of
from leaderboards.board_schema import Source
from leaderboards.collected_records import Entry
from leaderboards.untrusted_text import clean, count, counted, stated

Facts = tuple[tuple[str, str], ...]


def card_facts(record: Record, sets: Iterable[DatasetPart]) -> Facts:
    """Return the facts about a model."""
    model, card = record.model, record.model.card
    return _filled(
        ("role", card.role_name),
        ("paper", card.paper),
        ("license", card.license),
        ("parameters", None if card.parameters is None else count(card.parameters)),
        ("internal resolution", None if card.working_size is None else f"{card.working_size} px"),
        ("pretrained parts", ", ".join(part.name for part in card.pretrained)),
        ("trained on", card.training_data),
        ("training preset", card.preset),
        ("training overlap", _overlap(sets)),
        (f"{hashed_part(model.name)}, sha256", model.weights_sha256),
        ("decoding", _pairs(model.decoding)),
        ("settings", _pairs(card.settings)),
        ("package", " ".join(word for word in (model.package, model.package_version) if word)),
        ("reported by the authors", _pairs(card.scores)),
        ("notes", card.notes),
    )


def _overlap(sets: Iterable[DatasetPart]) -> str:
    """Return how many of the evaluated images are in the training set, by content, for each dataset."""
    stated_of = {}
    for data in sets:
        known = (
            "unknown" if data.overlap is None else f"{data.overlap} of {data.n_evaluated} evaluated images, by content"
        )
        stated_of[data.fingerprint] = (clean(data.name, 60), known)
    if len({known for _, known in stated_of.values()}) == 1:
        return next(iter(stated_of.values()))[1]
    return "; ".join(f"{name}: {known}" for name, known in stated_of.values())


def source_of(group: int, entry: Entry) -> Source:
    """Return the facts about a model in one record of its row."""
    record, run, made = entry.record, entry.record.execution, entry.record.provenance
    stored = hashed_part(record.model.name) == "files"  # their speed is that of reading them, not of a model
    commit = None
    if made.git_commit:
        commit = f"{made.git_commit[:12]}{', with uncommitted changes' if made.git_dirty else ''}"
    facts = _filled(
        ("record, sha256", entry.sha256),
        ("key", record.key),
        ("rows, sha256", record.files.rows),
        ("the same result on", "; ".join(entry.repeats)),
        ("evaluated", made.time),
        ("colorbench", made.colorbench_version),
        ("commit", commit),
        ("device", f"{run.device}, {run.dtype}{', deterministic' if run.deterministic else ''}"),
        ("seed", str(run.seed)),
        (
            "batches",
            f"{counted(run.batch_size, 'image')}; {counted(run.threads, 'thread')}, {counted(run.workers, 'decoder')}, "
            f"{counted(run.processes, 'process', 'processes')}",
        ),
        (
            "speed of reading" if stored else "speed",
            f"{run.images_per_second:.4g} images/s and thread, {run.seconds:.4g} s of all threads",
        ),
        ("python", f"{made.python}, {made.platform}"),
        ("packages", ", ".join(f"{name} {version}" for name, version in sorted(made.packages.items()))),
        ("command", " ".join(made.command)),
    )
    checks = entry.verification.checks if entry.verification else ()
    return Source(
        group=group,
        key=clean(record.key, 64),
        record_sha256=entry.sha256,
        badges=badges_of(entry),
        facts=facts,
        notes=tuple(clean(note, 400) for note in record.notes),
        images_per_second=0.0 if stored else run.images_per_second,
        device=clean(run.device, 80),
        checks=tuple((clean(one.name, 40), one.outcome, clean(one.detail, 300)) for one in checks),
    )


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{clean(key, 60)} = {stated(value, 80)}" for key, value in values.items())


def _filled(*facts: tuple[str, str | None]) -> Facts:
    return tuple((name, shown) for name, value in facts if value and (shown := clean(value)))
