"""All sections of ``stargaze.toml``, and the annotated file with the description and the value of every key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stargaze.config.model_sections import (
    FeaturesSection,
    FetchSection,
    GithubSection,
    GrowthSection,
    ScreeningSection,
    StoreSection,
    TuningSection,
)
from stargaze.config.production_sections import DeploySection, InfraSection, ServeSection

HEADER = (
    "# stargaze.toml: every key with its default. Delete the keys that you do not change.",
    "# Precedence: this file < STARGAZE_<SECTION>_<KEY> in the environment < the command's options.",
    "# Secrets do not belong here: GITHUB_TOKEN comes from the environment.",
)


@dataclass(frozen=True)
class Config:
    """Every section; pass the section on, not this."""

    store: StoreSection = field(default_factory=StoreSection)
    fetch: FetchSection = field(default_factory=FetchSection)
    github: GithubSection = field(default_factory=GithubSection)
    features: FeaturesSection = field(default_factory=FeaturesSection)
    screening: ScreeningSection = field(default_factory=ScreeningSection)
    tuning: TuningSection = field(default_factory=TuningSection)
    growth: GrowthSection = field(default_factory=GrowthSection)
    deploy: DeploySection = field(default_factory=DeploySection)
    serve: ServeSection = field(default_factory=ServeSection)
    infra: InfraSection = field(default_factory=InfraSection)


def render(config: Config | None = None) -> str:
    """Return the annotated ``stargaze.toml`` with the values of a config, by default the default values."""
    config = config or Config()
    lines = list(HEADER)
    for section_field in dataclasses.fields(Config):
        section = getattr(config, section_field.name)
        lines += ["", f"# {(section.__doc__ or '').strip()}", f"[{section_field.name}]"]
        tables = []
        for key in dataclasses.fields(section):
            value = getattr(section, key.name)
            comment = f"# {describe_key(key.metadata)}"
            if isinstance(value, dict):
                tables += ["", comment, f"[{section_field.name}.{key.name}]"]
                tables += [f"{_toml(name)} = {_toml(text)}" for name, text in value.items()]
            else:
                lines += [comment, f"{key.name} = {_toml(value)}"]
        lines += tables
    return "\n".join(lines) + "\n"


def describe_key(metadata: Mapping[str, Any]) -> str:
    """Return the description of a key with its choices and its unit."""
    parts = [metadata["description"]]
    if metadata["choices"]:
        parts.append("One of: " + ", ".join(metadata["choices"]) + ".")
    if metadata["unit"]:
        parts.append(f"[{metadata['unit']}]")
    return " ".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # JSON leaves DEL unescaped, TOML does not allow it.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else str(value)
