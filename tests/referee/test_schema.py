"""Every GraphQL query that the crawl can send is valid in GitHub's published schema and uses no deprecated field."""

from __future__ import annotations

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate
from graphql.validation import NoDeprecatedCustomRule

from stargaze.features.github.api import graphql
from tests.referee.recorded import REFEREE

pytestmark = pytest.mark.referee

QUERIES = {
    "alive": graphql.ALIVE_QUERY,
    **{kind.name: kind.text for kind in (*graphql.KINDS, graphql.README)},
    **{f"{kind.name} without {name}": kind.without([name]) for kind in graphql.KINDS for name in kind.names},
    **{f"{kind.name} without any": kind.without(kind.names) for kind in graphql.KINDS},
    **{f"{count} names": graphql.names_query(count) for count in (1, 2, 100)},
}


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    """GitHub's schema; it defines a field twice, so the schema itself is not validated."""
    path = REFEREE / "node_modules" / "@octokit" / "graphql-schema" / "schema.graphql"
    return build_schema(path.read_text(encoding="utf-8"), assume_valid=True)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_valid_and_uses_no_deprecated_field(name: str, schema: GraphQLSchema) -> None:
    document = parse(QUERIES[name])
    assert validate(schema, document) == []
    assert validate(schema, document, [NoDeprecatedCustomRule]) == []


def test_an_unknown_field_makes_a_query_invalid(schema: GraphQLSchema) -> None:
    assert validate(schema, parse(graphql.KINDS[0].text.replace("nameWithOwner", "nameWithOwners")))
