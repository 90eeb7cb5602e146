"""Every link between pages leads to a file that is there, and to a heading that it has."""

import pathlib
import re
import sys


def anchors(page: pathlib.Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


faults = []
for name in sys.argv[1:]:
    page = pathlib.Path(name)
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if not there.exists():
            faults.append(f"{page}: {target}: no such file")
        elif anchor and there.suffix == ".md" and anchor not in anchors(there):
            faults.append(f"{page}: {target}: no such heading")
print("\n".join(faults))
sys.exit(bool(faults))
