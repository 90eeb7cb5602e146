"""Reads a file as its readers in Python and .NET do, and prints NAME=VALUE and a NUL for each variable.

    python read.py KIND FILE
"""

import base64
import os
import sys


def dotenv(path):
    import dotenv

    return dotenv.dotenv_values(path)


def pyyaml(path):
    import yaml

    with open(path, "rb") as file:
        return yaml.load(file, Loader=yaml.SafeLoader)


def libyaml(path):
    import yaml

    with open(path, "rb") as file:
        return yaml.load(file, Loader=yaml.CSafeLoader)


def ruamel(path):
    from ruamel.yaml import YAML

    with open(path, "rb") as file:
        return YAML(typ="safe", pure=True).load(file)


def secret(path):
    """A manifest, held against the schemas of Kubernetes; its values as the API server decodes them."""
    import kubernetes_validate

    document = pyyaml(path)
    kubernetes_validate.validate(document, "1.32", strict=True)
    assert document["metadata"]["name"] == "app" and document["type"] == "Opaque", document["metadata"]
    return {name: base64.b64decode(value, validate=True) for name, value in document["data"].items()}


def secret_unchecked(path):
    """The same where only a YAML reader is here."""
    document = pyyaml(path)
    assert (document["apiVersion"], document["kind"], document["metadata"]["name"]) == ("v1", "Secret", "app")
    return {name: base64.b64decode(value, validate=True) for name, value in document["data"].items()}


def dotnet(path):
    """System.Text.Json of the .NET runtime, under the rules of .NET's JSON configuration: no key twice, whatever its case."""
    import dotnetcore2
    import pythonnet

    root = os.path.join(os.path.dirname(dotnetcore2.__file__), "bin")
    os.environ["DOTNET_ROOT"] = root
    os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"
    from clr_loader import get_coreclr

    pythonnet.set_runtime(get_coreclr(dotnet_root=root))
    import clr

    clr.AddReference("System.Text.Json")
    from System import StringComparer
    from System.Collections.Generic import Dictionary
    from System.IO import File
    from System.Text.Json import JsonDocument

    found = Dictionary[str, str](StringComparer.OrdinalIgnoreCase)
    for pair in JsonDocument.Parse(File.ReadAllText(path)).RootElement.EnumerateObject():
        found.Add(pair.Name, pair.Value.GetString())
    return {pair.Key: pair.Value for pair in found}


def each(path):
    """What python-dotenv makes of each text of a list, as JSON."""
    import io
    import json

    import dotenv

    with open(path, encoding="utf-8") as file:
        texts = json.load(file)
    read = [dotenv.dotenv_values(stream=io.StringIO(text, newline=""), interpolate=False) for text in texts]
    json.dump(read, sys.stdout)


def main():
    kinds = {read.__name__: read for read in (dotenv, pyyaml, libyaml, ruamel, secret, secret_unchecked, dotnet)}
    if sys.argv[1] == "has":
        # Whether all of these can be imported.
        for module in sys.argv[2:]:
            __import__(module)
        return
    if sys.argv[1] == "each":
        import logging

        logging.disable()
        each(sys.argv[2])
        return
    whole = b""
    for name, value in kinds[sys.argv[1]](sys.argv[2]).items():
        if isinstance(value, str):
            value = value.encode()
        assert isinstance(name, str) and isinstance(value, bytes), (type(name), type(value))
        whole += name.encode() + b"=" + value + b"\0"
    sys.stdout.buffer.write(whole)


main()
