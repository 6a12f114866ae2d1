"""The human study: participants distinguish real images from their colorizations.

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
    # The server and the command line of a study do not need torch, but the protocol does.
    if name == "HumanStudyProtocol":
        from protocols.human_study.protocol import HumanStudyProtocol

        return HumanStudyProtocol
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
