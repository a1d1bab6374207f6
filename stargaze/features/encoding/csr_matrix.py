"""Tables of mostly zeros, kept row by row: what serving needs of SciPy's, whose import costs a worker 17 MB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class CsrMatrix:
    """Row i has the values ``data[indptr[i]:indptr[i + 1]]`` in the columns ``indices`` of the same places, each column once."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int

    @classmethod
    def of(cls, values: np.ndarray, columns: np.ndarray, rows: np.ndarray, shape: tuple[int, int]) -> CsrMatrix:
        """Add up the values that have the same place.

        Examples
        --------
        >>> table = CsrMatrix.of(np.array([1.0, 1.0, 5.0]), np.array([2, 2, 0]), np.array([0, 0, 1]), (2, 3))
        >>> table.data.tolist(), table.indices.tolist(), table.indptr.tolist()
        ([2.0, 5.0], [2, 0], [0, 1, 2])
        """
        places, which = np.unique(rows.astype("int64") * shape[1] + columns, return_inverse=True)
        data = np.bincount(which, values, len(places)).astype(values.dtype)
        ends = np.cumsum(np.bincount(places // shape[1], minlength=shape[0]))
        return cls(data, (places % shape[1]).astype("int32"), np.append(0, ends), shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.indptr) - 1, self.n_columns

    @property
    def rows(self) -> np.ndarray:
        """In which row each value is."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def __getitem__(self, chosen: np.ndarray) -> CsrMatrix:
        """Return some rows, by their places or a mask."""
        places = np.arange(self.shape[0])[chosen]
        begins, counts = self.indptr[places], np.diff(self.indptr)[places]
        ends = np.append(0, np.cumsum(counts))
        taken = np.arange(ends[-1]) + np.repeat(begins - ends[:-1], counts)
        return CsrMatrix(self.data[taken], self.indices[taken], ends, self.n_columns)

    def __matmul__(self, dense: np.ndarray) -> np.ndarray:
        """Multiply with a vector or a matrix, value by value in the order of the columns, as SciPy does."""
        columns = dense.reshape(self.n_columns, -1).T
        product, rows = np.zeros((self.shape[0], len(columns)), dtype=np.result_type(self.data, dense)), self.rows
        for place, column in enumerate(columns):
            np.add.at(product[:, place], rows, self.data * column[self.indices])
        return product.reshape(self.shape[0], *dense.shape[1:])

    def as_scipy(self) -> Any:
        """Return it as what scikit-learn fits on."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.data, self.indices, self.indptr), shape=self.shape)
