"""Imports at start-up: few modules are loaded, so that it is fast."""

import subprocess
import sys

import pytest

# beside the standard library
LIGHT = {"a2f", "click", "colorama", "typing_extensions"}
HEAVY = ("torch", "onnxruntime", "onnx", "numpy", "PIL", "pyvips", "safetensors", "tqdm", "openvino", "skimage")


def loaded_by(code: str, *arguments: str) -> set[str]:
    """The top-level modules outside the standard library that a program loads."""
    report = (
        "import sys, atexit\n"
        "before = set(sys.modules)\n"
        "tops = lambda: sorted({m.partition('.')[0] for m in set(sys.modules) - before})\n"
        "atexit.register(lambda: print('\\nLOADED', *tops()))\n"
        f"sys.argv = ['a2f', *{list(arguments)!r}]\n{code}"
    )
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    line = next(line for line in done.stdout.splitlines() if line.startswith("LOADED"))
    return {name for name in line.split()[1:] if name not in sys.stdlib_module_names and not name.startswith("_")}


def test_import_a2f_loads_nothing_else() -> None:
    assert loaded_by("import a2f") == {"a2f"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["upscale", "--help"],
        ["serve", "--help"],
        ["video", "--help"],
        ["models", "--help"],
        ["completion", "bash"],
    ],
)
def test_help_and_version_load_only_light_modules(arguments: list[str]) -> None:
    loaded = loaded_by("from a2f.cli.main import main; main()", *arguments)
    assert "click" in loaded
    assert loaded <= LIGHT


@pytest.mark.integration
def test_upscaling_loads_neither_torch_nor_pillow_plugins(tmp_path) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), (9, 99, 9)).save(tmp_path / "a.png")
    code = "from a2f.cli.main import main\nmain()"
    loaded = loaded_by(code, "upscale", str(tmp_path / "a.png"))
    assert (tmp_path / "a_x4.png").exists()
    assert {"onnxruntime", "pyvips"} <= loaded
    assert not loaded & {"torch", "PIL", "openvino", "skimage", "tqdm"}


def test_public_names() -> None:
    import a2f
    from a2f import errors

    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    every_error = {name for name, value in classes.items() if issubclass(value, errors.A2FError)}
    assert {"LoadedUpscaler", "Upscaler", "load", "upscale"} | every_error == set(a2f.__all__)
    for name in a2f.__all__:
        assert getattr(a2f, name).__doc__
    assert set(a2f.__all__) <= set(dir(a2f))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = a2f.nothing
