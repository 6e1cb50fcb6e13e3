"""Reports of real runs to show: a first load, a refused loss of rows, no change, many changes, hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from table import Row, Table, at, envelope, fill

from fleetfuel.plan.limits import Overrides
from fleetfuel.sandbox.producer import Producer

Maker = Callable[[Table], Path]
"""Runs an import against a table and gives the folder of its report."""


def fleet(hours: int = 0, **happened: int) -> list[Row]:
    """The records of the generated feed: months of a fleet, with its mess."""
    producer = Producer()
    for _ in range(hours):
        producer.advance(1, **happened)
    export = json.loads(producer.snapshot()[1])
    envelope = export[0] if isinstance(export, list) else export
    records: list[Row] = envelope["records"]
    return [each for each in records if isinstance(each, dict) and "datetime" in each]


def report_of(table: Table, records: list[Row], hour: float, *, apply: bool = False, **options: Any) -> Path:
    outcome = table.load(envelope(records, at(hour)), apply=apply, wants_report=True, **options)
    return Path(outcome.run["report"])


def first_load(table: Table) -> Path:
    return report_of(table, fleet(), 0, apply=True)


def refused(table: Table) -> Path:
    """An export that lost all but the oldest 700 records, held by the guard of soft deletes."""
    records = fleet()
    table.snapshot(records, at(0))
    return report_of(table, records[:700], 1, overrides=Overrides())


def no_change(table: Table) -> Path:
    table.snapshot([fill(1), fill(2)], at(0))
    return report_of(table, [fill(1), fill(2)], 1)


def an_hour(table: Table) -> Path:
    """What an hour brings: some of everything."""
    records = fleet()
    table.snapshot(records, at(0))
    later = [dict(each) for each in records[:-4]]
    for number, each in enumerate(later[-60:]):
        if number % 3 == 0:
            each["amount"] = 4321 + number
        if number % 5 == 0:
            each["driver"] = "Wanjiru Nyota"
            each["odometer"] = 150_000 + number
        if number % 19 == 0:
            each["deleted_at"] = "2026-06-11T11:00:00Z"
    newest = max(each["id"] for each in records if isinstance(each.get("id"), int))
    later += [fill(newest + number, car="KDA 123A", liters=35 + number) for number in range(1, 8)]
    later += [fill(None, car="KXX 000X", driver="Somebody Else"), fill("12a", car="KXX 001X")]
    return report_of(table, later, 1)


def many_changes(table: Table) -> Path:
    """Twenty thousand new fills."""
    plates = [f"KC{letter} {number}{end}" for letter in "ABCDEFGH" for number in range(100, 130) for end in "XYZ"]
    records = [
        fill(number, car=plates[number % len(plates)], datetime=f"2026-0{1 + number % 5}-{1 + number % 28:02}-09-30")
        for number in range(1, 20_001)
    ]
    return report_of(table, records, 0)


PAYLOADS: Final[tuple[str, ...]] = tuple(
    template.replace("RUN", f"window.ran=(window.ran||0)+1//{number}")
    for number, template in enumerate(
        [
            "<script>RUN\n</script>",
            "</script><script>RUN\n</script>",
            "</style><script>RUN\n</script>",
            "</title><script>RUN\n</script>",
            "</textarea><script>RUN\n</script>",
            '"><script>RUN\n</script>',
            "'><script>RUN\n</script>",
            "<img src=x onerror=RUN>",
            '"><img src=x onerror="RUN">',
            "<svg onload=RUN>",
            "<svg><script>RUN\n</script></svg>",
            "<svg/onload=RUN>",
            "<body onload=RUN>",
            "<iframe srcdoc='<script>parent.RUN\n</script>'></iframe>",
            '<iframe src="javascript:parent.RUN"></iframe>',
            "<details open ontoggle=RUN>",
            "<input autofocus onfocus=RUN>",
            "<select autofocus onfocus=RUN>",
            "<video><source onerror=RUN>",
            "<audio src=x onerror=RUN>",
            "<marquee onstart=RUN>",
            "<object data='javascript:RUN'>",
            "<embed src='javascript:RUN'>",
            "<a href='javascript:RUN'>x</a>",
            "<form action='javascript:RUN'><button>",
            "<math><a xlink:href='javascript:RUN'>x",
            "<meta http-equiv=refresh content='0;url=javascript:RUN'>",
            "<base href='javascript:RUN//'>",
            "<link rel=stylesheet href='data:text/css,*{color:red}'>",
            "<style>@import 'http://127.0.0.1:9/x.css';</style>",
            '" onmouseover="RUN" x="',
            "' onmouseover='RUN' x='",
            '" autofocus onfocus="RUN" x="',
            "` onmouseover=RUN `",
            "{{ 7 * 7 }} {{ RUN }}",
            "{% raw %}RUN{% endraw %}",
            "${RUN}",
            "#{RUN}",
            "javascript:RUN",
            "&lt;script&gt;RUN&lt;/script&gt;",
            "&#60;script&#62;RUN&#60;/script&#62;",
            "\\u003cscript\\u003eRUN\\u003c/script\\u003e",
            "<scr<script>ipt>RUN\n</scr</script>ipt>",
            "<ScRiPt>RUN\n</sCrIpT>",
            "<!--<script>RUN\n</script>-->",
            "--><script>RUN\n</script>",
            "]]><script>RUN\n</script>",
            "<![CDATA[<script>RUN\n</script>]]>",
            "<?xml version='1.0'?><script>RUN\n</script>",
            "<noscript><p title='</noscript><img src=x onerror=RUN>'>",
        ]
    )
)
"""What a sender might write to have the page do something."""


def hostile(table: Table) -> Path:
    """A hundred records and more in which plate, department, driver, type, names of fields and the key of the file are
    payloads; with changes of them, a rejected one, and unknown fields."""
    kinds = [*PAYLOADS, *(f"\x1b[2J\u202e{each}\ufffe\x07" for each in PAYLOADS)]
    records = [
        fill(number, car=payload, department=payload, driver=payload, type=payload, **{payload: payload})
        for number, payload in enumerate(kinds, start=1)
    ]
    table.snapshot(records, at(0))
    changed = [
        {**each, "type": f"x{each['type']}", "liters": each["car"], "amount": 1 if number % 2 else each["car"]}
        for number, each in enumerate(records[10:])
    ]
    broken = [fill(None, car=payload) for payload in PAYLOADS[:5]]
    return report_of(table, [*changed, *broken], 1, name="<svg onload=ran=1> ' \" latest.json")


MAKERS: Final[Mapping[str, Maker]] = {
    each.__name__: each for each in (first_load, refused, no_change, an_hour, many_changes, hostile)
}
