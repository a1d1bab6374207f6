"""The config: typed sections, read from TOML files, the environment and options."""

from stargaze.config.loading import DEFAULT_PATH, find_config_file, load, parse_section
from stargaze.config.model_sections import (
    METRICS,
    OWN_KINDS,
    POLICIES,
    SAMPLES,
    FeaturesSection,
    FetchSection,
    GithubSection,
    GrowthSection,
    ScreeningSection,
    StoreSection,
    TuningSection,
)
from stargaze.config.production_sections import DeploySection, InfraSection, ServeSection
from stargaze.config.sections import Config, render

__all__ = [
    "DEFAULT_PATH",
    "METRICS",
    "OWN_KINDS",
    "POLICIES",
    "SAMPLES",
    "Config",
    "DeploySection",
    "FeaturesSection",
    "FetchSection",
    "GithubSection",
    "GrowthSection",
    "InfraSection",
    "ScreeningSection",
    "ServeSection",
    "StoreSection",
    "TuningSection",
    "find_config_file",
    "load",
    "parse_section",
    "render",
]
