"""Explanations and the scores of single pairs on disk: a Parquet file each."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gmask_pl.certificates import Certificates, GroupCertificate, WordSet
from gmask_pl.command_names import command_name
from gmask_pl.explanation import TRUNCATED, Explanation
from gmask_pl.files import whole_file
from gmask_pl.responses import Responses
from gmask_pl.seals import UNSEALED, read_sealed, seal
from gmask_pl.types import Groups, Interactions, PairScore, UserError

ROWS_PER_GROUP = 512
LABELS_KEY, _FAILED, _SEAL = b"labels", b"failed", b"seal"
# What contents that were not written here raise, whatever reads them.
_DAMAGED = (pa.ArrowException, OSError, LookupError, TypeError, ValueError)
_Row = TypeVar("_Row")

_STRINGS = pa.list_(pa.string())
_NUMBERS = pa.list_(pa.float64())

_WORD_SET = pa.struct(
    [("words", pa.list_(pa.int64())), ("value", pa.float64()), ("others", pa.int64())]
)
_CERTIFICATES = pa.struct(
    [
        ("words", pa.list_(pa.int64())),
        ("empty", pa.float64()),
        (
            "groups",
            pa.list_(
                pa.struct(
                    [
                        ("words", pa.list_(pa.int64())),
                        *((f.name, pa.float64()) for f in fields(GroupCertificate)[1:]),
                    ]
                )
            ),
        ),
        ("sufficient", _WORD_SET),
        ("contrastive", _WORD_SET),
        ("kept_asked", pa.bool_()),
        ("removed_asked", pa.bool_()),
    ]
)
# Arrays as the bytes of their rows: masks uint8, same bool, the others float32, little-endian.
_ARRAYS = {"masks": "u1", "values": "<f4", "same": "?", "probabilities": "<f4"}
_RESPONSES = pa.struct(
    [("words", pa.int64()), ("rows", pa.int64()), *((name, pa.binary()) for name in _ARRAYS)]
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("words1", _STRINGS, nullable=False),
        pa.field("words2", _STRINGS, nullable=False),
        pa.field("label", pa.int64()),
        pa.field("label_name", pa.string()),
        pa.field("prediction", pa.int64(), nullable=False),
        pa.field("prediction_name", pa.string(), nullable=False),
        pa.field("probabilities", _NUMBERS, nullable=False),
        pa.field("scores", _NUMBERS, nullable=False),
        pa.field("candidates", pa.list_(pa.int64())),
        pa.field("group_words", _STRINGS),
        pa.field("phi", pa.list_(_NUMBERS)),
        pa.field("psi", _NUMBERS),
        pa.field("kept_alone", _NUMBERS),
        pa.field("removed", _NUMBERS),
        pa.field("group_kinds", _STRINGS),
        pa.field("suffices", pa.list_(pa.bool_())),
        pa.field("missed", pa.list_(pa.bool_())),
        pa.field("stability", _NUMBERS),
        pa.field("evaluations", pa.int64(), nullable=False),
        pa.field("gradients", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("pairs", pa.list_(pa.list_(pa.int64()))),
        pa.field("pair_words", pa.list_(_STRINGS)),
        pa.field("interactions", _NUMBERS),
        pa.field("truncated", pa.bool_()),
        pa.field("question", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("text1", pa.string()),
        pa.field("text2", pa.string()),
        pa.field("spans1", pa.list_(pa.list_(pa.int64()))),
        pa.field("spans2", pa.list_(pa.list_(pa.int64()))),
        pa.field("score_meaning", pa.string()),
        pa.field("method", pa.string()),
        pa.field("removal", pa.string()),
        pa.field("warnings", _STRINGS),
        pa.field("unread", pa.list_(pa.int64())),
        pa.field("certificates", _CERTIFICATES),
        pa.field("responses", _RESPONSES),
    ]
)

PAIR_SCORES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("removal", pa.string()),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("row", _NUMBERS, nullable=False),
    ]
)


def write_explanations(
    path: Path | str,
    explanations: Iterable[Explanation],
    labels: Sequence[str],
    failed: Mapping[str, str] | None = None,
) -> int:
    """Write explanations as they come and return how many there were.

    - path: of the Parquet file, which appears whole or not at all.
    - explanations: those of one model.
    - labels: the names of its classes, in index order.
    - failed: the reason of every pair that has none, by id; see `read_failed`.

    ``scores`` (W,) follow the joint word order; ``candidates`` (k,), ``phi`` (k, t) and
    ``psi`` (t,) are null where the method has no groups, ``pairs`` (p, 2) and ``interactions``
    (p,) where it has no interactions. Raises UserError for a class without a name, ValueError
    where scores and words do not match. See `read_explanations` for an example.
    """
    metadata = {LABELS_KEY: json.dumps(list(labels)).encode()}
    schema = SCHEMA.with_metadata(metadata | _told(failed))
    return write_parquet(path, schema, (_to_row(one, labels) for one in explanations))


def write_pair_scores(
    path: Path | str, scores: Iterable[PairScore], failed: Mapping[str, str] | None = None
) -> int:
    """Write the numbers of every pair under every metric; return how many rows there were."""
    return write_parquet(path, PAIR_SCORES.with_metadata(_told(failed)), map(asdict, scores))


def read_failed(path: Path | str) -> dict[str, str]:
    """The pairs that a file of explanations or pair scores lacks, and why, by id.

    Raises UserError where they cannot be read.
    """
    with _parquet(path, "explanations or pair scores") as file:
        told = (file.metadata.metadata or {}).get(_FAILED, b"{}")
    try:
        return {str(id): str(reason) for id, reason in json.loads(told).items()}
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: its list of failed pairs is damaged ({error})") from error


def _told(failed: Mapping[str, str] | None) -> dict[bytes, bytes]:
    return {_FAILED: json.dumps(dict(failed)).encode()} if failed else {}


def read_pair_scores(path: Path | str) -> Iterator[PairScore]:
    """Read them back one by one, in the order they were written.

    Raises UserError when there is no such file or it holds something else.
    """
    return _rows(
        path,
        PAIR_SCORES,
        "pair scores",
        lambda row, _: PairScore(**row | {"row": tuple(row["row"])}),
    )


def write_parquet(path: Path | str, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> int:
    """Write rows as they come. The file appears whole or not at all: when anything fails, an
    earlier file of that name stays as it was. It is sealed."""
    count = 0
    schema = schema.with_metadata((schema.metadata or {}) | {_SEAL: UNSEALED.encode()})
    with whole_file(path) as draft:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            while chunk := list(islice(rows, ROWS_PER_GROUP)):
                writer.write_table(pa.Table.from_pylist(chunk, schema=schema))
                count += len(chunk)
        seal(draft)
    return count


def read_explanations(path: Path | str) -> Iterator[Explanation]:
    """Read explanations back one by one, exactly as they were written.

    - path: of a file that `write_explanations`, `Explanations.to_parquet` or a run has left.

    Raises UserError when there is no such file or it holds something else.

    >>> import tempfile
    >>> from gmask_pl import PairExplainer, read_explanations, write_explanations
    >>> explain = PairExplainer(lambda pairs: [1.0 for _ in pairs], method="random")
    >>> found = explain("a dog", "a cat")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_explanations(f"{folder}/e.parquet", [found], explain.labels)
    ...     list(read_explanations(f"{folder}/e.parquet")) == [found]
    1
    True
    """
    return _rows(path, SCHEMA, "explanations", _from_row)


def check_stored(path: Path | str, ids: Collection[str], *, scores: bool = False) -> None:
    """Raises UserError where a file of explanations, or of pair scores, cannot be read whole, or
    has neither a row for each of these pairs nor the reason why not."""
    check_pairs(path, read_pair_scores(path) if scores else read_explanations(path), ids)


def check_pairs(
    path: Path | str, rows: Iterable[Explanation | PairScore], ids: Collection[str]
) -> None:
    """Raises UserError where some of these pairs have no row and are not named as failed."""
    lacking = set(ids) - {row.id for row in rows} - read_failed(path).keys()
    if lacking:
        raise UserError(f"{path}: it lacks {len(lacking)} of {len(ids)} pairs")


def _rows(
    path: Path | str,
    schema: pa.Schema,
    what: str,
    make: Callable[[dict[str, Any], tuple[str, ...]], _Row],
) -> Iterator[_Row]:
    """make: of a row, and the label names of the file."""
    with _open(path, schema, what) as file:
        try:
            labels = tuple(json.loads((file.schema_arrow.metadata or {}).get(LABELS_KEY, b"[]")))
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                yield from (make(row, labels) for row in batch.to_pylist())
        except _DAMAGED as error:
            raise UserError(f"{path}: damaged, not all {what} can be read ({error})") from error


def read_costs(path: Path | str) -> dict[str, tuple[float, int]]:
    """Seconds and model evaluations of every pair by its id, without reading the rest."""
    with _open(path, SCHEMA, "explanations") as file:
        try:
            columns = file.read(["id", "seconds", "evaluations"]).to_pydict()
        except _DAMAGED as error:
            raise UserError(f"{path}: damaged, no costs can be read ({error})") from error
    return dict(
        zip(
            columns["id"], zip(columns["seconds"], columns["evaluations"], strict=True), strict=True
        )
    )


def read_labels(path: Path | str) -> tuple[str, ...]:
    """The label names of a file of explanations, in index order."""
    with _open(path, SCHEMA, "explanations") as file:
        try:
            return tuple(json.loads(file.schema_arrow.metadata[LABELS_KEY]))
        except _DAMAGED as error:
            raise UserError(f"{path}: its labels are damaged ({error})") from error


def _parquet(path: Path | str, what: str) -> pq.ParquetFile:
    if not Path(path).is_file():
        raise UserError(
            f"{path}: no such file of {what}; run {command_name('explain')} to make one"
        )
    try:
        return pq.ParquetFile(pa.BufferReader(read_sealed(path)))
    except _DAMAGED as error:
        raise UserError(f"{path}: not a Parquet file of {what} ({error})") from error


def _open(path: Path | str, schema: pa.Schema, what: str) -> pq.ParquetFile:
    file = _parquet(path, what)
    labelled = schema is not SCHEMA or LABELS_KEY in (file.schema_arrow.metadata or {})
    found = {field.name: field for field in file.schema_arrow}
    # A column that may be null may be missing too: an earlier version did not write it.
    missing = {field.name for field in schema if field.nullable} - set(found)
    wanted = {field.name: field for field in schema if field.name not in missing}
    if found != wanted or not labelled:
        file.close()
        raise UserError(
            f"{path}: its columns are {', '.join(file.schema_arrow.names)}, which are not those "
            f"of a file of {what}; make it again by {command_name('explain')}"
        )
    return file


def _name(labels: Sequence[str], index: int, pair: str) -> str:
    if not 0 <= index < len(labels):
        raise UserError(
            f"pair {pair}: class {index} has no name among {list(labels)}; "
            "give one label name for each class of the model"
        )
    return labels[index]


def _to_row(e: Explanation, labels: Sequence[str]) -> dict[str, Any]:
    groups, joint, words = e.groups, e.interactions, e.words
    if len(e.scores) != len(words):
        raise ValueError(f"pair {e.id}: {len(e.scores)} scores for {len(words)} words")
    own = {field.name: getattr(e, field.name) for field in fields(e)}
    own.pop("labels")  # of the file
    return own | {
        "label_name": None if e.label is None else _name(labels, e.label, e.id),
        "prediction_name": _name(labels, e.prediction, e.id),
        "candidates": groups and groups.candidates,
        "group_words": groups and [words[position] for position in groups.candidates],
        "phi": groups and groups.phi,
        "psi": groups and groups.psi,
        "kept_alone": groups and groups.kept,
        "removed": groups and groups.removed,
        "group_kinds": groups and groups.kinds,
        "suffices": groups and groups.suffices,
        "missed": groups and groups.missed,
        "stability": groups and groups.stability,
        "pairs": joint and joint.pairs,
        "pair_words": joint and [[words[one], words[two]] for one, two in joint.pairs],
        "interactions": joint and joint.values,
        "certificates": e.certificates and asdict(e.certificates),
        "responses": e.responses and _to_bytes(e.responses),
    }


def _to_bytes(said: Responses) -> dict[str, Any]:
    arrays = {name: getattr(said, name).astype(kind).tobytes() for name, kind in _ARRAYS.items()}
    return {"words": said.words, "rows": len(said), **arrays}


def _from_bytes(row: Mapping[str, Any]) -> Responses:
    """Raises ValueError where the bytes are not those of so many rows."""
    arrays = {
        name: np.frombuffer(row[name], dtype=kind).reshape(row["rows"], -1)
        for name, kind in _ARRAYS.items()
    }
    return Responses(
        row["words"],
        arrays["masks"],
        arrays["values"][:, 0],
        arrays["same"][:, 0],
        arrays["probabilities"],
    )


def _from_row(row: dict[str, Any], labels: tuple[str, ...]) -> Explanation:
    found = {name: _tuples(value) for name, value in row.items()}
    own: dict[str, Any] = {field.name: found.get(field.name) for field in fields(Explanation)}
    own["interactions"], own["labels"] = None, labels
    if found.get("warnings") is None:  # of an earlier version
        own["warnings"] = (TRUNCATED,) if found.get("truncated") else ()
    own["unread"] = found.get("unread") or ()
    if found["candidates"] is not None:
        own["groups"] = Groups(
            found["candidates"],
            found["phi"],
            found["psi"],
            found.get("kept_alone"),
            found.get("removed"),
            found.get("group_kinds"),
            found.get("suffices"),
            found.get("missed"),
            found.get("stability"),
        )
    if found["pairs"] is not None:
        own["interactions"] = Interactions(found["pairs"], found["interactions"])
    if (known := found.get("certificates")) is not None:
        sets = (known[name] and WordSet(**known[name]) for name in ("sufficient", "contrastive"))
        sufficient, contrastive = sets
        groups = tuple(GroupCertificate(**group) for group in known["groups"])
        known = known | {"groups": groups, "sufficient": sufficient, "contrastive": contrastive}
        own["certificates"] = Certificates(**known)
    if (said := row.get("responses")) is not None:
        own["responses"] = _from_bytes(said)
    return Explanation(**own)


def _tuples(value: Any) -> Any:
    """Lists, also within one another and within records, as tuples."""
    if isinstance(value, dict):
        return {name: _tuples(own) for name, own in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
