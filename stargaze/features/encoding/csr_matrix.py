"""A compressed sparse row matrix: the part of SciPy's that serving needs, as importing SciPy costs a worker 17 MB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class CsrMatrix:
    """Row i has the values ``data[indptr[i]:indptr[i + 1]]`` in the columns ``indices`` of the same slice."""

    data: np.ndarray
    indices: np.ndarray
    indptr: np.ndarray
    n_columns: int

    @classmethod
    def from_coordinates(
        cls, values: np.ndarray, columns: np.ndarray, rows: np.ndarray, shape: tuple[int, int]
    ) -> CsrMatrix:
        """Build a matrix from values and their coordinates; values with the same coordinates are added.

        Examples
        --------
        >>> values, columns, rows = np.array([1.0, 1.0, 5.0]), np.array([2, 2, 0]), np.array([0, 0, 1])
        >>> matrix = CsrMatrix.from_coordinates(values, columns, rows, (2, 3))
        >>> matrix.data.tolist(), matrix.indices.tolist(), matrix.indptr.tolist()
        ([2.0, 5.0], [2, 0], [0, 1, 2])
        """
        cells, inverse = np.unique(rows.astype("int64") * shape[1] + columns, return_inverse=True)
        data = np.bincount(inverse, values, len(cells)).astype(values.dtype)
        ends = np.cumsum(np.bincount(cells // shape[1], minlength=shape[0]))
        return cls(data, (cells % shape[1]).astype("int32"), np.append(0, ends), shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.indptr) - 1, self.n_columns

    @property
    def rows(self) -> np.ndarray:
        """The row of each value."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))

    def __getitem__(self, selected: np.ndarray) -> CsrMatrix:
        """Return rows by their numbers or by a mask."""
        rows = np.arange(self.shape[0])[selected]
        starts, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        ends = np.append(0, np.cumsum(counts))
        taken = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], counts)
        return CsrMatrix(self.data[taken], self.indices[taken], ends, self.n_columns)

    def __matmul__(self, dense: np.ndarray) -> np.ndarray:
        """Multiply by a vector or a matrix; sums run in the order of the columns, as in SciPy."""
        columns = dense.reshape(self.n_columns, -1).T
        product, rows = np.zeros((self.shape[0], len(columns)), dtype=np.result_type(self.data, dense)), self.rows
        for i, column in enumerate(columns):
            np.add.at(product[:, i], rows, self.data * column[self.indices])
        return product.reshape(self.shape[0], *dense.shape[1:])

    def to_scipy(self) -> Any:
        """Return a SciPy matrix, which scikit-learn can fit on."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.data, self.indices, self.indptr), shape=self.shape)
