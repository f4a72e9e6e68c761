"""Nodes over ssh: an sshd that the test starts, with keys of its own, is the board."""

from __future__ import annotations

import getpass
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from deploy.launch.inventory import Board, write_boards
from deploy.launch.ssh import SshLauncher
from deploy.links.commands import run
from deploy.links.netns import Network
from node.errors import LaunchError
from node.plan import Plan, dump_plan
from tests.deploy.machine import lacking, needs
from tests.emulation.nodes import in_block, three_nodes, wait_until_ready
from tests.federation import free_ports
from tests.system.command import SMALL, hffm, processes_of, summary, until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


@pytest.fixture(scope="module", name="keys")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the keys of a host, of its user, and of somebody else."""
    if SSHD is None or shutil.which("ssh") is None:
        lacking("ssh: no sshd here: apt install openssh-server")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("host", "user", "stranger"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(key, check=True)
    return folder


@contextmanager
def sshd(keys: Path, port: int, folder: Path, namespace: str | None = None) -> Iterator[None]:
    """Takes the user's key, on all addresses of the namespace, or on loopback."""
    config = folder / f"sshd-{port}-{namespace}"
    listen = "127.0.0.1" if namespace is None else "0.0.0.0"
    config.write_text(
        f"ListenAddress {listen}\nPort {port}\nHostKey {keys}/host\nAuthorizedKeysFile {keys}/user.pub\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPidFile none\n"
    )
    inside = [] if namespace is None else ["ip", "netns", "exec", namespace]
    Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*inside, str(SSHD), "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        assert any(b"listening" in line for line in process.stderr), "sshd does not start"
        yield
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def known(keys: Path, folder: Path, *names: str) -> str:
    """A known_hosts file: that these are the host."""
    public = (keys / "host.pub").read_text()
    file = folder / "known_hosts"
    file.write_text("".join(f"{name} {public}" for name in names))
    return str(file)


@pytest.fixture(name="board")
def _board(keys: Path, tmp_path: Path) -> Iterator[Board]:
    (port,) = free_ports(1)
    with sshd(keys, port, tmp_path):
        yield Board(
            host="127.0.0.1",
            port=port,
            user=getpass.getuser(),
            key=str(keys / "user"),
            known_hosts=known(keys, tmp_path, f"[127.0.0.1]:{port}"),
            python=sys.executable,
        )


def written(plan: Plan, boards: dict[str, Board], folder: Path) -> Path:
    write_boards(folder, boards)
    (folder / "plan.json").write_text(dump_plan(plan))
    return folder / "plan.json"


def left_behind() -> set[Path]:
    return set(Path("/tmp").glob("hffm-board-*/plan.json"))


def test_nodes_start_and_leave(board: Board, tmp_path: Path):
    plan = three_nodes()
    before = left_behind()
    launcher = SshLauncher()
    try:
        launcher.start(plan, written(plan, dict.fromkeys(plan.by_id, board), tmp_path), tmp_path)
        wait_until_ready(plan)
        assert launcher.ended() == {}
        assert len(left_behind() - before) == 1
        launcher.stop(0.5)
        assert launcher.ended() == dict.fromkeys(plan.by_id, 0)
    finally:
        launcher.close()
    assert left_behind() == before
    assert "left reason=" in (tmp_path / "edge-0.log").read_text()


def test_a_comparison_over_ssh(board: Board, tmp_path: Path):
    (tmp_path / "small.yaml").write_text(SMALL + inventory(board))
    done = hffm(
        tmp_path, "compare", "small.yaml", "--rounds", "1", "--launcher", "ssh", "--out", "c", timeout_s=600
    )
    assert done.returncode == 0, done.stderr
    for method in ("star", "edge-only", "hf-fm-2", "hf-fm+d2d-2"):
        assert summary(tmp_path / "c" / method)["state"] == "complete"
    assert (tmp_path / "c/star/logs/device-00.log").read_text()


def inventory(board: Board) -> str:
    lines = [f"  {name}: {value}" for name, value in board.model_dump(exclude_none=True).items()]
    return "boards:\n  - nodes: '*'\n" + "".join(f"  {line}\n" for line in lines)


def test_nothing_is_left_when_the_orchestrator_is_killed(board: Board, tmp_path: Path):
    plan = three_nodes()
    file = written(plan, dict.fromkeys(plan.by_id, board), tmp_path)
    before = left_behind()
    code = (
        "import sys, time, pathlib\n"
        "from deploy.launch.ssh import SshLauncher\nfrom node.plan import load_plan\n"
        "file = pathlib.Path(sys.argv[1])\nSshLauncher().start(load_plan(file), file, file.parent)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file)])
    wait_until_ready(plan)
    (there,) = left_behind() - before
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not processes_of(there.parent), "the nodes have left")
    until(lambda: left_behind() == before, "their folder is gone")


def test_a_board_that_goes_away_is_named(board: Board, tmp_path: Path):
    plan = three_nodes()
    launcher = SshLauncher()
    try:
        launcher.start(plan, written(plan, dict.fromkeys(plan.by_id, board), tmp_path), tmp_path)
        wait_until_ready(plan)
        (connection,) = launcher._connections.values()
        connection._ssh.kill()
        until(lambda: len(launcher.ended()) == 3, "all nodes count as ended")
        assert set(launcher.ended().values()) == {21}
        last = (tmp_path / "edge-1.log").read_text().splitlines()[-1]
        assert last.startswith(f"error: edge-1: board {board}: ")
    finally:
        launcher.close()


Change = Callable[[Board, Path, Path], Board]  # of the board, with the keys' folder and one of the test's


def _stranger(board: Board, keys: Path, folder: Path) -> Board:
    return board.model_copy(update={"key": str(keys / "stranger")})


def _unknown(board: Board, keys: Path, folder: Path) -> Board:
    (folder / "nobody").touch()
    return board.model_copy(update={"known_hosts": str(folder / "nobody")})


def _changed(board: Board, keys: Path, folder: Path) -> Board:
    other = (keys / "stranger.pub").read_text()
    (folder / "other").write_text(f"[127.0.0.1]:{board.port} {other}")
    return board.model_copy(update={"known_hosts": str(folder / "other")})


def _off(board: Board, keys: Path, folder: Path) -> Board:
    return board.model_copy(update={"port": free_ports(1)[0]})


def _program(board: Board, folder: Path, text: str) -> Board:
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return board.model_copy(update={"python": str(program)})


def _no_python(board: Board, keys: Path, folder: Path) -> Board:
    return board.model_copy(update={"python": str(folder / "missing/python")})


def _no_hffm(board: Board, keys: Path, folder: Path) -> Board:
    return _program(board, folder, f'cd / && exec {sys.executable} -I -S "$@"')


def _other_version(board: Board, keys: Path, folder: Path) -> Board:
    facts = '{"version": "0.0.1", "machine": "m", "python": "3", "units": false, "folder": "/nowhere"}'
    return _program(board, folder, f"echo '{{\"board\": {facts}}}'; cat >/dev/null")


def _wrong_clock(board: Board, keys: Path, folder: Path) -> Board:
    late = "import time, deploy.launch.board as b; now = time.time; time.time = lambda: now() - 90; b.main()"
    return _program(board, folder, f"exec {sys.executable} -c '{late}'")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_stranger, "Permission denied .*; the account does not take this key"),
        (_unknown, "Host key verification failed.*; its key is not known here"),
        (_changed, "REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed"),
        (_off, "Connection refused; start sshd there, or correct `port`"),
        (_no_python, "; correct `python`"),
        (_no_hffm, "No module named .*; install hffm for this interpreter"),
        (_other_version, "has hffm 0.0.1, and here it is .*: install the same on both"),
        (_wrong_clock, r"the clock of board .* is (89|90)\.\d s behind: set it"),
    ],
)
def test_what_is_wrong_with_a_board_is_said_with_the_remedy(
    change: Change, words: str, board: Board, keys: Path, tmp_path: Path
):
    plan = three_nodes()
    wrong = change(board, keys, tmp_path)
    launcher = SshLauncher()
    with pytest.raises(LaunchError, match=words) as error:
        launcher.start(plan, written(plan, dict.fromkeys(plan.by_id, wrong), tmp_path), tmp_path)
    assert str(wrong) in str(error.value)
    assert "\n" not in str(error.value)
    launcher.close()


def test_units_where_there_is_systemd(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`systemd-run` and `systemctl` are stood in for by programs that do what they are asked for."""
    told = tmp_path / "told"
    unit = f'#!/bin/sh\necho "$0 $@" >> {told}\nwhile [ "${{1#-}}" != "$1" ]; do shift; done\nexec "$@"\n'
    for name, text in (("systemd-run", unit), ("systemctl", f'#!/bin/sh\necho "$0 $@" >> {told}\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    there = (
        f'import pathlib, os; os.environ["PATH"] = "{tmp_path}:" + os.environ["PATH"]; '
        'pathlib.Path.is_dir = lambda p, d=pathlib.Path.is_dir: str(p) == "/run/systemd/system" or d(p); '
        "import deploy.launch.board as b; b.main()"
    )
    with_units = _program(board, tmp_path, f"exec {sys.executable} -c '{there}'")
    plan = three_nodes()
    launcher = SshLauncher()
    try:
        launcher.start(plan, written(plan, dict.fromkeys(plan.by_id, with_units), tmp_path), tmp_path)
        wait_until_ready(plan)
    finally:
        launcher.close()
    units = [line for line in told.read_text().splitlines() if "--unit=hffm-" in line]
    assert {line.partition("--id ")[2].split()[0] for line in units} == set(plan.by_id)
    for line in units:
        assert {"--collect", "--pipe", "--wait"} <= set(line.split())
        assert "--setenv=HFFM_GATE=" in line


def test_kernels_of_boards_shape_their_links(keys: Path, tmp_path: Path):
    """Each namespace is a board: a network stack of its own with an sshd."""
    needs("tbf")
    plan = in_block(three_nodes("tbf"))
    network = Network.create(plan.replace(links_backend="none"))
    with ExitStack() as stack:
        stack.callback(network.remove)
        boards = {}
        addresses = network.assignment.nodes
        file = known(keys, tmp_path, *addresses.values())
        for node, address in addresses.items():
            stack.enter_context(sshd(keys, 22, tmp_path, network.namespace(node)))
            user = getpass.getuser()
            boards[node] = Board(
                host=address, user=user, key=str(keys / "user"), known_hosts=file, python=sys.executable
            )
        launcher = SshLauncher()
        stack.callback(launcher.close)
        launcher.start(plan, written(plan, boards, tmp_path), tmp_path, ["--insecure"])
        wait_until_ready(plan)
        assert queues(network, plan.by_id) == {"cloud": 2, "edge-0": 1, "edge-1": 1}
        launcher.stop(0.5)
        assert launcher.ended() == dict.fromkeys(plan.by_id, 0)
        assert queues(network, plan.by_id) == {"cloud": 0, "edge-0": 0, "edge-1": 0}


def queues(network: Network, nodes: Sequence[str]) -> dict[str, int]:
    shown = {n: run("tc", "-n", network.namespace(n), "qdisc", "show", "dev", "eth0") for n in nodes}
    return {node: text.count("qdisc tbf") for node, text in shown.items()}
