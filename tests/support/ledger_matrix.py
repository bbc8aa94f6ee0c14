"""What somebody does to the files of a ledger, and what is said of it: to who remembers what, and at the start.

The one table behind `tests/claims/test_ledger_tampering.py`, which does each attack on real files and compares each
cell, and behind `docs/security/ledger-attacks.md`. It imports nothing of the house.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIZE: Final = 1400
"""Entries of the log that is attacked. Its kept checkpoints are of 200, 400, 703, 900, 1,100 and 1,400 entries."""
REMEMBERED: Final = 1300
"""Entries that each keeper's checkpoint covers."""
COPIED: Final = 700
"""Entries of the old copy."""
KEPT: Final = 703
"""Entries that one of the checkpoints in the middle covers."""
EDITED: Final = 130
RECENT: Final = 1350
STORED: Final = 2
"""The first entry of a change of the vault, before the last 1,000 entries."""
CHANGED: Final = 701
"""The first entry of the newest one, which the old copy of the vault has not."""

EVIDENCE: Final = (
    "nothing",
    "gateway",
    "command line",
    "proxy, outside",
    "--checkpoint",
    "--key",
    "witness file",
    "witness URL",
)
WORDS: Final = {"H": "holds", "B": "**broken**", "C": "cannot tell"}
CODES: Final = {"H": 0, "B": 1, "C": 6}
STARTS: Final = {"S": "starts", "R": "refuses"}


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        name: what is done.
        verdicts: a letter of `WORDS` for each of `EVIDENCE`.
        starts: a letter of `STARTS`: where nothing is remembered, and where gateway, command line and proxy remember.
        at: the entry that verification names from the log alone; None where it names none.
        what: a piece of what it says there.
        kept_at: the entry that is named to who remembers a checkpoint, where it is another one.
        kept_what: a piece of what is said there.
        key_at: the entry that is named to who knows the key, where it is another one.
    """

    name: str
    verdicts: str
    starts: str
    at: int | None = None
    what: str = ""
    kept_at: int | None = None
    kept_what: str = ""
    key_at: int | None = None

    def verdict(self, evidence: str) -> str:
        """The letter for one of `EVIDENCE`."""
        return self.verdicts[EVIDENCE.index(evidence)]

    def place(self, evidence: str) -> tuple[int | None, str]:
        """The entry that is named, and a piece of what is said, where the verdict is *broken*."""
        if evidence == "--key" and self.key_at is not None:
            return self.key_at, "key"
        # A witness with a URL is asked about a log that holds.
        is_alone = evidence in {"nothing", "--key"} or (evidence == "witness URL" and self.verdict("nothing") == "B")
        if not is_alone and self.kept_at is not None:
            return self.kept_at, self.kept_what
        return self.at, self.what


_ALL: Final = "BBBBBBBB"
_UNSEEN: Final = "CHHHHCHH"
_KEEPERS: Final = "CBBBBCBB"
"""Seen by who remembers a checkpoint; the log's key vouches for what is there, and not for what is not."""
_STRANGER: Final = "CCBBBBBC"
"""Another log: what the gateway remembers is no evidence then, and a witness with a URL does not know it."""
_ANEW: Final = "remembers another root here"
_END: Final = "the end of the log is missing"
_UNSIGNED: Final = "an entry that no checkpoint covers"
_WRITTEN: Final = "was written anew after it was signed"
_MISSING: Final = "entries that were signed are missing"
_NOT_THIS: Final = "this log's key has not signed"

CASES: Final = (
    Case("nothing", _UNSEEN, "SS"),
    Case("edit an entry", _ALL, "SS", EDITED, "content was changed"),
    Case("edit one of the last 1,000", _ALL, "RR", RECENT, "content was changed"),
    Case("edit, and compute chain and tree anew", _ALL, "RR", 199, _WRITTEN),
    Case("the same, and take its checkpoints away", _ALL, "RR", 0, _UNSIGNED, REMEMBERED - 1, _ANEW),
    Case("delete an entry", _ALL, "SS", EDITED, "missing or out of order"),
    Case("delete, and compute chain and tree anew", _ALL, "RR", 199, _WRITTEN),
    Case("insert an entry", _ALL, "RR", EDITED, "does not follow"),
    Case("insert, and compute chain and tree anew", _ALL, "RR", 199, _WRITTEN),
    Case("reorder entries", _ALL, "SS", EDITED, "does not follow"),
    Case("reorder, and compute chain and tree anew", _ALL, "RR", 199, _WRITTEN),
    Case("append an entry without the key", _ALL, "RR", SIZE, _UNSIGNED),
    Case("append what a command may add beside a stopped system", _UNSEEN, "SS"),
    Case("append an entry with the key", _UNSEEN, "SS"),
    Case("cut the end off", _ALL, "RR", 1200, _MISSING),
    Case("cut the end off with its checkpoints", _ALL, "RR", 1100, _MISSING),
    Case("the same, and set ledger.signed back", _KEEPERS, "SR", kept_at=1100, kept_what=_END),
    Case("the same, between two checkpoints", _ALL, "RR", 1100, _UNSIGNED, 1150, _END),
    Case("cut off what came after the remembered checkpoint", _UNSEEN, "SS"),
    Case("empty the ledger", "CCBBBBBC", "RR", kept_at=0, kept_what=_END, key_at=0),
    Case("take everything in data/proxy away", "BCBBBBBB", "SR", kept_at=0, kept_what=_END),
    Case("put an old copy of data/proxy back", _KEEPERS, "SR", kept_at=COPIED, kept_what=_END),
    Case("put an old copy of the ledger and ledger.signed back", _KEEPERS, "RR", kept_at=COPIED, kept_what=_END),
    Case("put an old copy of the ledger alone back", _ALL, "RR", COPIED, _MISSING),
    Case("go on from an old copy of data/proxy", _KEEPERS, "SR", kept_at=REMEMBERED - 1, kept_what=_ANEW),
    Case("rewrite everything with the key", _KEEPERS, "SR", kept_at=REMEMBERED - 1, kept_what=_ANEW),
    Case("rewrite everything as a log that was never signed", _STRANGER, "RR", kept_at=REMEMBERED - 1,
         kept_what=_NOT_THIS, key_at=0),
    Case("rewrite everything with another key", _STRANGER, "RR", kept_at=REMEMBERED - 1, kept_what=_NOT_THIS, key_at=0),
    Case("the same, under the name of the log", _STRANGER, "RR", kept_at=REMEMBERED - 1, kept_what=_NOT_THIS, key_at=0),
    Case("put a new vault and its own ledger there", "CCBCBBBC", "SR", kept_at=REMEMBERED - 1, kept_what=_NOT_THIS,
         key_at=0),
    Case("hand the log on to another key without its own", _ALL, "RR", SIZE, "its keys have not made"),
    Case("sign with another key", _ALL, "RR", SIZE, "the log's key has not signed"),
    Case("change a kept checkpoint", _ALL, "SS", KEPT - 1, "the log's key has not signed"),
    Case("change the newest checkpoint's signature", _ALL, "RR", SIZE - 1, "the log's key has not signed"),
    Case("put a kept checkpoint in the place of another", _ALL, "SS", KEPT - 1, "out of order"),
    Case("delete a kept checkpoint", _UNSEEN, "SS"),
    Case("delete the newest checkpoint", _ALL, "RR", SIZE - 1, "the newest checkpoint is gone"),
    Case("change a hash of the stored tree", _ALL, "RR", 767, "another hash of level 8"),
    Case("delete a hash of the stored tree", _ALL, "RR", 1279, "another hash of level 8"),
    Case("add a hash to the stored tree", _ALL, "SS", SIZE, "for entries that are not there"),
    Case("delete ledger.signed", _ALL, "RR", SIZE - 1, "is gone"),
    Case("empty ledger.signed", _ALL, "RR", SIZE - 1, "was emptied"),
    Case("put an older note into ledger.signed", _UNSEEN, "SS"),
    Case("put another key's note into ledger.signed", _ALL, "RR", SIZE - 1, "out of order"),
    Case("put anything else into ledger.signed", _ALL, "RR", SIZE - 1, "cannot be read"),
    Case("take a guard away", _ALL, "RR", SIZE - 1, "guards were changed"),
    Case("put a guard of the same name that does nothing", _ALL, "RR", SIZE - 1, "guards were changed"),
    Case("add an index that leaves rows out", _ALL, "RR", SIZE - 1, "guards were changed"),
    Case("leave a change of the vault out of the index, and put the old vault back", _ALL, "RR", CHANGED,
         "leaves this entry out"),
    Case("leave an entry before the last 1,000 out of the index", _ALL, "SS", STORED, "leaves this entry out"),
    Case("add an entry to the index that the log has not", _ALL, "RR", RECENT, "that the log has not"),
    Case("change the schema's version", _ALL, "RR", SIZE - 1, "guards were changed"),
)  # fmt: skip

_INTRODUCTION: Final = f"""\
# Attacks on the ledger

<!-- Written by scripts/generate_reference.py: change the code, then run `make reference`. -->

Somebody can write everything in `data/proxy`: the database, `ledger.signed`, the vault. For each thing that they can
do: what `mycelos db audit verify` says to who has that evidence and no other, and whether the proxy starts on it.
`tests/claims/test_ledger_tampering.py` does each on real files and compares each cell.

The log has {SIZE:,} entries, the old copy {COPIED:,}, and each keeper's checkpoint covers the first {REMEMBERED:,}.
Entry {EDITED} is edited, deleted, inserted or moved. *Holds* is exit code 0, *broken* is 1, *cannot tell* is 6.
*Start* is on these files where nothing is remembered, and where gateway, command line and proxy remember.

"""

_MEANING: Final = """
What stays unseen is what no evidence covers:

- What the proxy's own key has signed after the newest remembered checkpoint. A thief of the key can write anything
  there, and nothing before it.
- `--key` alone says who wrote the log, not whether there was more: it finds a log that another key signed, and never
  says that one holds.
- The events that a command may add beside a stopped system (`UNSIGNED` in `mycelos.ledger.events`) need no key.
- A kept checkpoint in the middle that is missing, or an older `ledger.signed`, takes nothing away from the log.
- What the proxy remembers outside of the data folder is found by the installation's name, which is in the vault: with
  another vault it is not found. The command line's note in the data folder still is.

A start looks at the last 1,000 links, what the index has of these entries, every link from the signed end back to the
newest word on the vault, which is near, the newest checkpoint, what stands after it,
`ledger.signed`, the vault, and the checkpoints that gateway, command line and proxy remember. The whole log is for
`mycelos db audit verify`.

Where index or schema alone is at fault, `mycelos db audit rebuild` makes them anew from the entries. What is *broken*
here for another reason it refuses, and what a start refuses for another it still refuses afterwards:
`tests/claims/test_ledger_rebuilding.py` does each attack, takes the index away, and rebuilds.
"""


def page() -> str:
    """The table as Markdown."""
    heads = ("what is done", *EVIDENCE, "entry", "start", "start, remembered")
    rows = [heads, ("---",) * len(heads)]
    for case in CASES:
        places = dict.fromkeys(
            str(case.place(evidence)[0])
            for evidence in EVIDENCE
            if case.verdict(evidence) == "B" and case.place(evidence)[0] is not None
        )
        verdicts = (WORDS[letter] for letter in case.verdicts)
        rows.append((case.name, *verdicts, ", ".join(places), *(STARTS[letter] for letter in case.starts)))
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return _INTRODUCTION + table + _MEANING
