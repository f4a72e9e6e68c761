from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChildMessage(_message.Message):
    __slots__ = ("hello", "ready", "heartbeat", "done", "events", "failed", "trouble")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    ready: Ready
    heartbeat: Heartbeat
    done: Done
    events: EventBatch
    failed: Failed
    trouble: Trouble
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., ready: _Optional[_Union[Ready, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., events: _Optional[_Union[EventBatch, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ..., trouble: _Optional[_Union[Trouble, _Mapping]] = ...) -> None: ...

class ParentMessage(_message.Message):
    __slots__ = ("welcome", "run", "install", "heartbeat", "collect", "stop", "regroup", "events_kept", "number")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    INSTALL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    COLLECT_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    REGROUP_FIELD_NUMBER: _ClassVar[int]
    EVENTS_KEPT_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    run: Run
    install: Install
    heartbeat: Heartbeat
    collect: Collect
    stop: Stop
    regroup: Regroup
    events_kept: EventsKept
    number: int
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., install: _Optional[_Union[Install, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., collect: _Optional[_Union[Collect, _Mapping]] = ..., stop: _Optional[_Union[Stop, _Mapping]] = ..., regroup: _Optional[_Union[Regroup, _Mapping]] = ..., events_kept: _Optional[_Union[EventsKept, _Mapping]] = ..., number: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("run_id", "node", "role", "plan_sha256", "version", "life", "finished", "attempt")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PLAN_SHA256_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    node: str
    role: str
    plan_sha256: bytes
    version: str
    life: str
    finished: int
    attempt: int
    def __init__(self, run_id: _Optional[str] = ..., node: _Optional[str] = ..., role: _Optional[str] = ..., plan_sha256: _Optional[bytes] = ..., version: _Optional[str] = ..., life: _Optional[str] = ..., finished: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("lease_s", "life")
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    lease_s: float
    life: str
    def __init__(self, lease_s: _Optional[float] = ..., life: _Optional[str] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("samples",)
    class SamplesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.ScalarMap[str, int]
    def __init__(self, samples: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("sent_unix_s", "nodes")
    SENT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    sent_unix_s: float
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    def __init__(self, sent_unix_s: _Optional[float] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("node", "role", "parent", "round", "phase", "last_heartbeat_unix_s", "versions", "moved_bytes")
    class VersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    MOVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    node: str
    role: str
    parent: str
    round: int
    phase: str
    last_heartbeat_unix_s: float
    versions: _containers.ScalarMap[str, str]
    moved_bytes: int
    def __init__(self, node: _Optional[str] = ..., role: _Optional[str] = ..., parent: _Optional[str] = ..., round: _Optional[int] = ..., phase: _Optional[str] = ..., last_heartbeat_unix_s: _Optional[float] = ..., versions: _Optional[_Mapping[str, str]] = ..., moved_bytes: _Optional[int] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("first_round", "count", "circulation")
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CIRCULATION_FIELD_NUMBER: _ClassVar[int]
    first_round: int
    count: int
    circulation: Circulation
    def __init__(self, first_round: _Optional[int] = ..., count: _Optional[int] = ..., circulation: _Optional[_Union[Circulation, _Mapping]] = ...) -> None: ...

class Circulation(_message.Message):
    __slots__ = ("first_round", "modules")
    class ModulesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Periods
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Periods, _Mapping]] = ...) -> None: ...
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    first_round: int
    modules: _containers.MessageMap[str, Periods]
    def __init__(self, first_round: _Optional[int] = ..., modules: _Optional[_Mapping[str, Periods]] = ...) -> None: ...

class Periods(_message.Message):
    __slots__ = ("every",)
    class EveryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EVERY_FIELD_NUMBER: _ClassVar[int]
    every: _containers.ScalarMap[str, int]
    def __init__(self, every: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class Install(_message.Message):
    __slots__ = ("round", "versions")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    round: int
    versions: _containers.RepeatedCompositeFieldContainer[Version]
    def __init__(self, round: _Optional[int] = ..., versions: _Optional[_Iterable[_Union[Version, _Mapping]]] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("module", "sha256", "size_bytes", "blake3")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BLAKE3_FIELD_NUMBER: _ClassVar[int]
    module: str
    sha256: bytes
    size_bytes: int
    blake3: bytes
    def __init__(self, module: _Optional[str] = ..., sha256: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., blake3: _Optional[bytes] = ...) -> None: ...

class Collect(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events", "first")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedScalarFieldContainer[str]
    first: int
    def __init__(self, events: _Optional[_Iterable[str]] = ..., first: _Optional[int] = ...) -> None: ...

class EventsKept(_message.Message):
    __slots__ = ("before",)
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    before: int
    def __init__(self, before: _Optional[int] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("error", "message")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    error: str
    message: str
    def __init__(self, error: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Trouble(_message.Message):
    __slots__ = ("round", "attempt", "peer", "message")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    round: int
    attempt: int
    peer: str
    message: str
    def __init__(self, round: _Optional[int] = ..., attempt: _Optional[int] = ..., peer: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Regroup(_message.Message):
    __slots__ = ("attempt", "lost", "broken", "again", "first_round")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    BROKEN_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    lost: _containers.RepeatedScalarFieldContainer[str]
    broken: _containers.RepeatedScalarFieldContainer[str]
    again: bool
    first_round: int
    def __init__(self, attempt: _Optional[int] = ..., lost: _Optional[_Iterable[str]] = ..., broken: _Optional[_Iterable[str]] = ..., again: bool = ..., first_round: _Optional[int] = ...) -> None: ...

class Stop(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...
