"""Earlier keys: their new names, or why they were removed, for the error message; few are read as well."""

from __future__ import annotations

RENAMED_KEYS = {
    "github.number": "github.limit",
    "github.rich": "github.graphql",
    "github.deep": "github.details",
    "github.history": "github.star_history",
    "github.url": "github.api_url",
    "features.test": "features.test_size",
    "features.validation": "features.validation_size",
    "features.redundant": "features.redundant_threshold",
    "features.leak": "features.leak_threshold",
    "features.repeats": "features.importance_repeats",
    "screening.rows": "screening.max_rows",
    "screening.processes": "screening.max_concurrent",
    "tuning.race": "tuning.racing",
    "tuning.blend": "tuning.ensemble_size",
    "tuning.estimate": "tuning.estimate_policy",
    "tuning.known": "tuning.bundled_repositories",
    "growth.cut": "growth.train_until",
    "deploy.web": "deploy.web_replicas",
    "deploy.workers": "deploy.worker_replicas",
    "deploy.publish": "deploy.publish_mode",
    "deploy.discovery": "deploy.endpoint_mode",
    "deploy.patience": "deploy.timeout",
    "deploy.max_size": "deploy.max_release_size",
    "serve.processes": "serve.web_processes",
    "serve.workers": "serve.worker_processes",
    "serve.repositories": "serve.max_repositories",
    "serve.hosts": "serve.allowed_hosts",
    "serve.proxies": "serve.trusted_proxies",
    "serve.github": "serve.github_lookup",
    "serve.batch": "serve.max_batch_size",
    "serve.fresh": "serve.cache_ttl",
    "serve.per_minute": "serve.rate_limit",
    "serve.record": "serve.track_record",
    "serve.broker": "serve.broker_url",
    "serve.results": "serve.results_url",
    "serve.results_expire": "serve.results_ttl",
    "infra.production": "infra.production_servers",
    "infra.cpus": "infra.min_cpus",
    "infra.memory": "infra.min_memory",
    "infra.disk": "infra.min_disk",
    "infra.updates": "infra.unattended_upgrades",
    "infra.patience": "infra.timeout",
    "infra.variables": "infra.ansible_variables",
}
OTHER_NAMES = {"growth.history": "growth.history_file"}
"""Other names of keys, which are read as well."""
_EXPLANATION = "the explanation is that of the estimate, with the policy tuning.estimate_policy"
REMOVED_KEYS = {"tuning.explain": _EXPLANATION, "tuning.explanation_policy": _EXPLANATION}
