"""Errors <-> gRPC statuses, in one place.

A refusal travels as a status code, the message as details, and the class's name in the trailing metadata, so
that the other side raises the same class.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import grpc

from node import errors
from node.errors import HffmError

Context: TypeAlias = Any  # grpc.aio.ServicerContext: grpcio ships no types

_ERROR_KEY = "hffm-error"
_GOODBYE_S = 5.0
_LINE = 600  # characters: trailing metadata have a limit of their own
_BY_NAME: dict[str, type[HffmError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HffmError)
}
_BY_CODE: dict[grpc.StatusCode, type[HffmError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.UnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.TransferStalled,
    grpc.StatusCode.CANCELLED: errors.UnreachableError,
    grpc.StatusCode.UNIMPLEMENTED: errors.ProtocolError,
}


@asynccontextmanager
async def answering(context: Context) -> AsyncIterator[None]:
    """Ends the call with the status of an error raised inside."""
    try:
        yield
    except HffmError as error:
        code = grpc.StatusCode[error.grpc_status]
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):  # a peer that does not read is not waited for
                await context.abort(code, one_line(str(error)), ((_ERROR_KEY, type(error).__name__),))


def one_line(text: str) -> str:
    """Fit for a log and for the status of a call, whatever the other side has put into it."""
    shown = text[:_LINE]
    return "".join(c if c.isprintable() else " " for c in shown) + ("..." if len(text) > _LINE else "")


def is_broken_connection(error: grpc.aio.AioRpcError) -> bool:
    """Whether the transport failed, rather than the other side refusing: worth another attempt."""
    if _class_name(error) is not None:
        return False
    broken = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)
    # grpc.aio's own words for a write that failed because the other side had ended the call.
    lost_write = error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"
    return error.code() in broken or lost_write


def to_error(error: grpc.aio.AioRpcError, target: str) -> HffmError:
    """What the status means here; `target` says who answered, or did not."""
    name = _class_name(error)
    if name is not None:
        return error_named(name, f"{error.details()} (said by {target})")
    kind = _BY_CODE.get(error.code(), errors.PeerError)
    return kind(f"{target}: {error.code().name}: {error.details()}")


def error_named(name: str, message: str) -> HffmError:
    """An error that was raised in another process."""
    return _BY_NAME.get(name, errors.PeerError)(message)


def _class_name(error: grpc.aio.AioRpcError) -> str | None:
    for key, value in error.trailing_metadata() or ():
        if key == _ERROR_KEY:
            return value.decode() if isinstance(value, bytes) else value
    return None


async def cut_off(task: asyncio.Future[None]) -> None:
    """Ends a helper task of a call; what it raised because the call had ended is of no interest."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and isinstance(error := task.exception(), HffmError):
        raise error
