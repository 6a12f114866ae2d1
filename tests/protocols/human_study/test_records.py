"""Records of a study whose images did not all get a response: they tell of the rows that are there, and verify."""

from pathlib import Path

import numpy as np
import pandas
import pytest

from colorbench.results import load_run, read_record
from colorbench.storage import content_fingerprint
from colorbench.verification import verify
from protocols.human_study.analysis.fooling_rates import analyze
from protocols.human_study.analysis.response_reading import study_data_of
from protocols.human_study.analysis.study_records import write_records
from tests.support.study_responses import METHODS, SENTINEL, make_design, make_study_data

RATES = {"zoo/cic.small": 0.35, "zoo/l2": 0.2, "zoo/constant": 0.06, SENTINEL: 0.1}


@pytest.mark.parametrize(("participants", "images"), [(12, 200), (12, 40), (4, 200)])
def test_records_hold_where_few_images_have_a_response(tmp_path: Path, participants: int, images: int) -> None:
    design = make_design(participants=participants, images=images)
    table = make_study_data(design, RATES, seed=2)
    found = analyze(study_data_of(design, table, pandas.DataFrame(), "here"), resamples=100)
    positions = write_records(found, tmp_path, tmp_path)
    assert len(positions) == len(METHODS) + 1
    fingerprints = set()
    for position, row in zip(positions, found.result.methods, strict=True):
        record, run = read_record(position), load_run(position)
        fingerprints.add(record.dataset.fingerprint)
        assert record.dataset.fingerprint == content_fingerprint(run.sha256s)
        assert record.dataset.n == record.dataset.n_evaluated == len(run.rows) == images
        statistics = run.statistics("fooling_rate")
        assert record.metrics[0].n == row.rate.images == int(np.isfinite(statistics[:, 1]).sum())
        checks = {check.name: check.outcome for check in verify(position).checks}
        assert {checks[name] for name in ("record", "rows", "dataset")} == {"holds"}, checks
    assert len(fingerprints) == 1
