"""User-Mode Linux: a Linux kernel that is an ordinary program, with kernel link shaping and without any rights.

Whoever may run programs is root inside the guest: the host's files are its root folder (read only), and its own
kernel has network namespaces, bridges and netem. Two kernels serve: Debian's package `user-mode-linux`, whose
clock is the host's, and the lab's own, whose clock jumps from event to event (`make lab-kernel`).
"""

from __future__ import annotations

from deploy.links.uml.guest import run_in_guest
from deploy.links.uml.kernel import Kernel, debian_kernel, lab_kernel

__all__ = ["Kernel", "debian_kernel", "lab_kernel", "run_in_guest"]
