"""Makes of the header what Doxygen reads: its comments become documentation, and `int a, b; /* text */` documents both.

python3 docs/doxygen_filter.py src/triage.h
"""

import re
import sys

STRUCT = re.compile(r"(typedef struct \w+ \{)(.*?)(\n\} \w+;)", re.DOTALL)
PIECE = re.compile(r"/\*.*?\*/|[^;/]+?;", re.DOTALL)


def words(comment):
    """The comment's text, on one line."""
    return " ".join(line.strip().lstrip("*").strip() for line in comment[2:-2].splitlines()).strip()


def members(declaration):
    """One declaration for each name."""
    declaration = " ".join(declaration.split())
    if "(" in declaration or ", " not in declaration:
        return [declaration]
    first, *others = declaration.rstrip(";").split(", ")
    kind = re.match(r"(?:const )?\w+ ", first)[0]
    return [first + ";"] + [kind + other + ";" for other in others]


def struct(match):
    """Each member with what stands behind it, or else with what stands before it."""
    body, out, above = match[2], [], ""
    pieces = [(piece[0], piece.start(), piece.end()) for piece in PIECE.finditer(body)]
    for i, (text, start, end) in enumerate(pieces):
        if text.startswith("/*"):
            if "\n" in body[pieces[i - 1][2] if i else 0:start]:
                above = words(text)
            continue
        behind = pieces[i + 1] if i + 1 < len(pieces) else None
        is_behind = behind and behind[0].startswith("/*") and "\n" not in body[end:behind[1]]
        for name in members(text):
            said = words(behind[0]) if is_behind else above
            out.append(f"    {name}" + (f" /**< {said} */" if said else ""))
    return match[1] + "\n" + "\n".join(out) + match[3]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    text = re.sub(r"(?ms)^/\* ----.*?\*/", "", text)  # headings: not of what follows
    text = STRUCT.sub(struct, text)
    text = re.sub(r"(?m)^( *)/\*(?!\*)", r"\1/**", text)
    text = re.sub(r"(?m)^( +TRIAGE_\w+(?:\s*=\s*\d+)?,?) */\*(?!\*)", r"\1 /**<", text)
    print(text)


if __name__ == "__main__":
    main()
