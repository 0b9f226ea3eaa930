"""Read scores from a log of inspect: ``.eval``, a zip archive with a file for each sample, or one JSON document.

A sample has an id, an epoch (the number of its sample), scores by scorer, or an error.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from espl_bench.data.opening import arrow_package
from espl_bench.errors import DataError
from espl_bench.scores.score import Score, Selection, Source, choose, number
from espl_bench.utils.foreign_json import InvalidJsonError, parse_json, parse_object
from espl_bench.utils.named_files import open_named, read_named

HEADER: Final = "header.json"
SUMMARIES: Final = "summaries.json"
SAMPLES: Final = "samples/"
ZSTANDARD: Final = 93
"""Number of the packing in the format of zip."""
_LOCAL: Final = struct.Struct("<4s22xHH")
"""What stands before a file in an archive: a mark, and the lengths of its name and of further fields."""
LARGEST: Final = 2**30
"""Most bytes of a document, or of a part of an archive once unpacked."""
OURS: Final = "espl-bench export-scores"
"""Note in the metadata of a log that this package wrote."""


def is_inspect(path: Path) -> bool:
    """Return whether a file is an archive of inspect."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return HEADER in archive.namelist()


def is_inspect_document(content: object) -> bool:
    """Return whether a JSON document is a log."""
    return isinstance(content, dict) and {"eval", "samples", "status"} <= cast(dict[str, Any], content).keys()


def read_inspect(source: Source, selection: Selection) -> Iterator[Score]:
    """Yield the scores of a log. Raises UsageError if it has several scorers and none is named, DataError if it is damaged."""
    header, samples = _document(source.path) if not zipfile.is_zipfile(source.path) else _archive(source.path)
    described = cast(dict[str, Any], header.get("eval") or {})
    task, model = str(described.get("task") or source.path.stem), str(described.get("model") or source.path.stem)
    ours = _ours(described)
    if header.get("status") != "success":
        raise DataError(f"{source.path}: its evaluation ended with status {header.get('status')!r}; finish it with: inspect eval-retry")
    if not samples:
        raise DataError(f"{source.path} holds no samples; log them, or convert it again with: inspect log convert")
    scorer, part = _chosen(samples, source.path, selection)
    for place, sample in enumerate(samples, start=1):
        if "id" not in sample:
            raise DataError(f"{source.path}, sample {place} has no id")
        yield Score(
            test=task,
            method=source.method or str(ours.get("method") or model),
            run=source.run or str(ours.get("seed", "")),
            item=str(sample["id"]),
            value=None if sample.get("error") else _value(sample, scorer, part),
            sample=str(sample.get("epoch", 1)),
        )


def _ours(described: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what `export-scores` notes in a log: method and seed. Empty for a log of anybody else."""
    metadata = described.get("metadata")
    noted: Mapping[str, Any] = cast(Mapping[str, Any], metadata) if isinstance(metadata, dict) else {}
    return noted if noted.get("written_by") == OURS else {}


def _value(sample: Mapping[str, Any], scorer: str, part: str | None) -> float | None:
    score = cast(Mapping[str, Any], sample.get("scores") or {}).get(scorer)
    value = cast(Mapping[str, Any], score).get("value") if isinstance(score, dict) else score
    if isinstance(value, dict):
        return None if part is None else number(cast(Mapping[str, Any], value).get(part))
    return number(value)


def _chosen(samples: list[dict[str, Any]], path: Path, selection: Selection) -> tuple[str, str | None]:
    """Return the scorer, and the part of its value if that is a dictionary."""
    there: dict[str, tuple[str, str | None]] = {}
    for sample in samples:
        for name, score in cast(dict[str, Any], sample.get("scores") or {}).items():
            value = cast(dict[str, Any], score).get("value") if isinstance(score, dict) else score
            for part in cast(dict[str, Any], value) if isinstance(value, dict) else (None,):
                there.setdefault(name if part is None else f"{name},{part}", (name, part))
    if not there:
        raise DataError(f"{path} has no scored sample; score it with: inspect score")
    return choose(there, selection, path)


def _document(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        content = parse_object(read_named(path, LARGEST))
    except (InvalidJsonError, OSError) as error:
        raise DataError(f"{path} cannot be read as a log of inspect ({error}); fetch it again") from error
    return content, _records(content.get("samples"), path)


def _archive(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header, and the samples' summaries, or the samples themselves where there are no summaries."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            header = parse_object(_part(archive, HEADER, path))
            if SUMMARIES in names:
                return header, _records(parse_json(_part(archive, SUMMARIES, path)), path)
            return header, [parse_object(_part(archive, name, path)) for name in sorted(names) if name.startswith(SAMPLES)]
    except NotImplementedError as error:
        remedy = "convert it with: inspect log convert --to json --output-dir DIR"
        raise DataError(f"{path} is packed in a way that is not read here ({error}); {remedy}") from error
    except (InvalidJsonError, zipfile.BadZipFile, OSError, KeyError) as error:
        raise DataError(f"{path} cannot be read as a log of inspect ({error}); fetch it again") from error


def _part(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """Read a file of an archive. inspect packs with Zstandard, which Python's own module does not read before 3.14."""
    info = archive.getinfo(name)
    if info.file_size > LARGEST:
        raise DataError(f"{path} holds a {name} of more than {LARGEST} bytes; convert it to a table")
    if info.compress_type != ZSTANDARD:
        return archive.read(name)
    with open_named(path, LARGEST) as file:
        file.seek(info.header_offset)
        signature, name_bytes, extra_bytes = _LOCAL.unpack(file.read(_LOCAL.size))
        if signature != b"PK\x03\x04":
            raise zipfile.BadZipFile(f"{name} is not where the archive says")
        file.seek(name_bytes + extra_bytes, os.SEEK_CUR)
        packed = file.read(info.compress_size)
    arrow = arrow_package("a log of inspect")
    try:
        unpacked: bytes = arrow.decompress(packed, decompressed_size=info.file_size, codec="zstd", asbytes=True)
    except (arrow.ArrowException, OSError) as error:
        raise zipfile.BadZipFile(f"{name} does not unpack") from error
    if zlib.crc32(unpacked) != info.CRC:
        raise zipfile.BadZipFile(f"{name} is not what was packed")
    return unpacked


def _records(value: object, path: Path) -> list[dict[str, Any]]:
    records = cast(list[Any], value) if isinstance(value, list) else []
    if not all(isinstance(record, dict) for record in records):
        raise DataError(f"{path} holds samples that are no records; fetch it again")
    return records
