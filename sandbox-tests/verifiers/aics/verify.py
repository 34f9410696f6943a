"""Checks an export of the journal with aics-tlog (PyPI), none of which comes from this project.

    python verify.py DIR VKEY

Needs Python 3.12 and `pip install aics-tlog==0.2.1`. Exits with 0 when checkpoint, tiles and entries are
right, with 1 when not, and with 3 when the package is missing.
"""

import pathlib
import sys

try:
    import aics_tlog
except ImportError:
    sys.exit(3)


def main(folder: str, vkey_file: str) -> int:
    key = aics_tlog.parse_vkey(pathlib.Path(vkey_file).read_text().removesuffix("\n"))
    note = aics_tlog.parse_note(pathlib.Path(folder, "checkpoint").read_bytes())
    checkpoint = aics_tlog.verify_checkpoint(note, key, expected_origin=key.name)
    if not checkpoint.ok:
        print(f"checkpoint: {checkpoint.error}", file=sys.stderr)
        return 1
    try:
        aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
    except (aics_tlog.TileMissingError, aics_tlog.TileVerificationError) as error:
        print(f"tiles: {error}", file=sys.stderr)
        return 1
    print(f"{checkpoint.size} entries are right")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
