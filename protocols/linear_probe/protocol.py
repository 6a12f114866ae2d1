"""The ``linear-probe`` protocol: task generalization (paper, section 3.2, figure 6).

    colorbench run -m zoo/cic -p linear-probe --data train=imagenette/train --data test=imagenette/val
    colorbench run -m zoo/cic -p linear-probe@released --data train=ILSVRC2012/train --data test=ILSVRC2012/val

The colorizer is frozen. Each of its layers is pooled to about 9,000 numbers per image, which are standardized on the
training part; one linear classifier per layer then predicts the class. The baselines are the lightness itself at the
same size ("pixels"), and the same network before training, with several seeds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from colorbench.data import Dataset, contents_digest
from colorbench.errors import UserError
from colorbench.evaluation import (
    Derived,
    ProtocolContext,
    ProtocolResult,
    ProtocolSpec,
    location_of,
    write_result,
)
from colorbench.results import MetricSpec, Record
from protocols.label_alignment import aligned
from protocols.linear_probe.fit_probes import Choices, controls_of, probe_all
from protocols.linear_probe.probe_metrics import derived, summarize
from protocols.number_parameters import integer_parameter, number_parameter

ACCURACY = MetricSpec(
    name="top1",
    title="Probe, best layer",
    unit="%",
    higher_is_better=True,
    lower_bound=0,
    upper_bound=100,
    explanation="Accuracy of a linear classifier on one frozen layer of the network. The layer is selected on held-out "
    "training images, not on test data. Favors networks whose features distinguish classes, whatever their colors look "
    "like.",
)
STREAMED_BEYOND = 400_000_000
"""Training images times dims above which classifiers are trained from disk: 1.6 GB in float32."""
STREAMED_CLASSES = 100
PASSES = 28
"""Passes of the released code over its training set: 140,000 steps of 256."""


class LinearProbeProtocol:
    """The ``linear-probe`` protocol: one linear classifier per layer."""

    roles = ("train", "test")
    joint = False
    shares_work = True
    spec = ProtocolSpec(
        name="linear-probe",
        version=1,
        title="Linear probes of every block",
        parameters={
            "layers": "blocks",
            "preprocessing": "squash128",
            "dims": 9000,
            "pooling": "average",
            "classifier": "auto",
            "strengths": "0.01,0.1,1,10,100,1000",
            "validation": 0.1,
            "normalization": "fixed",
            "steps": "auto",
            "batch": 256,
            "learning_rate": 0.01,
            "weight_decay": 5e-4,
            "controls": "untrained,kmeans",
            "seeds": 5,
            "storage": "float32",
        },
        metrics=(ACCURACY,),
        category="Representation",
        headline="top1",
        headline_reason="it takes each network's best layer, and the test images have no part in that choice",
        presets={
            # The crops and mirrors of the released code need new features at every step: see docs/linear-probe.md.
            "linear-probe@cic2016": {
                "preprocessing": "center224",
                "pooling": "average",
                "classifier": "sgd",
                "normalization": "batch",
                "steps": 140_000,
                "validation": 0.02,
            },
            "linear-probe@released": {
                "preprocessing": "center224",
                "pooling": "bilinear",
                "classifier": "sgd",
                "normalization": "batch",
                "steps": 140_000,
                "validation": 0.02,
            },
        },
        choices={
            "pooling": ("average", "bilinear"),
            "classifier": ("auto", "logistic", "sgd"),
            "normalization": ("fixed", "batch"),
            "storage": ("float32", "float16"),
        },
        parameter_help={
            "layers": "blocks (the output of each block), all (every convolution too), or names separated by commas",
            "preprocessing": "from file to the input of the network: squash128, center224 ...",
            "dims": "approximate number of features per layer",
            "pooling": "average (equal areas, the ECCV paper) or bilinear (the released code)",
            "classifier": "logistic (scikit-learn, regularization selected on training images), sgd (from disk, all "
            "layers in one pass), or auto: logistic if it fits in memory",
            "strengths": "values of C for logistic; larger is less regularization",
            "validation": "share of the training images held out to select regularization and the best layer",
            "normalization": "of sgd: fixed (moments of the training part) or batch (batch normalization)",
            "steps": f"of sgd; auto: {PASSES} passes, as in the released code",
            "batch": "of sgd",
            "learning_rate": "of sgd; a tenth after 2/7 and 4/7 and 6/7 of the steps",
            "weight_decay": "of sgd",
            "controls": "tags of the same model to compare with; empty for none",
            "seeds": "seeds of the random weights of a control",
            "storage": "of the features on disk: float32, or float16 with half the size, which loses variations below "
            "a thousandth of a value, as in deep blocks of untrained networks",
        },
        needs=("HasFeatures",),
    )

    def evaluate(self, context: ProtocolContext) -> Record:
        """Probe one model and its controls.

        Raises:
            UserError: for invalid parameters or images.
            RunError: for features that are not finite.
        """
        train, test = aligned(context.data["train"], context.data["test"])
        choices = resolve(self.spec, context.parameters, train)
        identity = {
            **choices.identity,
            "training_images": contents_digest(train, context.cache, context.settings.workers),
            "classes": list(train.class_names or ()),
        }
        # Controls affect the content of the record, but not the model's own numbers.
        beside: dict[str, Any] = {name: choices.parameters[name] for name in ("controls", "seeds")}
        controls = controls_of(context.model, choices.parameters["controls"])
        prints = [context.fingerprint_of(control) for control in controls]
        beside["fingerprints"] = [[one.name, one.weights, one.code] for one in prints]
        position = location_of(context, self.spec, {**identity, **beside}, test)
        if (record := position.finished()) is not None:
            return record
        probed = probe_all(context, choices, train, test, controls)
        found = summarize(probed, test, ACCURACY)
        outcome = ProtocolResult(
            parameters=choices.parameters,
            identity=identity,
            preprocessing=choices.cut.preprocessing,
            rows=probed.rows,
            columns=found.columns,
            metrics=found.metrics,
            differences=found.differences,
            summary=found.summary,
            arrays=found.arrays,
            seconds=probed.seconds,
        )
        return write_result(context, self.spec, position, test, outcome)

    def derived(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Derived:
        """Compute the accuracy of every layer and of the best layer from the stored predictions."""
        return derived(record, arrays, ACCURACY)


def resolve(spec: ProtocolSpec, given: Mapping[str, Any], train: Dataset) -> Choices:
    """Resolve and check every parameter of the linear probe.

    Raises:
        UserError: naming the invalid one.
    """
    parameters = spec.resolved(given)
    if parameters["classifier"] == "auto":
        large = len(train) * integer_parameter(spec.name, "dims", parameters["dims"], 1) > STREAMED_BEYOND
        large = large or len(train.class_names or ()) > STREAMED_CLASSES
        parameters["classifier"] = "sgd" if large else "logistic"
    if parameters["classifier"] == "sgd" and parameters["steps"] == "auto":
        batch = integer_parameter(spec.name, "batch", parameters["batch"], 1)
        parameters["steps"] = str(max(1, math.ceil(PASSES * len(train) / batch)))
    if not 0 < number_parameter(spec.name, "validation", parameters["validation"], 0) < 1:
        raise UserError("linear-probe.validation must be between 0 and 1", hint="the default is 0.1")
    strengths = [text.strip() for text in parameters["strengths"].split(",") if text.strip()]
    if not strengths or not all(re.fullmatch(r"[0-9.]+(e[-+]?\d+)?", text) and float(text) > 0 for text in strengths):
        raise UserError("linear-probe.strengths must be positive numbers", hint="for example strengths=0.1,1,10")
    for name in ("learning_rate", "weight_decay"):
        number_parameter(spec.name, name, parameters[name], 0)
    for name in ("dims", "batch", "seeds"):
        integer_parameter(spec.name, name, parameters[name], 1)
    if parameters["classifier"] == "sgd":
        integer_parameter(spec.name, "steps", parameters["steps"], 1)
    return Choices(parameters)
