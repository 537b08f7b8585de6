"""A small actor runtime on trio: bounded mailboxes, supervision, activation, ordered shutdown.

Layers, each importing only those before it: errors, reply, messages, executor | restart, mailbox,
batch, observer, registry | address, ref, actor, idle | spec | turns | cell | group | system; and
supervisor, which needs only messages and restart. `actors.testing` stands on this facade and is not
part of it.
"""

from __future__ import annotations

from actors.actor import Actor as Actor
from actors.actor import AnyActor as AnyActor
from actors.actor import AsyncActor as AsyncActor
from actors.actor import Context as Context
from actors.address import ActorStatistics as ActorStatistics
from actors.address import Monitor as Monitor
from actors.batch import Batch as Batch
from actors.errors import ActorDied as ActorDied
from actors.errors import ActorError as ActorError
from actors.errors import ActorUnavailable as ActorUnavailable
from actors.errors import AskTimeout as AskTimeout
from actors.errors import MailboxFull as MailboxFull
from actors.errors import NameTaken as NameTaken
from actors.errors import RestartLimit as RestartLimit
from actors.errors import StartFailed as StartFailed
from actors.errors import TooManyActors as TooManyActors
from actors.group import ActorGroup as ActorGroup
from actors.group import GroupStatistics as GroupStatistics
from actors.mailbox import Mailbox as Mailbox
from actors.mailbox_spec import MailboxSpec as MailboxSpec
from actors.mailbox_spec import MailboxStatistics as MailboxStatistics
from actors.mailbox_spec import Overflow as Overflow
from actors.messages import ChildSpec as ChildSpec
from actors.messages import Crashed as Crashed
from actors.messages import Down as Down
from actors.messages import ExitReason as ExitReason
from actors.messages import Normal as Normal
from actors.messages import Restart as Restart
from actors.messages import Shutdown as Shutdown
from actors.messages import StopRequest as StopRequest
from actors.observer import TurnObserver as TurnObserver
from actors.ref import Ref as Ref
from actors.reply import ReplyTo as ReplyTo
from actors.restart import RestartPolicy as RestartPolicy
from actors.restart import Strategy as Strategy
from actors.supervisor import ChildStatistics as ChildStatistics
from actors.supervisor import Supervisor as Supervisor
from actors.system import ActorSystem as ActorSystem
from actors.system import ShutdownReport as ShutdownReport
from actors.system import SystemStatistics as SystemStatistics
from actors.system import open_system as open_system

__all__ = [
    "Actor",
    "ActorDied",
    "ActorError",
    "ActorGroup",
    "ActorStatistics",
    "ActorSystem",
    "ActorUnavailable",
    "AnyActor",
    "AskTimeout",
    "AsyncActor",
    "Batch",
    "ChildSpec",
    "ChildStatistics",
    "Context",
    "Crashed",
    "Down",
    "ExitReason",
    "GroupStatistics",
    "Mailbox",
    "MailboxFull",
    "MailboxSpec",
    "MailboxStatistics",
    "Monitor",
    "NameTaken",
    "Normal",
    "Overflow",
    "Ref",
    "ReplyTo",
    "Restart",
    "RestartLimit",
    "RestartPolicy",
    "Shutdown",
    "ShutdownReport",
    "StartFailed",
    "StopRequest",
    "Strategy",
    "Supervisor",
    "SystemStatistics",
    "TooManyActors",
    "TurnObserver",
    "open_system",
]
