"""The same star round by Flower's event-driven mode, `start_server` and `start_client`; prints one line of JSON.

    python flower.py --clients 40 --rounds 8 [--flat]

Runs by itself in an environment that has `flwr` and nothing of this project. Evaluation is switched off. The first
round, which opens connections, is left out.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import socket
import time
import warnings
from pathlib import Path

os.environ.update(FLWR_TELEMETRY_ENABLED="0", FLWR_DISABLE_UPDATE_CHECK="1", GRPC_VERBOSITY="NONE")

import flwr
import numpy as np

VALUES, TENSORS = 1_500_000, 98


class Client(flwr.client.NumPyClient):
    def fit(self, parameters, config):
        return [p + np.float32(1) for p in parameters], 10, {}


def run_client(address: str) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # The client makes one attempt unless told otherwise, and the server takes a moment.
    flwr.client.start_client(
        server_address=address, client=Client().to_client(), insecure=True, max_retries=100
    )


class Clocked(flwr.server.strategy.FedAvg):
    """FedAvg that notes the clock when a round begins."""

    def __init__(self, **given) -> None:
        super().__init__(**given)
        self.began, self.cpu, self.idle_mb = [], [], 0.0

    def configure_fit(self, server_round, parameters, client_manager):
        found = super().configure_fit(server_round, parameters, client_manager)
        self.idle_mb = self.idle_mb or memory_mb("VmRSS")
        self.began.append(time.perf_counter())
        self.cpu.append(time.process_time())
        return found


def memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(field)


def run_server(address: str, clients: int, rounds: int, flat: bool, answer) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    sizes = [VALUES] if flat else [VALUES // TENSORS + (i < VALUES % TENSORS) for i in range(TENSORS)]
    first = [np.zeros(size, np.float32) for size in sizes]
    strategy = Clocked(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=flwr.common.ndarrays_to_parameters(first),
    )
    config = flwr.server.ServerConfig(num_rounds=rounds + 2)  # each round ends where the next one begins
    flwr.server.start_server(server_address=address, config=config, strategy=strategy)
    walls = np.diff(strategy.began[1:]).tolist()
    answer.send(
        {
            "wall_s": walls,
            "server_cpu_s": (strategy.cpu[-1] - strategy.cpu[1]) / len(walls),
            "idle_mb": strategy.idle_mb,
            "peak_mb": memory_mb("VmHWM"),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--flat", action="store_true", help="one array of all values in place of 98")
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    server = fork.Process(
        target=run_server, args=(address, options.clients, options.rounds, options.flat, there)
    )
    server.start()
    clients = [fork.Process(target=run_client, args=(address,)) for _ in range(options.clients)]
    for client in clients:
        client.start()
    print(json.dumps(here.recv() | {"version": flwr.__version__}), flush=True)
    server.join()
    for client in clients:
        client.join(10)
        client.kill()


if __name__ == "__main__":
    main()
