"""The human study: real images and their colorizations, told apart by people.

colorbench study build --models zoo/cic,zoo/l2 --data images/ --participants 60 -o STUDY
colorbench study serve STUDY
colorbench study analyze STUDY
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protocols.human_study.protocol import HumanStudyProtocol

__all__ = ["HumanStudyProtocol"]


def __getattr__(name: str) -> Any:
    # The study's server and its command line need no torch, and the protocol does.
    if name == "HumanStudyProtocol":
        from protocols.human_study.protocol import HumanStudyProtocol

        return HumanStudyProtocol
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
