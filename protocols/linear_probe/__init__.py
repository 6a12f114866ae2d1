"""The ``linear-probe`` protocol: linear classifiers on the frozen layers of a colorizer."""

from protocols.linear_probe.protocol import LinearProbeProtocol

__all__ = ["LinearProbeProtocol"]
