"""The typed sections of ``stargaze.toml``: every key with its default, its unit and why it is there.

The annotated file that ``stargaze init`` writes is made from the same metadata, so it cannot go stale.
Precedence: default < user file < project file < environment (``STARGAZE_<SECTION>_<KEY>``) < option.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
