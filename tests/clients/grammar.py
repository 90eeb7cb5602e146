"""Whether C# files are C#, as far as the grammar tells: for where there is no .NET to compile them. grammar.py FILE…"""

import sys

import tree_sitter
import tree_sitter_c_sharp

parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_c_sharp.language()))
failed = False


def check(path: str, node: tree_sitter.Node):
    global failed
    if node.type == "ERROR" or node.is_missing:
        print(f"{path}:{node.start_point.row + 1}: {node.text[:80]!r}", file=sys.stderr)
        failed = True
    for child in node.children:
        check(path, child)


for path in sys.argv[1:]:
    with open(path, "rb") as file:
        check(path, parser.parse(file.read()).root_node)
sys.exit(failed)
