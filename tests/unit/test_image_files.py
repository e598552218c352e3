"""Image files through Pillow, as transformers' load_image opens them."""

import io
import subprocess
import sys
import zlib

import numpy as np
import pytest

from edgekit.errors import InputError
from edgekit.runtime.image_files import to_pixels

Image = pytest.importorskip("PIL.Image")


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def picture(height=5, width=7):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_path_bytes_array_and_pillow_image_give_the_same_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    for given in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), picture()):
        np.testing.assert_array_equal(to_pixels(given), picture())


def test_the_exif_orientation_is_applied(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(picture(8, 16)).save(path, exif=exif)
    assert to_pixels(path).shape == (16, 8, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_as_pillow_converts_it(mode):
    image = Image.fromarray(picture()).convert("L" if mode in ("I;16", "I", "F") else mode)
    if mode in ("I;16", "I", "F"):
        image = image.convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    np.testing.assert_array_equal(to_pixels(image), np.array(image.convert("RGB")))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "not an image Pillow can read"),
        (b"GIF89a", "not an image Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not an image Pillow can read"),
        ("nowhere.png", "no such file"),
        ("https://example.org/cat.png", "expected a file, got a URL"),
        ("data:image/png;base64,AAAA", "expected a file, got a URL"),
        (3.5, "expected a path, an image file's bytes, a Pillow image or a numpy array, got float"),
        (None, "got NoneType"),
        ({"path": "a.png"}, "got dict"),
    ],
)
def test_what_is_no_image_is_refused(value, message):
    with pytest.raises(InputError, match=f"image 2: .*{message}"):
        to_pixels(value, "image 2")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        to_pixels(tmp_path)


def test_a_cut_off_file_is_refused():
    data = png(Image.fromarray(picture(200, 200)))
    with pytest.raises(InputError, match="cannot be decoded"):
        to_pixels(data[: len(data) // 2])


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    for edge in (12_000, 60_000):  # where Pillow warns, and where it refuses
        header = edge.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        with pytest.raises(InputError, match="pixels"):
            to_pixels(bomb)


def test_arrays_need_no_pillow_and_files_say_so(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture()).save(path)
    script = (
        "import sys; sys.modules['PIL'] = None\n"
        "import numpy as np\n"
        "from edgekit.errors import HostError\n"
        "from edgekit.runtime.image_files import to_pixels\n"
        "assert to_pixels(np.zeros((2, 2), np.uint8)).shape == (2, 2, 3)\n"
        "try: to_pixels(sys.argv[1])\n"
        "except HostError as error: print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True)
    assert "edgekit[image]" in done.stdout
