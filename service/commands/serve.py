"""`limen serve`: settings from options, environment and file, then the service until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from service import serve, settings


def run(model: Path | None, config: Path | None, given: dict[str, Any]) -> None:
    """Serve. SettingsError, ModelError or RegistryError where it cannot; else the exit status of the service."""
    if model is not None:
        given = {**given, "model": model}
    if status := serve.serve(settings.load(settings.config_file(config), **given)):
        raise typer.Exit(status)
