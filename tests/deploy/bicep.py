"""Bicep templates, as far as they can be held against anything without their compiler, which no registry has.

- Every template has the syntax of Bicep (tree-sitter's grammar), names no parameter or variable that it has not, and has
  none that it does not use; its usage names those that it needs, and files that it loads are there.
- Every resource is what Azure has in that version of its API: no property that is not known, none missing that is needed,
  no word that is none of those to choose from. Microsoft's own models of just these versions tell.
"""

import enum
import importlib
import pathlib
import re
import sys

import tree_sitter_bicep
from tree_sitter import Language, Parser

AZURE = pathlib.Path(__file__).resolve().parents[2] / "deploy/azure"
# requirements.txt has the packages whose models are of these versions.
MODELS = {
    "Microsoft.App/containerApps@2025-01-01": "appcontainers.models.ContainerApp",
    "Microsoft.Authorization/roleAssignments@2022-04-01": "authorization.v2022_04_01.models.RoleAssignmentCreateParameters",
    "Microsoft.Authorization/roleDefinitions@2022-04-01": "authorization.v2022_04_01.models.RoleDefinition",
    "Microsoft.Compute/virtualMachineScaleSets@2024-07-01": "compute.v2024_07_01.models.VirtualMachineScaleSet",
    "Microsoft.ContainerInstance/containerGroups@2023-05-01": "containerinstance.models.ContainerGroup",
    "Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31": "msi.models.Identity",
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials@2023-01-31": "msi.models.FederatedIdentityCredential",
}
OF_BICEP = {"name", "parent", "scope"}
SCALARS = {"str", "int", "float", "bool", "object"}
faults = []


def broken(node):
    if node.is_missing or node.type == "ERROR":
        yield node.start_point[0] + 1
    for child in node.children:
        yield from broken(child)


def words(name, text):
    code = re.sub(r"//.*", "", text)
    for word in re.findall(r"^(?:param|var) (\w+)", code, re.M):
        if len(re.findall(rf"\b{word}\b", code)) < 2:
            faults.append(f"{name}: {word} is not used")
    usage = set(re.findall(r"(\w+)=", " ".join(re.findall(r"^//   .*|^//     .*", text, re.M))))
    parameters = dict(re.findall(r"^param (\w+) (.*)$", code, re.M))
    needed = {word for word, rest in parameters.items() if "=" not in rest}
    faults.extend(f"{name}: its usage names {word}, which is no parameter" for word in usage - set(parameters))
    faults.extend(f"{name}: its usage lacks {word}" for word in needed - usage)
    for loaded in re.findall(r"load\w+\('(.*?)'\)", code):
        if not (AZURE / loaded).exists():
            faults.append(f"{name}: there is no {loaded}")


def resources(node):
    if node.type == "resource_declaration":
        yield node
    for child in node.children:
        yield from resources(child)


def literal(node):
    """Objects and lists as such, and texts; all else is an expression, whose value only Azure knows: None."""
    if node.type == "object":
        pairs = [child.named_children for child in node.named_children if child.type == "object_property"]
        return {pair[0].text.decode().strip("'"): literal(pair[-1]) for pair in pairs}
    if node.type == "array":
        return [literal(child) for child in node.named_children if not child.type.endswith("comment")]
    if node.type in ("for_statement", "if_statement"):
        return literal(node.named_children[-1])
    text = node.text.decode()
    if node.type == "string" and "${" not in text:
        return text.strip("'")
    return {"true": True, "false": False}.get(text)


def parts(key):
    return [part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", key)]


def has(value, path):
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return True


def modelled(place, value, models, model):
    """A model's attributes may lie deeper than its own level: `properties.template`."""
    tree, choices = {}, dict(re.findall(r":vartype (\w+): str or\s+~[\w.]+\.(\w+)", model.__doc__ or ""))
    for attribute, told in model._attribute_map.items():
        *above, last = parts(told["key"])
        level = tree
        for part in above:
            level = level.setdefault(part, {})
        level[last] = (told["type"], getattr(models, choices.get(attribute, ""), None))
        rule = model._validation.get(attribute, {})
        if rule.get("required") and not rule.get("readonly") and not has(value, above + [last]):
            faults.append(f"{place}: lacks {told['key']}")
    level_of(place, value, models, tree)


def level_of(place, value, models, tree):
    for key, inner in value.items():
        known = tree.get(key)
        if known is None:
            faults.append(f"{place}.{key}: no such property; known are {', '.join(sorted(tree))}")
        elif isinstance(known, dict):
            if isinstance(inner, dict):
                level_of(f"{place}.{key}", inner, models, known)
        else:
            typed(f"{place}.{key}", inner, models, *known)


def typed(place, value, models, kind, choice):
    global compared
    compared += 1
    if value is None:
        return
    if kind[0] in "[{":
        if not isinstance(value, list if kind[0] == "[" else dict):
            faults.append(f"{place}: wants {kind}")
            return
        pairs = enumerate(value) if kind[0] == "[" else value.items()
        for key, inner in pairs:
            typed(f"{place}.{key}", inner, models, kind[1:-1], choice)
    elif kind in SCALARS:
        if isinstance(value, (dict, list)) and kind != "object" or isinstance(value, bool) != (kind == "bool"):
            faults.append(f"{place}: wants {kind}")
        elif isinstance(choice, enum.EnumMeta) and value not in (told := [one.value for one in choice]):
            faults.append(f"{place}: {value} is none of {', '.join(told)}")
    elif isinstance(value, dict):
        modelled(place, value, models, getattr(models, kind))
    else:
        faults.append(f"{place}: wants {kind}")


compared = 0
parser = Parser(Language(tree_sitter_bicep.language()))
for template in sorted(AZURE.glob("*.bicep")):
    text = template.read_text()
    root = parser.parse(text.encode()).root_node
    faults += [f"{template.name}:{line}: this is not Bicep" for line in broken(root)]
    words(template.name, text)
    for resource in resources(root):
        head = resource.text.decode().partition("\n")[0]
        kind = re.search(r"'(.*?)'", head)[1]
        if " existing " in head:
            continue
        if kind not in MODELS:
            faults.append(f"{template.name}: {kind}: no models of that are at hand")
            continue
        module, _, name = f"azure.mgmt.{MODELS[kind]}".rpartition(".")
        models = importlib.import_module(module)
        body = literal(resource.named_children[-1])
        modelled(f"{template.name}: {kind}", {k: v for k, v in body.items() if k not in OF_BICEP}, models, getattr(models, name))
print(f"{compared} properties compared")
print("\n".join(faults))
sys.exit(bool(faults))
