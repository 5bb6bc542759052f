#!/bin/sh
# Sets the environment up if needed, then runs what it is given inside it.
#   ./run.sh               the whole workflow: tables, figures and report of config/config.yaml
#   ./run.sh COMMAND ...   any command in the environment, from the repository root: pytest, snakemake, dfml, ...
#   DFML_TORCH=cpu ./run.sh ...   with PyTorch's builds for the CPU, from then on; DFML_TORCH=default goes back
# Needs nothing but Python 3.11, 3.12 or 3.13 with its venv module.
set -eu

usage() {
  echo "usage: ./run.sh                 run the workflow, then print where its table and report are"
  echo "       ./run.sh COMMAND [ARG]   run a command in the environment, e.g. ./run.sh pytest"
  echo "       DFML_TORCH=cpu before either sets up without CUDA's packages, DFML_TORCH=default with them"
}

fail() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

case ${1-} in
  -h | --help) usage; exit 0 ;;
  -*) usage >&2; exit 2 ;;
esac

# What they change is Python here too: packages found before the locked ones, warnings as errors, no docstrings.
for name in $(env | sed -n 's/^\(PYTHON[A-Z0-9_]\{1,\}\)=.*/\1/p'); do
  unset "$name"
done

from=$(pwd -P)
script=$0
while [ -h "$script" ]; do
  target=$(readlink -- "$script")
  case $target in
    /*) script=$target ;;
    *) script=$(dirname -- "$script")/$target ;;
  esac
done
CDPATH='' cd -P -- "$(dirname -- "$script")"
root=$(pwd -P)
stamp=.venv/.set-up-from
[ -f requirements.lock ] && [ -f pyproject.toml ] ||
  fail "$root is not the repository: leave run.sh there, and call it by its path or through a symbolic link."

# Snakemake gives the interpreter's path to a shell without quotes, and PATH is split at colons.
unsafe='[][:cntrl:] "$&'\''()*:;<>?`{|}\\[]'
case $root in
  *$unsafe*)
    plain=${root%%$unsafe*}
    rest=${root#"$plain"}
    odd=${rest%"${rest#?}"}
    case $odd in
      ' ') odd='a blank' ;;
      [[:cntrl:]]) odd='a tab, a line break or another control character' ;;
      *) odd="the character $odd" ;;
    esac
    fail "the path of this folder has $odd in it, where no job could be started; give it another path: \
$(printf '%s' "$root" | tr '[:cntrl:]' '?')"
    ;;
esac

# Which builds of torch, remembered so that a call without the variable does not bring the others back.
chosen=.uv/torch
had_torch=$(cat "$chosen" 2>/dev/null) || had_torch=default
torch=${DFML_TORCH:-$had_torch}
case $torch in
  cpu | default) ;;
  *) fail "DFML_TORCH is \"$torch\"; it can be cpu or default." ;;
esac
# Elsewhere the usual builds are without CUDA.
[ "$(uname -s)" = Linux ] || torch=default

# What compiled packages of the environment's Python are built for. It is a link that goes to another Python when the
# system's changes, or to none.
built_for() {
  .venv/bin/python -c 'from importlib.machinery import EXTENSION_SUFFIXES as s; print(s[0])' 2>/dev/null || echo nothing
}

# What the environment was made from. Entry points hold the folder's own path, so a moved copy counts as new.
wanted() {
  printf '%s\n' "$root"
  built_for
  echo "$torch $(cksum requirements.lock)"
  cksum pyproject.toml
}

is_current() {
  [ -f "$stamp" ] && [ "$(wanted)" = "$(cat "$stamp")" ]
}

# Prints the first interpreter of a supported version; a shim without a version behind it fails and is passed over.
find_python() {
  for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "Python 3.11, 3.12 or 3.13 is needed and none was found on PATH; install one, then run this again."
}

# Of pip's own settings only those count that say how an index is reached: others (user, target, prefix, constraint, …)
# would send a package elsewhere or refuse it.
run_pip() {
  .uv/bin/python - "$@" <<'PYTHON'
import ast, os, subprocess, sys

reach = """index-url extra-index-url no-index find-links trusted-host proxy cert client-cert timeout default-timeout
retries keyring-provider cache-dir no-cache-dir use-feature use-deprecated""".split()
pip = [sys.executable, "-m", "pip"]
kept = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("PIP_") or value and name[4:].lower().replace("_", "-") in [*reach, "config-file"]
}
listed = subprocess.run([*pip, "config", "list"], env=kept, stdout=subprocess.PIPE, text=True).stdout
for section in ("install.", "global."):
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        name = key[len(section) :]
        if key.startswith(section) and name in reach:
            kept.setdefault("PIP_" + name.upper().replace("-", "_"), ast.literal_eval(value))
kept |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
os.execve(sys.executable, [*pip, *sys.argv[1:]], kept)
PYTHON
}

# The second locked set: no package of CUDA's, and torch for the CPU, which has other hashes than those of the lock.
cpu_set() {
  awk '
    /^[^ ]/ { kept = $1 !~ /^(cuda-|nvidia-|torch==|torchvision==|triton==)/ }
    /^torch(vision)?==/ { print $1 "+cpu" }
    kept
  ' requirements.lock
}

# uv knows nothing of pip's settings, so pip fetches what is on none but PyTorch's own index.
fetch_cpu_builds() {
  builds=$(cpu_set | grep '+cpu$')
  # shellcheck disable=SC2086 # one word for each
  said=$(run_pip --python .venv/bin/python download -qq --no-deps --only-binary :all: -d .uv/cpu $builds 2>&1) ||
    fail "the indexes of pip's settings do not give PyTorch's builds for the CPU ($(printf '%s\n' "$said" | tail -n 1)); \
name PyTorch's own index there (PIP_EXTRA_INDEX_URL or extra-index-url), or take the usual builds with DFML_TORCH=default."
}

sync_packages() {
  if [ "$torch" = default ]; then
    echo "Installing the environment into .venv (the first time: about 3 GB to download, some minutes)." >&2
    .uv/bin/uv pip sync -q --python .venv/bin/python --require-hashes requirements.lock
  else
    echo "Installing the environment without CUDA into .venv (the first time: about 0.5 GB to download)." >&2
    cpu_set >.uv/cpu/requirements.txt
    UV_FIND_LINKS=${UV_FIND_LINKS:+$UV_FIND_LINKS,}.uv/cpu \
      .uv/bin/uv pip sync -q --python .venv/bin/python .uv/cpu/requirements.txt
    rm -r .uv/cpu
  fi
}

install() {
  had=$(cat "$stamp" 2>/dev/null) || had=
  # Its entry points name the folder that it was made for, and that one would be left without.
  if [ -h .venv ] && [ -n "$had" ] && [ "$(printf '%s\n' "$had" | head -n 1)" != "$root" ]; then
    fail ".venv is a link to the environment of $(printf '%s\n' "$had" | head -n 1); remove the link, so that this \
folder gets one of its own."
  fi
  if [ ! -x .uv/bin/uv ]; then
    "$python" -m venv --clear .uv
    run_pip install -qq --only-binary :all: --require-hashes -r installer.lock
  fi
  if [ "$(built_for)" = nothing ] ||
    { [ -n "$had" ] && [ "$(printf '%s\n' "$had" | head -n 2)" != "$(wanted | head -n 2)" ]; }; then
    .uv/bin/uv venv -q --clear --python "$python" .venv
    had=
  fi
  # Only a changed lock touches the packages: other processes may be at work in the environment.
  if [ "$(printf '%s\n' "$had" | head -n 3)" != "$(wanted | head -n 3)" ]; then
    # Refused while the environment still is what it was.
    [ "$torch" = default ] || fetch_cpu_builds
    rm -f "$stamp"
    # uv takes 1.0+cpu for any 1.0 that is asked for, so the other builds go first.
    [ "$torch" = "$had_torch" ] || .uv/bin/uv pip uninstall -q --python .venv/bin/python torch torchvision
    echo "$torch" >"$chosen"
    sync_packages
  fi
  rm -f "$stamp"
  # uv builds nothing where its cache's file system has no locks, pip does.
  .uv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e . || {
    echo "uv could not install the package; pip does it." >&2
    run_pip --python .venv/bin/python install -qq --no-index --no-deps --no-build-isolation -e .
  }
  wanted >"$stamp"
}

set_up() {
  python=$(find_python)
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module; install it (Debian and Ubuntu: apt-get install python3-venv), then run this again."
  # The lock belongs to the open file, so it ends with this shell however that ends: none can be left behind.
  exec 9>.setup.lock
  "$python" - 9>&9 <<'PYTHON'
import fcntl, sys

try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("Waiting for another run.sh that is setting the environment up.", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError as error:
    print(f"This file system has no locks ({error.strerror}): let one run.sh at a time set up.", file=sys.stderr)
PYTHON
  if ! is_current; then
    # A subshell of its own, since -e is off inside a condition.
    set +e
    (set -e; install)
    status=$?
    set -e
    [ "$status" -eq 0 ] || fail "the environment could not be set up, see above; what is done is kept, run this again."
  fi
  exec 9>&-
}

# Commands run in the repository, so a configuration file that is named from elsewhere gets its whole path.
if [ "$from" != "$root" ]; then
  for word; do
    shift
    case $word in
      *.yaml | *.yml | *.json)
        file=${word#--*=}
        option=${word%"$file"}
        case $file in
          /*) ;;
          *)
            if [ -e "$from/$file" ]; then
              [ ! -e "$file" ] || fail "$file is in $from and in $root; give the whole path of the one that is meant."
              word=$option$from/$file
            fi
            ;;
        esac
        ;;
    esac
    set -- "$@" "$word"
  done
fi

can_write() {
  { mkdir -p "$1" && probe=$(mktemp "$1/.dfml.XXXXXX") && rm "$probe"; } 2>/dev/null
}

# A home that is missing or cannot be written, as on compute nodes and in containers, has no place for caches.
if ! can_write "${XDG_CACHE_HOME:-${HOME:-/dev/null}/.cache}"; then
  XDG_CACHE_HOME=$root/.cache
  MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib
  export XDG_CACHE_HOME MPLCONFIGDIR
fi
[ -z "${UV_CACHE_DIR-}" ] || can_write "$UV_CACHE_DIR" || unset UV_CACHE_DIR

is_current || set_up
VIRTUAL_ENV=$root/.venv
PATH=$VIRTUAL_ENV/bin:$PATH
export VIRTUAL_ENV PATH

# Snakemake reads these before the workflow can check them, and ends with a traceback where it cannot.
case "${1-} $*" in
  "snakemake "*" -C"* | "snakemake "*--config*) python -m dfml.config.command_line "$@" ;;
esac
[ "$#" -eq 0 ] || exec "$@"

snakemake --cores all
experiment=$(python -c 'from dfml.config.load import load_config as c; print(c(["config/config.yaml"]).experiment)')
echo "Main table: $root/results/$experiment/tables/main.md"
echo "Report:     $root/results/$experiment/report.html"
