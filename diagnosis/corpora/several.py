"""Several notes of one admission made one, whatever their order in the file, without holding texts."""

import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import Literal

PerAdmission = Literal["keep", "concatenate", "last"]


def one_an_admission(
    notes: Iterator[tuple[str, bool, dict]], policy: Literal["concatenate", "last"], skipped: Counter
) -> Iterator[dict]:
    """Yield one row an encounter_id, in the order of their first notes, from (time as sortable text, is an addendum, row).

    `concatenate` joins the texts by time (then by place in the file) under the first note's note_id; `last` takes the latest,
    an addendum only where the admission has nothing else. The rows wait in a file without a name in TMPDIR, which gets the size of
    the texts; what is held is 8 bytes a note and an entry an admission.
    """
    places: dict[str, array] = {}
    with tempfile.TemporaryFile() as waiting:
        end = 0
        for time, addendum, row in notes:
            places.setdefault(row["encounter_id"], array("Q")).append(end)
            end += waiting.write(json.dumps([time, addendum, row]).encode() + b"\n")
        for of_admission in places.values():
            found = []
            for place in of_admission:
                waiting.seek(place)
                found.append(json.loads(waiting.readline()))
            found.sort(key=lambda note: note[0])
            if policy == "last":
                _, _, row = ([note for note in found if not note[1]] or found)[-1]
                skipped["earlier_note_of_admission"] += len(found) - 1
            else:
                rows = [row for _, _, row in found]
                types = dict.fromkeys(row["note_type"] for row in rows if row["note_type"])
                row = rows[0] | {
                    "text": "\n\n".join(row["text"] for row in rows),
                    "note_type": " + ".join(types) or None,
                }
                skipped["joined_to_first_note"] += len(found) - 1
            yield row
