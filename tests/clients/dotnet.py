"""Builds a C# project where there is no .NET SDK: dotnet.py TOOLS PROJECT_FOLDER OUTPUT_FOLDER.

.NET is in no Debian package. But npm has two .NET programs of Microsoft's: one carries the runtime with all its libraries, the other
one the compiler, Roslyn. TOOLS keeps them, 127 MB. The compiler is driven from Python (pythonnet) and told what the project's file
tells it; what comes out runs with DOTNET_ROOT=TOOLS/root.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import xml.etree.ElementTree

RUNTIME_PACKAGE = "@azure/mcp-linux-x64@0.5.13"
COMPILER_PACKAGE = "@autorest/csharp@3.0.0-beta.20251203.1"
NET = "Microsoft.NETCore.App"
ASPNET = "Microsoft.AspNetCore.App"
USINGS = ["", ".Collections.Generic", ".IO", ".Linq", ".Net.Http", ".Threading", ".Threading.Tasks"]


def unpack(package: str, into: pathlib.Path):
    into.mkdir(parents=True)
    name = subprocess.run(["npm", "pack", "--silent", package], cwd=into, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    subprocess.run(["tar", "--extract", "--gzip", "--no-same-owner", "--file", name], cwd=into, check=True)
    (into / name).unlink()


def install(tools: pathlib.Path):
    """The runtime laid out as an installed one, the program that starts others, and the compiler."""
    unpack(COMPILER_PACKAGE, tools / "compiler")
    unpack(RUNTIME_PACKAGE, tools / "program")
    program = tools / "program" / "package" / "dist"
    told = json.loads((program / "azmcp.deps.json").read_text())
    packs = {}
    for target in told["targets"].values():
        packs |= {name: pack for name, pack in target.items() if name.startswith("runtimepack.")}
    for name, pack in packs.items():
        name, version = name.removeprefix("runtimepack.").split("/")
        framework = name.removesuffix(".Runtime.linux-x64")
        folder = tools / "root" / "shared" / framework / version
        folder.mkdir(parents=True)
        for file in [*pack.get("runtime", {}), *pack.get("native", {})]:
            (program / file).rename(folder / file)
        target = f".NETCoreApp,Version=v{version[:3]}/linux-x64"
        listed = {"runtimeTarget": {"name": target}, "targets": {target: {f"{name}/{version}": pack}},
                  "libraries": {f"{name}/{version}": {"type": "package", "serviceable": False, "sha512": ""}}}
        (folder / f"{framework}.deps.json").write_text(json.dumps(listed))
        if framework == ASPNET:
            runtime_config(folder / f"{framework}.runtimeconfig.json", [NET])
        else:
            host = tools / "root" / "host" / "fxr" / version / "libhostfxr.so"
            host.parent.mkdir(parents=True)
            shutil.copy(folder / host.name, host)
    (program / "azmcp").rename(tools / "apphost")
    shutil.rmtree(tools / "program")


def runtime_config(path: pathlib.Path, frameworks: list[str]):
    wanted = [{"name": name, "version": "8.0.0"} for name in frameworks]
    options = {"rollForward": "Major", "frameworks": wanted, "configProperties": {"System.Globalization.Invariant": True}}
    path.write_text(json.dumps({"runtimeOptions": options}))


def compile(tools: pathlib.Path, frameworks: list[str], name: str, sources: list[pathlib.Path], output: pathlib.Path):
    runtime_config(tools / "python.runtimeconfig.json", [NET])
    import pythonnet

    pythonnet.load("coreclr", runtime_config=str(tools / "python.runtimeconfig.json"), dotnet_root=str(tools / "root"))
    import clr

    sys.path.append(str(tools / "compiler" / "package"))
    clr.AddReference("Microsoft.CodeAnalysis.CSharp")
    clr.AddReference("Microsoft.CodeAnalysis")
    from Microsoft.CodeAnalysis import DiagnosticSeverity, MetadataReference, NullableContextOptions, OutputKind, SyntaxTree
    from Microsoft.CodeAnalysis.CSharp import CSharpCompilation, CSharpCompilationOptions, CSharpSyntaxTree
    from System.Collections.Generic import List
    from System.IO import File

    texts = {path.name: path.read_text() for path in sources} | {"usings": "".join(f"global using System{part};" for part in USINGS)}
    trees = List[SyntaxTree]()
    for path, text in texts.items():
        trees.Add(CSharpSyntaxTree.ParseText(text, None, path))
    references = List[MetadataReference]()
    for framework in frameworks:
        (folder,) = (tools / "root" / "shared" / framework).iterdir()
        for library in folder.glob("*.dll"):
            references.Add(MetadataReference.CreateFromFile(str(library)))
    options = CSharpCompilationOptions(OutputKind.ConsoleApplication).WithNullableContextOptions(NullableContextOptions.Enable)
    file = File.Create(str(output / f"{name}.dll"))
    result = CSharpCompilation.Create(name, trees, references, options).Emit(file)
    file.Close()
    told = [str(one) for one in result.Diagnostics if one.Severity != DiagnosticSeverity.Hidden]
    if told or not result.Success:
        sys.exit("\n".join(told))


def main():
    tools, project, output = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    if not (tools / "apphost").exists():
        shutil.rmtree(tools, ignore_errors=True)
        install(tools)
    (described,) = project.glob("*.csproj")
    described = xml.etree.ElementTree.parse(described).getroot()
    name = described.findtext(".//AssemblyName") or "app"
    # The one package that is asked for, key per file, is a part of ASP.NET.
    frameworks = [NET, ASPNET] if described.find(".//PackageReference") is not None else [NET]
    output.mkdir(parents=True, exist_ok=True)
    compile(tools, frameworks, name, sorted(project.glob("*.cs")), output)
    runtime_config(output / f"{name}.runtimeconfig.json", frameworks)
    # It starts what its own bytes name.
    places = [f"{program}.dll".encode().ljust(100, b"\0") for program in ("azmcp", name)]
    starter = (tools / "apphost").read_bytes()
    assert starter.count(places[0]) == 1
    (output / name).write_bytes(starter.replace(*places))
    (output / name).chmod(0o755)


if __name__ == "__main__":
    main()
