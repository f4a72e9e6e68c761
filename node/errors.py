"""Everything that can go wrong, as one tree.

    HffmError
    ├── ConfigError             what the user wrote
    │   ├── ScenarioError         the scenario file
    │   ├── PlanError             the plan file, or a node that it does not have
    │   ├── DataError             annotations, images, labels, shards
    │   └── ModelError            the backbone or the tuning asked for
    ├── StartError              the machine
    │   ├── AddressError          a port in use, an address that cannot be bound
    │   ├── LaunchError           a node that did not start, or ended before its time
    │   ├── LinksError            links that cannot be shaped: rights, kernel, interface, values
    │   ├── CertificateError      a certificate or key of this process's own that does not do, or none
    │   ├── ClockError            a clock that cannot be right
    │   └── StateError            the state folder: full, not writable, in use, damaged, of another run
    ├── PeerError               the other side
    │   ├── UnreachableError      nobody answers at the address
    │   ├── LeaseExpired          a parent or a child not heard of for longer than its lease
    │   ├── ProtocolError         a message out of turn, of another run, or of another plan
    │   ├── IdentityError         no certificate that proves the other side to be whom the plan names
    │   ├── AccessDenied          a call that the caller's certificate does not allow
    │   └── Overloaded            more calls or connections of one peer than a node takes at a time
    ├── PayloadError            bulk data
    │   ├── PayloadRefused        not what the plan allows here
    │   │   └── PayloadLate         right, but for a round or a version that is over, or has not begun
    │   ├── PayloadCorrupt        digest or length differ
    │   └── TransferStalled       no progress for longer than the limit
    ├── RunError                the rounds
    │   ├── QuorumError           too few took part before the deadline
    │   └── BusyError             rounds are running, or nodes are not ready
    ├── RunFolderError          the record of a run: unwritable, incomplete, not a run
    └── Interrupted             Ctrl-C or SIGTERM

Each class carries its exit code and its gRPC status; `TABLE` is the only place where they are written.
A message says what failed, where, and the remedy, in one line.
"""

from __future__ import annotations


class HffmError(Exception):
    """Base of the tree. `str()` is the one line shown to a person."""

    blamed = ""  # the node whose fault it is, where that is not the one that was called

    @property
    def exit_code(self) -> int:
        """The process's exit code, from the nearest class in `TABLE`."""
        return _row(type(self))[0]

    @property
    def grpc_status(self) -> str:
        """Name of the gRPC status code, from the nearest class in `TABLE`."""
        return _row(type(self))[1]


class ConfigError(HffmError):
    pass


class ScenarioError(ConfigError):
    pass


class PlanError(ConfigError):
    pass


class DataError(ConfigError):
    pass


class ModelError(ConfigError):
    pass


class StartError(HffmError):
    pass


class AddressError(StartError):
    pass


class LaunchError(StartError):
    pass


class ClockError(StartError):
    pass


class StateError(StartError):
    pass


class LinksError(StartError):
    pass


class CertificateError(StartError):
    pass


class PeerError(HffmError):
    pass


class UnreachableError(PeerError):
    pass


class LeaseExpired(PeerError):
    pass


class ProtocolError(PeerError):
    pass


class IdentityError(PeerError):
    pass


class AccessDenied(PeerError):
    pass


class Overloaded(PeerError):
    pass


class PayloadError(HffmError):
    pass


class PayloadRefused(PayloadError):
    pass


class PayloadLate(PayloadRefused):
    pass


class PayloadCorrupt(PayloadError):
    pass


class TransferStalled(PayloadError):
    pass


class RunError(HffmError):
    pass


class QuorumError(RunError):
    pass


class BusyError(RunError):
    pass


class RunFolderError(HffmError):
    pass


class Interrupted(HffmError):
    pass


# class: (exit code, gRPC status). Codes 1 and 2 are Python's own and the command line's.
TABLE: dict[type[HffmError], tuple[int, str]] = {
    HffmError: (70, "INTERNAL"),
    ScenarioError: (10, "INVALID_ARGUMENT"),
    PlanError: (11, "INVALID_ARGUMENT"),
    DataError: (12, "INVALID_ARGUMENT"),
    ModelError: (13, "INVALID_ARGUMENT"),
    AddressError: (20, "UNAVAILABLE"),
    LaunchError: (21, "UNAVAILABLE"),
    LinksError: (22, "FAILED_PRECONDITION"),
    CertificateError: (23, "UNAUTHENTICATED"),
    ClockError: (24, "FAILED_PRECONDITION"),
    StateError: (25, "FAILED_PRECONDITION"),
    UnreachableError: (30, "UNAVAILABLE"),
    LeaseExpired: (31, "UNAVAILABLE"),
    ProtocolError: (32, "FAILED_PRECONDITION"),
    IdentityError: (33, "UNAUTHENTICATED"),
    AccessDenied: (34, "PERMISSION_DENIED"),
    Overloaded: (35, "RESOURCE_EXHAUSTED"),
    PayloadRefused: (40, "INVALID_ARGUMENT"),
    PayloadLate: (43, "FAILED_PRECONDITION"),
    PayloadCorrupt: (41, "DATA_LOSS"),
    TransferStalled: (42, "DEADLINE_EXCEEDED"),
    QuorumError: (50, "ABORTED"),
    BusyError: (51, "FAILED_PRECONDITION"),
    RunFolderError: (60, "FAILED_PRECONDITION"),
    Interrupted: (130, "CANCELLED"),
}


def _row(kind: type[HffmError]) -> tuple[int, str]:
    return next(TABLE[base] for base in kind.__mro__ if base in TABLE)
