# shellcheck shell=bash
# To be sourced: builds C#, by the SDK if there is one, or by what npm has for this processor. Wants $here and $tools.

: "${here:?}" "${tools:?}"

# The program that it takes.
dotnet_by() { if ! command -v dotnet >/dev/null && [[ $(uname -m) == x86_64 ]]; then echo npm; else echo dotnet; fi; }

# dotnet_build PROJECT OUTPUT: OUTPUT gets a program that starts by its name.
dotnet_build() {
  if command -v dotnet >/dev/null; then
    cp -r "$1" "$2.project"
    dotnet publish --nologo -v quiet -o "$2" "$2.project"
    return
  fi
  [[ -x $tools/venv/bin/python ]] || python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  "$tools/venv/bin/python" "$here/dotnet.py" "$tools/dotnet" "$1" "$2"
  export DOTNET_ROOT=$tools/dotnet/root
}
