"""The ``linear-probe`` protocol: what a colorizer's layers know about classes that it never heard of."""

from protocols.linear_probe.protocol import LinearProbeProtocol

__all__ = ["LinearProbeProtocol"]
