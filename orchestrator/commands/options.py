"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LauncherName(StrEnum):
    """As in `deploy.launch.LAUNCHERS`."""

    FORKED = "forked"
    PROCESSES = "processes"
    NAMESPACES = "namespaces"
    NAMESPACES_PROCESSES = "namespaces-processes"
    CONTAINERS = "containers"
    SSH = "ssh"


class LinksName(StrEnum):
    AUTO = "auto"
    NONE = "none"
    PACED = "paced"
    NETEM = "netem"
    TBF = "tbf"
    UML = "uml"
    LAB = "lab"


ScenarioFile = Annotated[
    Path,
    typer.Argument(help="A scenario (YAML), such as deploy/scenarios/quickstart.yaml.", show_default=False),
]
MethodName = Annotated[
    str | None,
    typer.Option(
        "--method",
        "-m",
        help="star, edge-only, edge-only+d2d, hf-fm-E, hf-fm+d2d-E or network-aware; default: the scenario's last.",
        show_default=False,
    ),
]
Rounds = Annotated[
    int | None,
    typer.Option(min=1, help="Rounds of the devices; default: the scenario's.", show_default=False),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        help="Run folder; it must not exist, or be empty. Default: below runs/.", show_default=False
    ),
]
Launcher = Annotated[
    LauncherName | None,
    typer.Option(
        help="forked: all nodes from one process, fast; processes: an interpreter for each; namespaces: forked, "
        "each with a network stack of its own (root); containers: Docker's, of the image that `make image` makes; "
        "ssh: on the boards of the scenario. "
        "Default: what the links need.",
        show_default=False,
    ),
]
Links = Annotated[
    LinksName | None,
    typer.Option(
        help="What holds transfers to the modelled rates: paced: the sender; netem: the kernel (root); "
        "tbf: the kernel, and the sender for the delay (root); uml: the kernel of a guest; lab: the same in "
        "virtual time; none; auto. Default: the scenario's.",
        show_default=False,
    ),
]
Tls = Annotated[
    bool, typer.Option("--tls", help="Mutual TLS, with certificates made for this run and nothing else.")
]
Certs = Annotated[
    Path | None,
    typer.Option(
        help="Folder that `hffm certs` has made for the scenario, for mutual TLS.",
        envvar="HFFM_CERTS",
        show_envvar=True,
        show_default=False,
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="No TLS although other machines can connect to these nodes.")
]
Restart = Annotated[
    int,
    typer.Option(min=0, help="How often each node that is killed, or ends with an error, is started again."),
]
WithoutTraining = Annotated[
    bool,
    typer.Option(
        "--without-training",
        help="Devices rest for the modelled time of training and send noise of the same size: latency and energy "
        "of large networks, no accuracies.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON on standard output.")]
