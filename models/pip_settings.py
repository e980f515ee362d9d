"""The package index that the user's pip is set up with; the project names none of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# pip's own order: the sections of its configuration files, then the environment, which wins.
_SECTIONS = ("global", "download")


@dataclass(frozen=True)
class PipSettings:
    """What pip is told about indexes. `index_url` None means the default index."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted_hosts: tuple[str, ...] = ()
    no_index: bool = False
    certificates: Path | None = None


def read_pip_settings() -> PipSettings:
    """Read pip's configuration files and PIP_* variables; works where pip is missing, too."""
    options = parse_config(_pip_config()) | parse_environment(os.environ)
    certificates = options.get("cert")
    return PipSettings(
        index_url=options.get("index-url"),
        extra_index_urls=tuple(options.get("extra-index-url", "").split()),
        find_links=tuple(
            link
            for link in options.get("find-links", "").split()
            if "://" in link or Path(link).exists()
        ),
        trusted_hosts=tuple(options.get("trusted-host", "").split()),
        no_index=options.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        certificates=Path(certificates) if certificates else None,
    )


def parse_config(text: str) -> dict[str, str]:
    """Read what `pip config list` prints, `section.option='value'` a line; "download" wins."""
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.rpartition(".")
        if section in found:
            found[section][option] = str(ast.literal_eval(value))
    return {key: value for section in _SECTIONS for key, value in found[section].items()}


def parse_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Read the PIP_* variables: PIP_INDEX_URL gives the option `index-url`."""
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }


def _pip_config() -> str:
    command = [sys.executable, "-m", "pip", "config", "list"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout if result.returncode == 0 else ""
