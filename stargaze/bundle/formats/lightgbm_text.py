"""The structural check of LightGBM's text format, which runs before the library reads it: the library trusts every number.

It accepts what ``Tree::ToString`` and ``GBDT::SaveModelToString`` of LightGBM 4 write for a regression: the same keys in the
same order. A changed number crashed the library or made it loop (LightGBM #7357, #7437, #7438).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from stargaze.bundle.manifest import MAX_OUTPUT

MAX_BYTES = 400_000_000
"""Size of the text; one of 3,000 trees with 95 leaves has 26 MB."""
MAX_FEATURES = 100_000
MAX_TREES = 100_000
MAX_DEPTH = 128
"""Levels of a tree: our search goes to 95 leaves. LightGBM's contributions call themselves for each level."""
MAX_WORK = 400_000_000
"""The squared depth of each leaf, summed: the steps that contributions take per row, about a second."""
_NUMBER = rb"-?\d{1,25}(?:\.\d{1,25})?(?:e[+-]\d{1,3})?"
_HEADER = re.compile(
    rb"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=(\d{1,6})\n"
    rb"objective=(?:regression|regression_l1)\nfeature_names=([!-<>-~]+(?: [!-<>-~]+)*)\n"
    rb"feature_infos=([][0-9a-z.:+-]+(?: [][0-9a-z.:+-]+)*)\ntree_sizes=(\d{1,10}(?: \d{1,10})*)\n\n"
)
_INNER_KEYS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_LEAF_KEYS = ("leaf_value", "leaf_weight", "leaf_count")
_MEAN_KEYS = ("internal_value", "internal_weight", "internal_count")
_KEYS = (*_INNER_KEYS, *_LEAF_KEYS, *_MEAN_KEYS)
_INTEGERS = {"split_feature", "decision_type", "left_child", "right_child", "leaf_count", "internal_count"}
_INTEGERS |= {"cat_boundaries", "cat_threshold"}
_TREE = re.compile(
    rb"Tree=(?P<number>\d{1,6})\nnum_leaves=(?P<num_leaves>\d{1,8})\nnum_cat=(?P<num_cat>\d{1,8})\n"
    + b"".join(rb"%b=(?P<%b>[0-9 .einf+-]*)\n" % (key, key) for key in map(str.encode, _KEYS))
    + rb"(?:cat_boundaries=(?P<cat_boundaries>[0-9 ]+)\ncat_threshold=(?P<cat_threshold>[0-9 ]+)\n)?"
    rb"is_linear=0\nshrinkage=%b\n\n\n" % _NUMBER
)
_TRAILER = re.compile(
    rb"end of trees\n\nfeature_importances:\n(?:[!-<>-~]+=\d{1,12}\n)*"
    rb"(?:\nparameters:\n(?:\[[a-z0-9_]+: [ -~]*\]\n)*\nend of parameters\n)?(?:\npandas_categorical:(?:null|\[\])\n)?"
)
END = b"end of trees\n"
_SPACE, _ZERO, _DIGIT, _POINT, _EXPONENT, _PLUS, _MINUS, _OTHER = range(8)
_CHARACTERS = np.full(256, _OTHER, dtype="uint8")
_CHARACTERS[list(b" 0.e+-")] = _SPACE, _ZERO, _POINT, _EXPONENT, _PLUS, _MINUS
_CHARACTERS[list(b"123456789")] = _DIGIT
_PAIRS = np.zeros((8, 8), dtype=bool)
"""Which kind of character can follow which one in a line of numbers."""
_PAIRS[[_ZERO, _DIGIT], :_PLUS] = True
_PAIRS[[_SPACE, _POINT, _PLUS, _MINUS], _ZERO] = _PAIRS[[_SPACE, _POINT, _PLUS, _MINUS], _DIGIT] = True
_PAIRS[[_SPACE, _EXPONENT, _EXPONENT], [_MINUS, _MINUS, _PLUS]] = True


def check_lightgbm_text(content: bytes) -> bytes:
    """Return the checked part of a model's text that predictions need: header and trees.

    Raise ValueError if LightGBM cannot have written it, or if predictions or contributions would take too long.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES:,} bytes")
    header = _HEADER.match(content)
    if header is None:
        raise ValueError("its header is not one of a regression with one output in format v4")
    n_features, sizes = int(header[1]) + 1, list(map(int, header[4].split(b" ")))
    if not header[2].count(b" ") == header[3].count(b" ") == n_features - 1 < MAX_FEATURES:
        raise ValueError("its feature names do not match its number of features")
    if len(sizes) > MAX_TREES:
        raise ValueError(f"it has more than {MAX_TREES:,} trees")
    trees, end = _split_trees(content, header.end(), sizes)
    if _TRAILER.fullmatch(content, end) is None:
        raise ValueError("it has unknown lines after its trees")
    _Trees(trees).check(n_features)
    return content[:end] + END


def _split_trees(content: bytes, start: int, sizes: Sequence[int]) -> tuple[list[re.Match[bytes]], int]:
    """Return the parts of each tree, and the position after the last one."""
    trees = []
    for number, size in enumerate(sizes):
        tree = _TREE.fullmatch(content, start, start + size)
        if tree is None or tree["number"] != str(number).encode() or start + size > len(content):
            raise ValueError(f"tree {number} is malformed")
        trees.append(tree)
        start += size
    return trees, start


class _Trees:
    """The arrays of all trees, one after the other; ``inner`` and ``leaves`` are the numbers of nodes of each tree."""

    def __init__(self, trees: Sequence[re.Match[bytes]]) -> None:
        self._trees = trees
        self.leaves, self.cats = (
            np.array([int(tree[name]) for tree in trees], dtype="int64") for name in ("num_leaves", "num_cat")
        )
        self._require(self.leaves >= 1, "it has no leaf")
        self.inner = self.leaves - 1
        self.inner_tree, self.leaf_tree = (np.repeat(np.arange(len(trees)), n) for n in (self.inner, self.leaves))
        self.first_inner, self.first_leaf = (np.cumsum(n) - n for n in (self.inner, self.leaves))

    def check(self, n_features: int) -> None:
        """Raise ValueError with the number of a tree that is invalid."""
        arrays = {name: self._numbers(name, self.inner) for name in (*_INNER_KEYS, *_MEAN_KEYS)}
        # A tree of one leaf has neither a weight nor, before LightGBM 4.6, a count.
        arrays |= {name: self._numbers(name, self.leaves, alone=name != "leaf_value") for name in _LEAF_KEYS}
        children = np.stack([arrays["left_child"], arrays["right_child"]])
        features = arrays["split_feature"]
        self._require_inner((features >= 0) & (features < n_features), "a split is by a feature that does not exist")
        self._check_links(children)
        self._check_counts(children, arrays["internal_count"], arrays["leaf_count"])
        self._check_categories(arrays["decision_type"], arrays["threshold"])
        self._check_depth(children)
        largest = np.zeros(len(self.leaves))
        np.maximum.at(largest, self.leaf_tree, np.abs(arrays["leaf_value"]))
        if not largest.sum() <= MAX_OUTPUT:
            raise ValueError(f"its predictions can be larger than {MAX_OUTPUT:,.0f}")

    def _numbers(self, name: str, counts: np.ndarray, *, alone: bool = False) -> np.ndarray:
        """Return the numbers of a line, for all trees; with ``alone``, the line of a tree with one leaf may be empty."""
        lines = [tree[name] for tree in self._trees]
        if alone:
            lines = [line or b"1" if n == 1 else line for line, n in zip(lines, counts.tolist(), strict=True)]
        actual = np.array([line.count(b" ") + 1 if line else 0 for line in lines])
        self._require(actual == counts, f"{name} has another number of values")
        return _parse(b" ".join(filter(None, lines)), name)

    def _check_links(self, children: np.ndarray) -> None:
        """Check that each node has one parent, which comes before it; the root has none."""
        places = np.arange(len(self.inner_tree)) - self.first_inner[self.inner_tree]
        inner, leaves = self.inner[self.inner_tree], self.leaves[self.inner_tree]
        is_inner = children >= 0
        in_range = np.where(is_inner, (children > places) & (children < inner), ~children < leaves)
        self._require_inner(in_range[0] & in_range[1], "a child is out of range or comes before its parent")
        reached = np.bincount(self._targets(children), minlength=len(self.inner_tree) + len(self.leaf_tree))
        roots = self.first_inner[self.inner > 0]
        reached[roots] += 1
        reached[len(self.inner_tree) + self.first_leaf[self.inner == 0]] += 1
        self._require_inner(reached[: len(self.inner_tree)] == 1, "a node has no parent or two parents")
        is_one = reached[len(self.inner_tree) :] == 1
        self._require(np.bincount(self.leaf_tree[~is_one], minlength=len(self.leaves)) == 0, "a leaf has two parents")

    def _targets(self, children: np.ndarray) -> np.ndarray:
        """Return the positions of child nodes among all inner nodes and then all leaves."""
        leaves = len(self.inner_tree) + self.first_leaf[self.inner_tree] + ~children
        targets: np.ndarray = np.where(children >= 0, self.first_inner[self.inner_tree] + children, leaves).ravel()
        return targets

    def _check_counts(self, children: np.ndarray, inner: np.ndarray, leaves: np.ndarray) -> None:
        """Check that the rows of a node are those of its children: contributions divide by their numbers."""
        counts = np.concatenate([inner, leaves])
        self._require_inner(inner < 2**31, "a count is out of range")
        self._require_inner(
            counts[self._targets(children)].reshape(2, -1).sum(axis=0) == inner, "its counts do not add up"
        )
        self._require(np.bincount(self.leaf_tree[leaves < 1], minlength=len(self.leaves)) == 0, "a leaf has no rows")

    def _check_categories(self, kinds: np.ndarray, thresholds: np.ndarray) -> None:
        """Check that the n-th split by a category set uses the n-th set."""
        by_set = (kinds & 1).astype(bool)
        self._require_inner(np.isin(kinds, (0, 1, 2, 4, 5, 6, 8, 9, 10)), "decision_type has an unknown bit")
        trees = self.inner_tree[by_set]
        self._require(
            np.bincount(trees, minlength=len(self.cats)) == self.cats, "num_cat is not its number of such splits"
        )
        first = np.cumsum(self.cats) - self.cats
        in_order = thresholds[by_set] == np.arange(len(trees)) - first[trees]
        self._require(
            np.bincount(trees[~in_order], minlength=len(self.cats)) == 0, "a split is by another category set"
        )
        has_sets = self.cats > 0
        written = np.array([tree["cat_boundaries"] is not None for tree in self._trees])
        self._require(written == has_sets, "it has category sets without splits, or splits without category sets")
        self._check_sets(
            [tree for tree, some in zip(self._trees, has_sets, strict=True) if some], np.flatnonzero(has_sets)
        )

    def _check_sets(self, trees: Sequence[re.Match[bytes]], numbers: np.ndarray) -> None:
        """Check that the sets of these trees are not empty and lie one after the other."""
        if not trees:
            return
        lines = {name: [tree[name] for tree in trees] for name in ("cat_boundaries", "cat_threshold")}
        borders, words = (_parse(b" ".join(items), name) for name, items in lines.items())
        n_borders, n_words = (np.array([line.count(b" ") + 1 for line in items]) for items in lines.values())
        self._require_tree(n_borders == self.cats[numbers] + 1, numbers, "cat_boundaries has another number of values")
        last = np.cumsum(n_borders) - 1
        first = last + 1 - n_borders
        self._require_tree(
            (borders[first] == 0) & (borders[last] == n_words), numbers, "its category sets have wrong borders"
        )
        rises = np.diff(borders, append=0) > 0
        rises[last] = True
        self._require_tree(np.logical_and.reduceat(rises, first), numbers, "its category sets have wrong borders")
        valid = (words >= 0) & (words < 2**32)
        starts = np.cumsum(n_words) - n_words
        self._require_tree(np.logical_and.reduceat(valid, starts), numbers, "a category set is out of range")

    def _check_depth(self, children: np.ndarray) -> None:
        """Limit the depth, and the time of contributions."""
        work, level = 0, self.first_inner[self.inner > 0]
        for depth in range(1, MAX_DEPTH + 1):
            below = children[:, level]
            work += depth**2 * int((below < 0).sum())
            level = (self.first_inner[self.inner_tree[level]] + below)[below >= 0]
            if not len(level):
                break
        self._require(
            np.bincount(self.inner_tree[level], minlength=len(self.inner)) == 0, f"it has more than {MAX_DEPTH} levels"
        )
        if work > MAX_WORK:
            raise ValueError("its trees are too many and too deep")

    def _require_inner(self, valid: np.ndarray, message: str) -> None:
        self._require(np.bincount(self.inner_tree[~valid], minlength=len(self.inner)) == 0, message)

    @staticmethod
    def _require_tree(valid: np.ndarray, numbers: np.ndarray, message: str) -> None:
        if not valid.all():
            raise ValueError(f"tree {numbers[int(np.argmin(valid))]}: {message}")

    def _require(self, valid: np.ndarray, message: str) -> None:
        """Raise ValueError with the first tree that is not valid; shape (n_trees,)."""
        if not valid.all():
            raise ValueError(f"tree {int(np.argmin(valid))}: {message}")


def _parse(text: bytes, name: str) -> np.ndarray:
    """Return the numbers of a line; raise ValueError unless they are written as LightGBM writes them."""
    integers = name in _INTEGERS
    if not text:
        return np.empty(0, dtype="int64" if integers else "float64")
    text = text.replace(b"inf", b"1e+999") if name == "threshold" else text
    kinds = _CHARACTERS[np.frombuffer(b" %b " % text, dtype="uint8")]
    valid = _PAIRS[kinds[:-1], kinds[1:]].all() and (_are_integers if integers else _are_decimals)(kinds)
    if not valid or np.diff(np.flatnonzero(kinds == _SPACE)).max() > (12 if integers else 40):
        raise ValueError(f"{name} contains something else than numbers")
    values = np.fromstring(text, dtype="int64" if integers else "float64", sep=" ")
    if not integers and name != "threshold" and not np.isfinite(values).all():
        raise ValueError(f"{name} contains a number that is not finite")
    return values


def _are_integers(kinds: np.ndarray) -> bool:
    """Return whether the numbers have no point, exponent or leading zero, and none is -0."""
    zeros = np.flatnonzero(kinds == _ZERO)
    before, after = kinds[zeros - 1], kinds[zeros + 1]
    leading = (before == _MINUS) | ((before == _SPACE) & (after != _SPACE))
    return not leading.any() and not np.isin(kinds, (_POINT, _EXPONENT, _PLUS)).any()


def _are_decimals(kinds: np.ndarray) -> bool:
    """Return whether no number has two points, two exponents or a point in its exponent."""
    marks = np.flatnonzero((kinds == _POINT) | (kinds == _EXPONENT))
    number = np.cumsum(kinds == _SPACE)[marks]
    together = number[1:] == number[:-1]
    in_order = (kinds[marks[:-1]] == _POINT) & (kinds[marks[1:]] == _EXPONENT)
    return bool(in_order[together].all())
