"""PURE: a message as it is now: its event, with everything that was done to it since."""

from typing import cast

import msgspec

from chat.protocol import Envelope
from storage.model import FoldedMessage


def fold_event(event: Envelope, folded: FoldedMessage) -> Envelope:
    """A message's envelope with its present (docs/protocol.md 4).

    Args:
        event: as it was broadcast.
        folded: its present.
    """
    envelope = dict(event)
    envelope["version"] = folded.version
    if folded.delete_seq is not None:
        for field in ("mentions", "here"):
            envelope.pop(field, None)
        envelope["body"] = None
        envelope["deleted"] = True
    elif folded.edited_at_ms is not None:
        envelope["body"] = folded.body
        envelope["edited"] = folded.edited_at_ms
        data = cast("dict[str, object]", msgspec.json.decode(folded.edit_data or "{}"))
        for field in ("mentions", "here"):
            envelope.pop(field, None)
            if field in data:
                envelope[field] = data[field]
    if folded.reactions:
        envelope["reactions"] = [
            {"emoji": emoji, "count": total} | ({} if own_seq is None else {"mine": True})
            for emoji, total, own_seq in folded.reactions
        ]
    if folded.thread_count:
        envelope["thread_count"] = folded.thread_count
        envelope["thread_last"] = folded.thread_last
    if folded.pin_seq is not None:
        envelope["pinned"] = folded.pin_seq
    return envelope
