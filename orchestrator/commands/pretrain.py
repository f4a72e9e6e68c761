"""`hffm pretrain`: makes the built-in backbone anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import AsJson


def register(app: typer.Typer) -> None:
    app.command("pretrain")(pretrain)


def pretrain(
    out: Annotated[Path, typer.Option(help="Folder for weights, tokenizer, image processor and recipe.")],
    seed: Annotated[int, typer.Option(min=0, help="Of weights, questions and pictures.")] = 0,
    backbone: Annotated[
        str, typer.Option(help="builtin:tiny-vilt or builtin:tiny-clip.")
    ] = "builtin:tiny-vilt",
    steps: Annotated[
        int, typer.Option(min=1, help="Optimiser steps; the shipped ViLT took the default.")
    ] = 5200,
    as_json: AsJson = False,
) -> None:
    """Pretrain a built-in backbone on question families other than the tasks' (some minutes on one core).

    A scenario uses the result with `model: {backbone: FOLDER}`.
    """
    from node.learning.pretrain import pretrain as make

    def say(step: int, steps: int, losses: dict[str, float]) -> None:
        said = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        print(f"step {step} of {steps}: {said}", file=sys.stderr)

    recipe = make(out, seed, steps, say, backbone)
    typer.echo(json.dumps(recipe, indent=1) if as_json else f"{out}: " + json.dumps(recipe))
