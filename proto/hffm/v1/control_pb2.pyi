from hffm.v1 import membership_pb2 as _membership_pb2
from hffm.v1 import payload_pb2 as _payload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("run_id", "state", "error", "message", "rounds_done", "nodes")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_DONE_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    state: str
    error: str
    message: str
    rounds_done: int
    nodes: _containers.RepeatedCompositeFieldContainer[_membership_pb2.NodeStatus]
    def __init__(self, run_id: _Optional[str] = ..., state: _Optional[str] = ..., error: _Optional[str] = ..., message: _Optional[str] = ..., rounds_done: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[_membership_pb2.NodeStatus, _Mapping]]] = ...) -> None: ...

class StartRoundsRequest(_message.Message):
    __slots__ = ("count", "circulation", "reason")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CIRCULATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    count: int
    circulation: _membership_pb2.Circulation
    reason: str
    def __init__(self, count: _Optional[int] = ..., circulation: _Optional[_Union[_membership_pb2.Circulation, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class StartRoundsReply(_message.Message):
    __slots__ = ("first_round",)
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    first_round: int
    def __init__(self, first_round: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("next",)
    NEXT_FIELD_NUMBER: _ClassVar[int]
    next: int
    def __init__(self, next: _Optional[int] = ...) -> None: ...

class WatchReply(_message.Message):
    __slots__ = ("sequence", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    event: str
    def __init__(self, sequence: _Optional[int] = ..., event: _Optional[str] = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SnapshotReply(_message.Message):
    __slots__ = ("manifest", "chunk")
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    manifest: _payload_pb2.Manifest
    chunk: bytes
    def __init__(self, manifest: _Optional[_Union[_payload_pb2.Manifest, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class StopReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
