"""The same star round by bare TCP sockets: the limit for Python. Prints one line of JSON.

    python sockets.py --clients 40 --rounds 8

No framing, no checks, no names: each client sends 6 MB, the server adds them up and sends the mean back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import threading
import time
from pathlib import Path

import numpy as np

VALUES = 1_500_000


def receive(connection: socket.socket, buffer: np.ndarray) -> None:
    view = memoryview(buffer).cast("B")
    while len(view) > 0:
        got = connection.recv_into(view)
        if got == 0:
            raise ConnectionError("closed")
        view = view[got:]


def run_client(port: int, rounds: int) -> None:
    values = np.zeros(VALUES, np.float32)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(rounds):
            connection.sendall(memoryview(values).cast("B"))
            receive(connection, values)


def run_server(listening: socket.socket, clients: int, rounds: int, answer) -> None:
    connections = [listening.accept()[0] for _ in range(clients)]
    total = np.zeros(VALUES, np.float32)
    adding, everybody = threading.Lock(), threading.Barrier(clients + 1)

    def serve(connection: socket.socket) -> None:
        buffer = np.empty(VALUES, np.float32)
        for _ in range(rounds):
            receive(connection, buffer)
            with adding:
                np.add(total, buffer, out=total)
            everybody.wait()  # all have come
            everybody.wait()  # the mean is made
            connection.sendall(memoryview(mean).cast("B"))

    idle_mb = memory_mb("VmRSS")
    threads = [threading.Thread(target=serve, args=(one,)) for one in connections]
    mean, ends, cpu = total, [time.perf_counter()], [time.process_time()]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        everybody.wait()
        mean = total / clients
        total[:] = 0
        everybody.wait()
        ends.append(time.perf_counter())
        cpu.append(time.process_time())
    for thread in threads:
        thread.join()
    # From one mean to the next: what was sent back counts with the round after it. The first two warm up.
    walls = np.diff(ends)[2:].tolist()
    server_cpu_s = (cpu[-1] - cpu[2]) / len(walls)
    answer.send(
        {"wall_s": walls, "server_cpu_s": server_cpu_s, "idle_mb": idle_mb, "peak_mb": memory_mb("VmHWM")}
    )


def memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    rounds = options.rounds + 2
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=options.clients) as listening:
        port = listening.getsockname()[1]
        server = fork.Process(target=run_server, args=(listening, options.clients, rounds, there))
        server.start()
        clients = [fork.Process(target=run_client, args=(port, rounds)) for _ in range(options.clients)]
        for client in clients:
            client.start()
        print(json.dumps(here.recv()), flush=True)
        for process in [server, *clients]:
            process.join()


if __name__ == "__main__":
    main()
