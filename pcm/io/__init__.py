"""Data in and out: frames and Arrow tables to named tensors and back, tables on disk, ArviZ trees, the store.

>>> read_evidence({"age": [40, 50]}, [Column("age")]).values["age"].tolist()
[40.0, 50.0]
"""

from pcm.io.columns import Column as Column
from pcm.io.columns import element_names as element_names
from pcm.io.frames import Evidence as Evidence
from pcm.io.frames import read_evidence as read_evidence
from pcm.io.frames import write_frame as write_frame
from pcm.io.intervals import Interval as Interval
from pcm.io.row_ids import row_ids as row_ids
from pcm.io.tables import read_table as read_table
from pcm.io.tables import write_table as write_table

__all__ = [
    "Column",
    "Evidence",
    "Interval",
    "element_names",
    "read_evidence",
    "read_table",
    "row_ids",
    "write_frame",
    "write_table",
]
