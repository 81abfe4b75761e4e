"""Shards that share no patient and no near-duplicate, with the classes of each alike."""

import hashlib
import heapq
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from diagnosis.errors import UserError

SHARDS = ("train", "validation", "calibration", "test")


def connected(*keys: Sequence[Hashable | None]) -> list[int]:
    """Group rows that share a value in any of the columns `keys`, directly or through other rows (union-find).

    None joins nothing. Returns for each row the number of its group: the position of the group's first row.
    """
    parent = list(range(len(keys[0])))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for column in keys:
        first: dict = {}
        for row, value in enumerate(column):
            if value is not None:
                one, other = root(row), root(first.setdefault(value, row))
                parent[max(one, other)] = min(one, other)
    return [root(row) for row in range(len(parent))]


def stratified(
    groups: Sequence[int],
    labels: Sequence[Sequence[str]],
    note_ids: Sequence[str],
    shares: dict[str, float],
    seed: int,
) -> list[str]:
    """The shard of each row: groups stay whole, and each label comes as near to the shares as whole groups allow.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), over groups of notes: the label with the fewest
    notes left is dealt first, its groups one by one to the shard that still wants most of it; then the shard that wants most notes.
    Ties and the order of groups come from a hash of the seed and the group's smallest note_id, so rows in another order
    give the same shards. Shards whose share is 0 get nothing. `shares` sum to 1.
    """
    rows = defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    counts = {group: Counter(label for row in members for label in labels[row]) for group, members in rows.items()}
    rank = {group: _hash(seed, min(note_ids[row] for row in members)) for group, members in rows.items()}

    names = [name for name in shares if shares[name] > 0]
    left = Counter(label for row in labels for label in row)
    wanted = {label: {name: shares[name] * count for name in names} for label, count in left.items()}
    wanted_notes = {name: shares[name] * len(groups) for name in names}
    holders = defaultdict(list)
    for group, count in counts.items():
        for label in count:
            holders[label].append(group)

    shard: dict[int, str] = {}

    def deal(group: int, label: str | None) -> None:
        want = wanted[label] if label is not None else wanted_notes
        name = max(names, key=lambda n: (want[n], wanted_notes[n], _hash(rank[group], n)))
        shard[group] = name
        wanted_notes[name] -= len(rows[group])
        for other, count in counts[group].items():
            wanted[other][name] -= count
            left[other] -= count

    queue = [(count, label) for label, count in left.items()]
    heapq.heapify(queue)
    while queue:
        count, label = heapq.heappop(queue)
        if count != left[label]:  # dealt in part with rarer labels
            heapq.heappush(queue, (left[label], label))
            continue
        # Large groups first: the small ones then even out what they overshot.
        for group in sorted(holders[label], key=lambda g: (-counts[g][label], rank[g])):
            if group not in shard:
                deal(group, label)
    for group in sorted(rows, key=lambda g: (-len(rows[g]), rank[g])):
        if group not in shard:  # notes without a label
            deal(group, None)
    return [shard[group] for group in groups]


def _hash(*parts) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def official(
    given: Sequence[str],
    patients: Sequence[str | None],
    clusters: Sequence[str | None],
    labels: Sequence[Sequence[str]],
    note_ids: Sequence[str],
    shares: dict[str, float],
    seed: int,
) -> tuple[list[str | None], dict[str, int]]:
    """The shard of each row where the source's own split (`given`: names of `SHARDS`) decides; None for rows that leave.

    Test stays test, and validation and calibration stay where the source has them; a note that shares its patient or its
    cluster with a shard to the right of its own leaves (train < validation < calibration < test). The remaining train rows are
    dealt over train and the shards that the source lacks, test aside, by `shares` brought to sum 1. Returns with it the
    number of notes that left each shard.
    """
    shard: list[str | None] = list(given)
    left = Counter()
    seen_patients, seen_clusters = set(), set()
    for name in reversed(SHARDS):
        rows = [row for row, own in enumerate(given) if own == name]
        crossing = [row for row in rows if patients[row] in seen_patients or clusters[row] in seen_clusters]
        for row in crossing:
            shard[row] = None
        left[name] = len(crossing)
        staying = [row for row in rows if shard[row] is not None]
        seen_patients |= {patients[row] for row in staying} - {None}
        seen_clusters |= {clusters[row] for row in staying} - {None}

    train = [row for row, name in enumerate(shard) if name == "train"]
    open_shares = {name: shares[name] for name in SHARDS[:3] if name == "train" or name not in given}
    total = sum(open_shares.values())
    dealt = stratified(
        connected([patients[row] for row in train], [clusters[row] for row in train]) if train else [],
        [labels[row] for row in train],
        [note_ids[row] for row in train],
        {name: value / total for name, value in open_shares.items()},
        seed,
    )
    for row, name in zip(train, dealt, strict=True):
        shard[row] = name
    return shard, {name: left[name] for name in SHARDS[:3]}


SHIFTED_OR_EXACT = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|(?<!\d)2[1-9]\d\d(?!\d)"
)  # a whole date; a year from 2100 on


def by_period(periods: Sequence[str | None], test_periods: Sequence[str], corpus: str | None) -> list[str | None]:
    """test for the notes of `test_periods`, train for those of others, None for those without: a split for `official`.

    Raises UserError where the periods are none that can be compared between patients, or do not have the test periods.
    Other values than the params' own are not shown: a column mapped by mistake may hold names.
    """
    if not any(periods):
        raise UserError(
            f"split.test_periods is set, but no note of {corpus} has a period: dates shifted by patient, as MIMIC-III's are, "
            "allow no split by time; set split.test_periods to []"
        )
    if wrong := sum(bool(period and SHIFTED_OR_EXACT.search(period)) for period in periods):
        raise UserError(
            f"split.test_periods is set, but the periods of {wrong} notes are exact dates or years from 2100 on: dates shifted by "
            "patient, as MIMIC's are, allow no split by time; map a coarse period that holds for all patients"
        )
    for period in test_periods:
        if period not in periods:
            raise UserError(f"split.test_periods has {period!r}, but no note is of that period: check its spelling")
    if not set(periods) - {None, *test_periods}:
        raise UserError("split.test_periods has every period that there is: leave some of them to train")
    return [None if not period else "test" if period in test_periods else "train" for period in periods]


def vocabulary(train_labels: Sequence[Sequence[str]], min_notes: int, top_k: int | None) -> list[str]:
    """The classes, sorted: those with at least `min_notes` notes of the train shard, and of them the `top_k` commonest."""
    counts = Counter(label for row in train_labels for label in set(row))
    frequent = sorted((label for label in counts if counts[label] >= min_notes), key=lambda c: (-counts[c], c))
    return sorted(frequent[:top_k])


def restricted(
    shard: Sequence[str | None], labels: Sequence[list[str]], classes: list[str], single: bool, untouched: Sequence[str]
) -> tuple[list[str | None], list[list[str]], dict[str, int], int]:
    """Shards and labels of the rows with `classes` alone, but for the `untouched` shards.

    A single-label note of another class leaves its shard (None); a multi-label note stays and loses that label. Returns with
    them the notes that left by shard, and how many labels were taken from notes.
    """
    shard, labels, known = list(shard), list(labels), set(classes)
    rare, removed = Counter(), 0
    for row, name in enumerate(shard):
        if name is None or name in untouched or known.issuperset(labels[row]):
            continue
        if single:
            shard[row] = None
            rare[name] += 1
        else:
            kept = [label for label in labels[row] if label in known]
            removed += len(labels[row]) - len(kept)
            labels[row] = kept
    return shard, labels, {name: rare[name] for name in SHARDS}, removed


def crossings(shards: dict[str, list[tuple[str | None, str | None]]]) -> dict[str, int]:
    """How many patients and clusters stand in more than one shard, from each shard's (patient, cluster) pairs."""
    where = {"patients": defaultdict(set), "clusters": defaultdict(set)}
    for name, pairs in shards.items():
        for patient, cluster in pairs:
            where["patients"][patient].add(name)
            where["clusters"][cluster].add(name)
    return {kind: sum(len(names) > 1 for key, names in of.items() if key is not None) for kind, of in where.items()}


# ---------------------------------------------------------------- what a user may bring that cannot be split


def check_notes(note_ids: Sequence[str], labels: Sequence[Sequence[str]], single: bool) -> None:
    """Raises UserError for no notes, repeated ids, a single-label note without exactly one label, or one class only."""
    if not note_ids:
        raise UserError("there are no notes to split: check what metrics/ingest.json and metrics/clean.json left out")
    if repeated := len(note_ids) - len(set(note_ids)):
        raise UserError(f"{repeated} note_ids occur more than once: make them unique in the source")
    if wrong := sum(len(row) != 1 for row in labels) if single else 0:
        raise UserError(f"{wrong} notes have not exactly one label in a single-label task: check ingest.labels")
    if len({label for row in labels for label in row}) < 2:
        raise UserError(
            "all notes have the same label, there is nothing to learn: check ingest.labels and ingest.table.labels"
        )


def check_official(given: Sequence[str | None]) -> None:
    """Raises UserError where the source's split is absent or has other values. They are not shown: a column mapped by
    mistake may hold names."""
    if wrong := sum(value not in SHARDS for value in given):
        raise UserError(
            f"split.official is true, but {wrong} of {len(given)} notes have no split of {', '.join(SHARDS)}: "
            "mend that column of the source or set split.official to false"
        )
    for name in ("train", "test"):
        if name not in given:
            raise UserError(f"split.official is true, but no note's split is {name}: set split.official to false")


def check_filled(shard: Sequence[str | None], shares: dict[str, float]) -> None:
    """Raises UserError where a shard with a share above 0 is empty."""
    for name in SHARDS:
        if name not in shard and shares[name] > 0:
            raise UserError(
                f"no note is left for the {name} shard ({len(shard)} notes in all, and those of one patient or near-duplicate "
                f"cluster stay together): raise split.{name}_share, lower split.min_notes_per_class or bring more notes"
            )
